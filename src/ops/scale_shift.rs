//! Scale and shift of each channel: a batch norm by itself.
//!
//! `output[p, c] = input[p, c] · scale[c] + shift[c]`

use super::elementwise::Values;
use super::{Buffer, Operation, Role, Work};
use crate::shader::{self, Constants, Kernel};

/// Scale and shift: reads input, scale `[channels]` and shift `[channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleShift {
    /// The values read and written.
    pub values: Values,
}

impl Operation for ScaleShift {
    fn kernel(&self) -> &'static Kernel {
        &shader::SCALE_SHIFT
    }

    fn reads(&self) -> Vec<Buffer> {
        let parameters = Buffer::weights(&[self.values.shape.channels], Role::Bias);
        vec![self.values.buffer(), parameters.clone(), parameters]
    }

    fn output(&self) -> Buffer {
        self.values.buffer()
    }

    fn constants(&self, _batch: usize) -> Constants {
        self.values.constants()
    }

    fn work(&self, images: usize) -> Work {
        self.values.work(images)
    }

    fn always_f32(&self) -> bool {
        self.values.is_vector
    }

    fn macs(&self) -> u64 {
        self.values.shape.len() as u64
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        out.fill(0.0);
        self.values.for_each(|at, c| out[at] = reads[0][at] * reads[1][c] + reads[2][c]);
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        Values::cases().into_iter().map(|values| Self { values }).collect()
    }
}
