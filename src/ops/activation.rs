//! Activation function of each value by itself.
//!
//! `output[i] = f(input[i])`, f as [`Function`] has it

use super::{Buffer, Operation, Work, n};
use crate::network::activation::Function;
use crate::shader::{self, Constants, Kernel};

/// A function's number in the shader, and its parameter.
fn code(function: Function) -> (usize, f32) {
    match function {
        Function::Relu => (0, 0.0),
        Function::Relu6 => (1, 0.0),
        Function::Elu(alpha) => (2, alpha),
        Function::Selu => (3, 0.0),
        Function::LeakyRelu(alpha) => (4, alpha),
        Function::Gelu => (5, 0.0),
        Function::GeluTanh => (6, 0.0),
        Function::Silu => (7, 0.0),
        Function::Tanh => (8, 0.0),
        Function::Sigmoid => (9, 0.0),
        Function::HardSigmoid(slope) => (10, slope),
        Function::Softplus => (11, 0.0),
    }
}

/// Activation function: reads input, f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// The number of values.
    pub len: usize,
    /// The function applied to each value.
    pub function: Function,
}

impl Operation for Activation {
    fn kernel(&self) -> &'static Kernel {
        &shader::ACTIVATION
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![Buffer::vector(self.len)]
    }

    fn output(&self) -> Buffer {
        Buffer::vector(self.len)
    }

    fn constants(&self, _batch: usize) -> Constants {
        let (code, parameter) = code(self.function);
        vec![n("LEN", self.len), n("FUNCTION", code), ("PARAMETER", parameter.into())]
    }

    fn work(&self, images: usize) -> Work {
        Work { extent: [self.len, images, 1], invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        out.fill(0.0);
        for (out, &x) in out.iter_mut().zip(&reads[0][..self.len]) {
            *out = self.function.apply(x);
        }
    }

    fn tolerance(&self) -> (f32, f32) {
        // WGSL grants exp(x) an error of 3 + 2·|x| units in the last place, and the error function by 5 terms errs by 2e-7.
        (2e-6, 2e-5)
    }

    fn cases() -> Vec<Self> {
        use Function::*;
        let functions = [
            Relu, Relu6, Elu(1.0), Elu(0.5), Selu, LeakyRelu(0.3), Gelu, GeluTanh, Silu, Tanh, Sigmoid, HardSigmoid(0.2), Softplus,
        ];
        let lens = [1, 6, 260, 2048];
        functions.into_iter().zip(lens.into_iter().cycle()).map(|(function, len)| Self { len, function }).collect()
    }
}
