//! Scale of each channel backwards.
//!
//! `output[p, c] = gradient[p, c] · scale[c]`

use super::elementwise::Values;
use super::{Buffer, Operation, Role, Work};
use crate::shader::{self, Constants, Kernel};

/// Scale and shift backwards: reads a gradient and scale `[channels]`, both f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleGradient {
    /// The values read and written.
    pub values: Values,
}

impl Operation for ScaleGradient {
    fn kernel(&self) -> &'static Kernel {
        &shader::SCALE_GRADIENT
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![self.values.gradient(), Buffer::weights(&[self.values.shape.channels], Role::Bias)]
    }

    fn output(&self) -> Buffer {
        self.values.gradient()
    }

    fn constants(&self, _batch: usize) -> Constants {
        self.values.constants()
    }

    fn work(&self, images: usize) -> Work {
        self.values.work(images)
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        out.fill(0.0);
        self.values.for_each(|at, c| out[at] = reads[0][at] * reads[1][c]);
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        Values::cases().into_iter().map(|values| Self { values }).collect()
    }
}
