//! The GPU's ceilings, measured: memory bandwidth by a copy, arithmetic by multiply-adds.

use std::time::Duration;

use super::Gpu;
use crate::error::Result;
use crate::shader::{COPY, FMA, Kernel, PipelineDescriptor, Precision};

/// The size of the copy in bytes: 64 MiB, more than most caches hold.
const COPIED: u64 = 64 << 20;

/// Invocations that multiply, and steps of each.
const INVOCATIONS: u32 = 1 << 16;
const STEPS: u32 = 256;

/// The ceilings of a GPU, in units per second.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Roofline {
    /// Floating point operations: a multiply-accumulate is two.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl Roofline {
    /// The share of the ceiling that some work of `time` achieved, 0 to 1 up to errors of measurement.
    pub fn share(&self, flops: f64, bytes: f64, time: Duration) -> f64 {
        (flops / self.flops).max(bytes / self.bytes) / time.as_secs_f64()
    }
}

impl Gpu {
    /// Measures both ceilings.
    ///
    /// # Errors
    /// [`crate::error::Error::DeviceLost`] or [`crate::error::Error::Gpu`] if the device fails.
    pub async fn roofline(&self) -> Result<Roofline> {
        let copy = self.shortest(&COPY, &[], [COPIED; 2]).await?;
        let output = u64::from(INVOCATIONS) * 16;
        let fma = self.shortest(&FMA, &[("STEPS", STEPS.into())], [16, output]).await?;
        let flops = 2.0 * 32.0 * f64::from(STEPS) * f64::from(INVOCATIONS);
        Ok(Roofline { flops: flops / fma, bytes: 2.0 * COPIED as f64 / copy })
    }

    /// The shortest time of one dispatch in seconds, an invocation for each vec4 written, from submits of 1 and of 9.
    async fn shortest(
        &self,
        kernel: &'static Kernel,
        constants: &[(&'static str, f64)],
        [read, written]: [u64; 2],
    ) -> Result<f64> {
        let (label, constants) = (kernel.name.to_owned(), constants.to_vec());
        let pipeline = self.pipeline(&PipelineDescriptor { label, kernel, precision: Precision::Single, constants });
        let buffers = || [read, written].map(|bytes| self.buffer(kernel.name, bytes));
        let [input, output] = self.scoped("what measures the roofline", buffers).await?;
        let resources = vec![input.as_entire_binding(), output.as_entire_binding()];
        let group = self.bind_group(kernel.name, &pipeline, resources);
        let groups = (written / 16 / 256) as u32;
        let time = async |count: u32| {
            let encode = |pass: &mut wgpu::ComputePass| {
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                (0..count).for_each(|_| pass.dispatch_workgroups(groups, 1, 1));
            };
            self.time(encode).await.map(|time| time.as_secs_f64())
        };
        time(1).await?;
        let (mut one, mut nine) = (f64::MAX, f64::MAX);
        for _ in 0..5 {
            one = one.min(time(1).await?);
            nine = nine.min(time(9).await?);
        }
        // Clocks of browsers may be as coarse as the difference.
        Ok(((nine - one) / 8.0).max(nine / 18.0))
    }
}
