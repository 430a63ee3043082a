//! Activation function of each value by itself.
//!
//! `output[i] = f(input[i])`, f as [`Function`] has it

use super::elementwise::Values;
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

/// Activation function: reads input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// The values read and written.
    pub values: Values,
    /// The function applied to each value.
    pub function: Function,
}

impl Operation for Activation {
    fn kernel(&self) -> &'static Kernel {
        &shader::ACTIVATION
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![self.values.buffer()]
    }

    fn output(&self) -> Buffer {
        self.values.buffer()
    }

    fn constants(&self, _batch: usize) -> Constants {
        let (code, parameter) = code(self.function);
        let mut constants = self.values.constants();
        constants.extend([n("FUNCTION", code), ("PARAMETER", parameter.into())]);
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
        self.values.for_each(|at, _| out[at] = self.function.apply(reads[0][at]));
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
        functions.into_iter().zip(Values::cases().into_iter().cycle()).map(|(function, values)| Self { values, function }).collect()
    }
}
