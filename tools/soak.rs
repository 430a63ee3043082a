//! Thousands of mixed calls natively: `npm run soak native [webgpu|cpu] [calls] [seed]`. Photos of all sizes are classified, between them batches,
//! other methods, damaged photos, answers that nobody reads, and models that are loaded and dropped. Prints the heap's bytes and the threads behind
//! each part, and fails unless they stay flat.

#[path = "../tests/common/mod.rs"]
mod common;

use std::error::Error;
use std::time::Instant;
use std::{env, fs};

use common::Random;
use peak_alloc::PeakAlloc;
use pollster::block_on;
use xception::backend::{Backend, Cpu, Gpu, Readback};
use xception::classifier::{Classifier, Options};
use xception::image::decode;
use xception::limits::Limits;
use xception::resize::Rgba;
use xception::weights::{Overrides, convert};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The parts of a run, and the share by which what is held may grow in the second half.
const PARTS: usize = 20;
const FLAT: f64 = 1.01;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).collect();
    let mut numbers = words.iter().filter_map(|word| word.parse().ok());
    let (calls, seed) = (numbers.next().unwrap_or(5000), numbers.next().unwrap_or(1) as u64);
    if words.iter().any(|word| word == "webgpu") {
        soak(&block_on(Gpu::new())?, "webgpu", calls, seed)
    } else {
        soak(&Cpu::new(), "cpu", calls, seed)
    }
}

/// A photo of random size, in colours that repeat.
fn photo(random: &mut Random) -> Rgba {
    let [width, height] = [0, 1].map(|_| 1 + random.below(900));
    let shift = random.below(251);
    let data = (0..4 * width * height).map(|at| ((at * 31 + shift) % 251) as u8).collect();
    Rgba::new(width, height, data).expect("as many bytes")
}

/// Everything but classifying one photo.
fn rare<B: Backend>(model: &mut Classifier<B>, jpeg: &[u8], random: &mut Random) -> Outcome {
    block_on(model.upload(&photo(random)))?;
    match random.below(7) {
        0 => {
            let cut = decode(&jpeg[..random.below(jpeg.len() - 99)], &Limits::default());
            assert!(cut.is_err(), "a damaged photo is refused");
        }
        // Nobody reads them.
        1 => drop((model.start(None, 5)?, model.start_output()?)),
        2 => drop(block_on(model.predict())?),
        3 => drop(block_on(model.embed(None)?.read())?),
        4 => {
            block_on(model.classify(1))?;
            block_on(block_on(model.explain(random.below(6)))?.read())?;
        }
        5 => drop(block_on(model.activations("block2_pool")?.read())?),
        _ => {
            let photos: Vec<Rgba> = (0..1 + random.below(3)).map(|_| photo(random)).collect();
            block_on(model.classify_batch(&photos, 2))?;
        }
    }
    Ok(())
}

/// The threads of this process, where the system tells.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn soak<B: Backend>(backend: &B, name: &str, calls: usize, seed: u64) -> Outcome {
    let mut random = Random(seed);
    let jpeg = fs::read("models/kitchenware/photos/0009.jpg")?;
    let overrides = Overrides { input_size: Some([71; 2]), ..Overrides::default() };
    let file = convert(fs::read("models/kitchenware.safetensors")?, overrides)?;
    let load = || block_on(Classifier::load(backend, &file, Options::default()));
    let mut model = load()?;
    let (mut times, mut held) = (Vec::new(), Vec::new());
    for part in 1..=PARTS {
        while times.len() < calls * part / PARTS {
            if times.len() % 250 == 249 {
                drop(model);
                model = load()?;
            }
            if times.len() % 1000 == 500 {
                let mut other = load()?;
                for model in [&mut other, &mut model] {
                    block_on(model.upload(&photo(&mut random)))?;
                    block_on(model.classify(5))?;
                }
            }
            if random.below(5) == 0 {
                rare(&mut model, &jpeg, &mut random)?;
            }
            let image = if random.below(5) == 0 { decode(&jpeg, &Limits::default())? } else { photo(&mut random) };
            let start = Instant::now();
            block_on(model.upload(&image))?;
            block_on(model.classify(5))?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        // A fresh model, so that the same is held each time.
        drop(model);
        model = load()?;
        held.push([HEAP.current_usage(), threads()]);
        println!("{} calls: {} bytes on the heap, {} threads", times.len(), HEAP.current_usage(), threads());
    }
    times.sort_by(f64::total_cmp);
    let [median, p99] = [0.5, 0.99].map(|share| times[(share * times.len() as f64) as usize]);
    println!("{calls} classifications on {name}, seed {seed}: median {median:.1} ms, 99th percentile {p99:.1} ms");
    let [half, end] = [held[PARTS / 2 - 1], held[PARTS - 1]];
    for (what, half, end) in [("bytes", half[0], end[0]), ("threads", half[1], end[1])] {
        println!("{what}: {half} → {end}");
        if end as f64 > half as f64 * FLAT {
            return Err(format!("{what} grew from {half} to {end}").into());
        }
    }
    Ok(())
}
