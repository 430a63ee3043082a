//! A watchdog for readers: a file may not make one panic, hang or exceed its memory limit.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use crate::common::Random;
use crate::memory::measured;
use crate::mutate::{Original, mutate};
use crate::readers::Reader;

/// The time limit for a file. Whole models take half a second.
const HANG: Duration = Duration::from_secs(60);

/// WebAssembly's stack size.
const STACK: usize = 1 << 20;

/// The running cases, with their start.
static RUNNING: LazyLock<Mutex<HashMap<ThreadId, (Instant, String)>>> = LazyLock::new(|| {
    let watch = || {
        loop {
            thread::sleep(Duration::from_secs(1));
            let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, case)) = running.values().find(|(since, _)| since.elapsed() > HANG) {
                eprintln!("{case}: hangs");
                process::abort();
            }
        }
    };
    // WebAssembly has no threads: scripts/wasi.mjs enforces the limit there.
    let _ = thread::Builder::new().spawn(watch);
    Mutex::default()
});

/// The outcome of a file.
pub struct Outcome {
    /// Whether it was accepted; `None` where the reader panicked.
    pub accepted: Option<bool>,
    /// The peak memory, in bytes.
    pub memory: usize,
}

/// Reads a file under watch.
pub fn watched(name: &'static str, seed: u64, file: &[u8], reader: &Reader) -> Outcome {
    let running = || RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running().insert(thread::current().id(), (Instant::now(), format!("{name}, SEED={seed}")));
    let read = || catch_unwind(AssertUnwindSafe(|| (reader.read)(file).is_ok()));
    let (result, memory) = measured((name, seed), read);
    running().remove(&thread::current().id());
    Outcome { accepted: result.ok(), memory }
}

/// A run over one kind of file.
pub struct Run {
    /// The printed name.
    pub name: &'static str,
    /// The reader.
    pub reader: Reader,
    /// The number of mutated files.
    pub count: u64,
    /// The percentage of them that must be refused at least: otherwise mutations miss the structure.
    pub refused: u64,
    /// The repair behind a mutation, such as new checksums.
    pub repair: fn(&mut [u8]),
}

impl Run {
    /// Reads the originals, which must be accepted, then `count` mutated ones. `SEED=17` in the environment repeats
    /// one of them.
    ///
    /// # Panics
    /// If one is read wrongly; the file is then in `target/crashes`.
    pub fn over(self, originals: Vec<(String, Vec<u8>)>) {
        if cfg!(target_arch = "wasm32") {
            // A panic ends the process there, so each case is printed first. The stack is that small by default.
            panic::set_hook(Box::new(|panic| {
                let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
                running.values().for_each(|(_, case)| eprintln!("{case}"));
                eprintln!("{panic}");
            }));
            return self.run(originals);
        }
        let thread = thread::Builder::new().name(self.name.to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || self.run(originals)).unwrap();
        if let Err(panic) = thread.join() {
            panic::resume_unwind(panic);
        }
    }

    fn run(&self, originals: Vec<(String, Vec<u8>)>) {
        let Self { name, reader, .. } = self;
        for (original, file) in &originals {
            let Outcome { accepted, memory } = watched(name, 0, file, reader);
            assert_eq!(accepted, Some(true), "{name}: {original} as it is: {:?}", (reader.read)(file));
            let (limit, length) = ((reader.limit)(file), file.len());
            assert!(memory <= limit, "{name}: {original} takes {memory} of {limit} bytes, the file is {length}");
        }
        let originals: Vec<Original> = originals.into_iter().map(|(name, file)| Original::new(name, file)).collect();
        let only: Option<u64> = env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let (mut refused, mut slowest, mut dearest) = (0, Duration::ZERO, (0, 0, 0));
        let mut failures = Vec::new();
        // More of them would not test 32 bits further.
        let count = if cfg!(target_arch = "wasm32") { self.count / 4 } else { self.count };
        let seeds = only.map_or(0..count, |seed| seed..seed + 1);
        for seed in seeds {
            let original = &originals[seed as usize % originals.len()];
            // Neighbouring seeds of SplitMix64 overlap.
            let mut file = mutate(original, &mut Random(Random(seed).bits()));
            (self.repair)(&mut file);
            let start = Instant::now();
            let Outcome { accepted, memory } = watched(name, seed, &file, reader);
            slowest = slowest.max(start.elapsed());
            refused += u64::from(accepted == Some(false));
            let limit = (reader.limit)(&file);
            dearest = dearest.max((memory, file.len(), seed));
            let wrong = match accepted {
                None => "panics".to_owned(),
                Some(_) if memory > limit => format!("takes {memory} of {limit} bytes"),
                Some(_) => continue,
            };
            let path = format!("{}/target/crashes/{name}-{seed}", env!("CARGO_MANIFEST_DIR"));
            let kept = fs::create_dir_all(path.rsplit_once('/').unwrap().0).and_then(|()| fs::write(&path, &file));
            let place = kept.map_or_else(|error| error.to_string(), |()| path);
            failures.push(format!("SEED={seed} ({}, {} bytes) {wrong}: {place}", original.name, file.len()));
        }
        println!(
            "{name}: {count} files, {refused} refused; slowest {slowest:.1?}; most memory {} bytes for one of {} (SEED={})",
            dearest.0, dearest.1, dearest.2
        );
        assert!(failures.is_empty(), "{name}: {} files:\n{}", failures.len(), failures.join("\n"));
        let enough = only.is_some() || refused * 100 >= self.refused * count;
        assert!(enough, "{name}: {refused} of {count} are refused, the mutations miss");
    }
}
