//! Activation function of each value by itself.
//!
//! `output[i] = f(input[i])`, f as [`Function`] has it

use super::{Buffer, Operation, Work, n};
use crate::shader::{self, Constants, Kernel};

/// An activation function, as Keras defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x, or α·(eˣ − 1) where x < 0
    Elu(f32),
    /// 1.0507·x, or 1.7581·(eˣ − 1) where x < 0
    Selu,
    /// x, or α·x where x < 0
    LeakyRelu(f32),
    /// x·Φ(x), by the error function
    Gelu,
    /// GELU by tanh
    GeluTanh,
    /// x·sigmoid(x), also known as swish
    Silu,
    /// tanh(x)
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// slope·x + ½ within 0 to 1; Keras 3's slope is 1/6, Keras 2's 0.2
    HardSigmoid(f32),
    /// ln(1 + eˣ)
    Softplus,
}

impl Function {
    /// Its number in the shader, and its parameter.
    fn code(self) -> (usize, f32) {
        match self {
            Self::Relu => (0, 0.0),
            Self::Relu6 => (1, 0.0),
            Self::Elu(alpha) => (2, alpha),
            Self::Selu => (3, 0.0),
            Self::LeakyRelu(alpha) => (4, alpha),
            Self::Gelu => (5, 0.0),
            Self::GeluTanh => (6, 0.0),
            Self::Silu => (7, 0.0),
            Self::Tanh => (8, 0.0),
            Self::Sigmoid => (9, 0.0),
            Self::HardSigmoid(slope) => (10, slope),
            Self::Softplus => (11, 0.0),
        }
    }

    /// Its value at `x`.
    pub fn apply(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Elu(alpha) => if x < 0.0 { alpha * x.exp_m1() } else { x },
            Self::Selu => 1.050_701 * if x < 0.0 { 1.673_263_2 * x.exp_m1() } else { x },
            Self::LeakyRelu(alpha) => if x < 0.0 { alpha * x } else { x },
            Self::Gelu => 0.5 * x * libm::erfcf(-x * std::f32::consts::FRAC_1_SQRT_2),
            Self::GeluTanh => 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
            Self::Silu => x * sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid(slope) => (slope * x + 0.5).clamp(0.0, 1.0),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }
}

/// Activation function: reads input, f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// The number of values.
    pub len: usize,
    /// What is applied to each.
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
        let (code, parameter) = self.function.code();
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
