//! PReLU backwards.
//!
//! `output[p, c] = gradient[p, c]`, times `slope[c]` or `slope[p, c]` where `input[p, c]` is not above 0

use super::{Buffer, Operation, Prelu, Work};
use crate::shader::{self, Constants, Kernel};

/// PReLU backwards: reads a gradient, which is f32, the input, and the slopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreluGradient(
    /// The PReLU, whose input's gradient is written.
    pub Prelu,
);

impl Operation for PreluGradient {
    fn kernel(&self) -> &'static Kernel {
        &shader::PRELU_GRADIENT
    }

    fn reads(&self) -> Vec<Buffer> {
        [vec![self.0.values.gradient()], self.0.reads()].concat()
    }

    fn output(&self) -> Buffer {
        self.0.values.gradient()
    }

    fn constants(&self, batch: usize) -> Constants {
        self.0.constants(batch)
    }

    fn work(&self, images: usize) -> Work {
        self.0.work(images)
    }

    fn always_f32(&self) -> bool {
        self.0.values.is_vector
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        out.fill(0.0);
        self.0.values.for_each(|at, c| {
            let slope = reads[2][if self.0.is_shared { c } else { at }];
            out[at] = reads[0][at] * if reads[1][at] > 0.0 { 1.0 } else { slope };
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        Prelu::cases().into_iter().map(Self).collect()
    }
}
