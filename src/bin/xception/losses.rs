//! Losses of a GPU: how a command goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::report;

/// The most losses within [`MINUTE`]; with the last of them work goes on on the CPU.
const MOST: usize = 3;

const MINUTE: Duration = Duration::from_secs(60);

/// The losses of GPUs within the last minute.
#[derive(Default)]
pub struct Losses(Vec<Instant>);

impl Losses {
    /// Counts a loss, and says how work goes on.
    pub fn note(&mut self, reason: &str) {
        let now = Instant::now();
        self.0.retain(|&time| now - time < MINUTE);
        self.0.push(now);
        if self.is_enough() {
            report(&format!("the GPU was lost {MOST} times within a minute ({reason}): going on on the CPU"));
        } else {
            report(&format!("the GPU was lost ({reason}): going on with a new device"));
            // A driver that was reset needs a moment.
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Whether there were any.
    pub fn are_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether the GPU is given up.
    pub fn is_enough(&self) -> bool {
        self.0.len() >= MOST
    }
}

/// Photos that have not been answered yet: a command goes on with them where a GPU was lost.
pub struct Left<'a> {
    /// The photos.
    pub images: &'a [PathBuf],
    /// Whether all before them could be answered.
    pub all_good: bool,
}

impl<'a> Left<'a> {
    /// All photos.
    pub fn new(images: &'a [PathBuf]) -> Self {
        Self { images, all_good: true }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use xception::backend::{Backend, Cpu, Gpu, Reference};

    use crate::Failure;
    use crate::model::{Place, on_device};

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        place: Place,
    }

    trait Fails: Backend {
        /// Ends the device, if it is a GPU.
        fn fail(&self) -> Result<&'static str, Failure>;
    }

    impl Fails for Gpu {
        fn fail(&self) -> Result<&'static str, Failure> {
            self.destroy();
            self.check().map_err(|error| error.to_string()).map(|()| "not lost")
        }
    }

    impl Fails for Cpu {
        fn fail(&self) -> Result<&'static str, Failure> {
            Ok("the CPU")
        }
    }

    impl Fails for Reference {
        fn fail(&self) -> Result<&'static str, Failure> {
            Err("the reference".to_owned())
        }
    }

    /// Work on a GPU that is lost each time, and on what follows it.
    async fn work<D: Fails>(device: &D, tries: &mut usize) -> Result<&'static str, Failure> {
        *tries += 1;
        device.fail()
    }

    async fn run(backend: &str) -> (Result<&'static str, Failure>, usize) {
        let Arguments { place } = Arguments::parse_from(["xception", "--backend", backend]);
        let mut tries = 0;
        let outcome = async { on_device!(place, device => work(&device, &mut tries).await) };
        (outcome.await, tries)
    }

    #[test]
    fn work_goes_on_where_a_gpu_was_lost_and_on_the_cpu_after_the_third() {
        pollster::block_on(async {
            assert_eq!(run("webgpu").await, (Ok("the CPU"), 4));
            assert_eq!(run("cpu").await, (Ok("the CPU"), 1));
            assert_eq!(run("reference").await, (Err("the reference".to_owned()), 1));
        });
    }
}
