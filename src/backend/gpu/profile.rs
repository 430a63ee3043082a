//! The time of each pass of a plan by itself: by the GPU's timestamps if it has them, else by this machine's clock.

use std::time::Duration;

use super::{Buffer, Gpu, Runner, lost};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::plan::Plan;

/// The largest step of a clock, as a share of the measured time.
const ERROR: f64 = 0.02;

/// The most repeats of a pass in one measurement.
const MOST_REPEATS: u32 = 4096;

/// Nanoseconds: the steps of a clock that is fine enough for any pass, since none takes less than a microsecond.
const FINE: u64 = 20;

/// How passes were timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Timestamps that the GPU writes at a pass's begin and end.
    Timestamps,
    /// This machine's clock, from a submit until it is done.
    Machine,
}

crate::names! { Clock { Timestamps = "timestamps", Machine = "clock" } }

/// The time of one pass, which was repeated where the clock's steps would have been too coarse for one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassTime {
    /// The shortest of all runs.
    pub min: Duration,
    /// The median of all runs.
    pub median: Duration,
    /// How often it ran within a measurement.
    pub repeats: u32,
}

impl Runner {
    /// Times each pass of the plan that this runs by itself, for the first `images` images, in `runs` runs after one that does
    /// not count. Each is a compute pass with its label; normally there is one for all.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] if the device fails.
    pub async fn profile(&self, plan: &Plan, images: usize, runs: usize) -> Result<(Clock, Vec<PassTime>)> {
        let gpu = self.gpu();
        if gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            let timer = Timer::new(gpu, plan.passes.len());
            let times = timer.passes(self, plan, images, runs).await?;
            let sum: Duration = times.iter().map(|time| time.median).sum();
            // Some clocks stand still, and llvmpipe's tells when a pass was taken up, not when it was done.
            if self.time(0..plan.passes.len(), images, Duration::MAX).await?.is_some_and(|whole| sum > whole / 2) {
                return Ok((Clock::Timestamps, times));
            }
        }
        let mut times = Vec::new();
        for pass in 0..plan.passes.len() {
            let mut laps = Vec::new();
            for _ in 0..runs {
                laps.extend(self.time(pass..=pass, images, Duration::MAX).await?);
            }
            times.push(summary(laps, 1));
        }
        Ok((Clock::Machine, times))
    }
}

fn summary(mut laps: Vec<Duration>, repeats: u32) -> PassTime {
    laps.sort();
    PassTime { min: laps[0] / repeats, median: laps[laps.len() / 2] / repeats, repeats }
}

/// Timestamps of a number of passes.
struct Timer<'a> {
    gpu: &'a Gpu,
    queries: wgpu::QuerySet,
    resolved: Buffer,
    staging: Buffer,
}

impl<'a> Timer<'a> {
    fn new(gpu: &'a Gpu, passes: usize) -> Self {
        let (count, size) = (2 * passes as u32, 16 * passes as u64);
        let queries = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let buffer = |label, usage| {
            let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
            Buffer(gpu.device.create_buffer(&descriptor))
        };
        let resolved = buffer("timestamps", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer("timestamps, staged", wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        Self { gpu, queries, resolved, staging }
    }

    /// The time of each pass.
    async fn passes(&self, runner: &Runner, plan: &Plan, images: usize, runs: usize) -> Result<Vec<PassTime>> {
        let mut repeats = vec![1; plan.passes.len()];
        // Drivers compile at the first run.
        self.run(runner, plan, images, &repeats).await?;
        loop {
            let laps = self.run(runner, plan, images, &repeats).await?;
            let step = step(&laps);
            // A pass that takes less than such a clock's error was not timed at all: repeats would not tell more.
            if step < FINE && laps.iter().any(|&lap| lap > 0) {
                break;
            }
            let mut enough = true;
            for (repeats, &lap) in repeats.iter_mut().zip(&laps) {
                if (lap as f64) * ERROR < step as f64 && *repeats < MOST_REPEATS {
                    *repeats *= if lap == 0 { 16 } else { 4 };
                    enough = false;
                }
            }
            if enough {
                break;
            }
        }
        let mut laps = vec![Vec::new(); repeats.len()];
        for _ in 0..runs {
            for (laps, lap) in laps.iter_mut().zip(self.run(runner, plan, images, &repeats).await?) {
                laps.push(Duration::from_nanos(lap));
            }
        }
        Ok(laps.into_iter().zip(repeats).map(|(laps, repeats)| summary(laps, repeats)).collect())
    }

    /// Nanoseconds of each pass, repeated `repeats` times.
    async fn run(&self, runner: &Runner, plan: &Plan, images: usize, repeats: &[u32]) -> Result<Vec<u64>> {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (index, &repeats) in repeats.iter().enumerate() {
            let begin = 2 * index as u32;
            let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: Some(begin),
                end_of_pass_write_index: Some(begin + 1),
            });
            let label = Some(&*plan.passes[index].label);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes });
            (0..repeats).for_each(|_| runner.encode(&mut pass, index, images));
        }
        encoder.resolve_query_set(&self.queries, 0..2 * repeats.len() as u32, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, self.staging.size());
        self.gpu.queue.submit([encoder.finish()]);
        let (sender, mapped) = futures_channel::oneshot::channel();
        self.staging.map_async(wgpu::MapMode::Read, .., |result| {
            // The receiver is gone if the caller gave up.
            let _ = sender.send(result);
        });
        let polled = self.gpu.device.poll(wgpu::PollType::wait_indefinitely());
        let mapped = mapped.await;
        self.gpu.check()?;
        polled.map_err(|error| Error::Gpu(error.to_string()))?;
        mapped.map_err(lost)?.map_err(lost)?;
        let view = self.staging.get_mapped_range(..).map_err(|error| Error::Gpu(error.to_string()))?;
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        self.staging.unmap();
        let period = f64::from(self.gpu.queue.get_timestamp_period());
        let lap = |stamps: &[u64]| (stamps[1].saturating_sub(stamps[0]) as f64 * period) as u64;
        Ok(stamps.chunks_exact(2).map(lap).collect())
    }
}

/// The clock's step: the common divisor of all times, in nanoseconds.
fn step(laps: &[u64]) -> u64 {
    let divisor = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    laps.iter().fold(0, |step, &lap| divisor(step, lap)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_clock_is_noticed() {
        assert_eq!(step(&[1_300_000, 200_000, 0, 700_000]), 100_000);
        assert_eq!(step(&[1_234_567, 200_001, 77]), 1);
        assert_eq!(step(&[0, 0]), 1);
    }
}
