//! Activation function backwards.
//!
//! `output[i] = gradient[i] · f′(input[i])`

use super::{Activation, Buffer, Operation, Work};
use crate::shader::{self, Constants, Kernel};

/// Activation function backwards: reads a gradient, which is f32, and the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationGradient(
    /// The activation, whose input's gradient is written.
    pub Activation,
);

impl Operation for ActivationGradient {
    fn kernel(&self) -> &'static Kernel {
        &shader::ACTIVATION_GRADIENT
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![self.0.values.gradient(), self.0.values.buffer()]
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
        self.0.values.for_each(|at, _| out[at] = reads[0][at] * self.0.function.slope(reads[1][at]));
    }

    fn tolerance(&self) -> (f32, f32) {
        (2e-6, 2e-5)
    }

    fn cases() -> Vec<Self> {
        Activation::cases().into_iter().map(Self).collect()
    }
}
