//! Activation function with slopes that were trained (PReLU).
//!
//! `output[p, c] = input[p, c]`, times `slope[c]` or `slope[p, c]` where it is below 0

use super::elementwise::Values;
use super::{Buffer, Operation, Role, Work, flag};
use crate::shader::{self, Constants, Kernel};

/// PReLU: reads input and slope, `[channels]` or `[pixels][channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelu {
    /// The values read and written.
    pub values: Values,
    /// Whether pixels share the slope of a channel.
    pub is_shared: bool,
}

impl Operation for Prelu {
    fn kernel(&self) -> &'static Kernel {
        &shader::PRELU
    }

    fn reads(&self) -> Vec<Buffer> {
        let shape = self.values.shape;
        let slopes = if self.is_shared { shape.channels } else { shape.len() };
        vec![self.values.buffer(), Buffer::weights(&[slopes], Role::Bias)]
    }

    fn output(&self) -> Buffer {
        self.values.buffer()
    }

    fn constants(&self, _batch: usize) -> Constants {
        let mut constants = self.values.constants();
        constants.push(flag("SHARED", self.is_shared));
        constants
    }

    fn work(&self, images: usize) -> Work {
        self.values.work(images)
    }

    fn always_f32(&self) -> bool {
        self.values.is_vector
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        out.fill(0.0);
        self.values.for_each(|at, c| {
            let slope = reads[1][if self.is_shared { c } else { at }];
            out[at] = reads[0][at] * if reads[0][at] < 0.0 { slope } else { 1.0 };
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        let cases = |values| [true, false].map(|is_shared| Self { values, is_shared });
        Values::cases().into_iter().flat_map(cases).collect()
    }
}
