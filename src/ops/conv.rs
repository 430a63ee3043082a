//! 3×3 convolution without padding, and ReLU.
//!
//! `output[y, x, n] = max(0, bias[n] + Σ_{i, j, c} input[y·stride + i, x·stride + j, c] · weight[i, j, c, n])`

use super::buffer::{at, for_each, taps};
use super::product::strides;
use super::{Buffer, Operation, Role, Work};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// 3×3 convolution without padding, and ReLU: reads input, weight `[3, 3, in, out]`, bias `[out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Shape read.
    pub input: Shape,
    /// Shape written.
    pub output: Shape,
    /// Input pixels between neighbouring output pixels.
    pub stride: usize,
}

impl Operation for Conv {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        &shader::CONV
    }

    fn reads(&self) -> Vec<Buffer> {
        let (from, to) = (self.input.channels, self.output.channels);
        vec![
            Buffer::activation(self.input),
            Buffer::weights(&[3, 3, from, to], Role::Filter),
            Buffer::weights(&[to], Role::Bias),
        ]
    }

    fn output(&self) -> Buffer {
        Buffer::activation(self.output)
    }

    fn constants(&self, _batch: usize) -> Constants {
        strides(self.input, self.output, self.stride)
    }

    fn work(&self, images: usize) -> Work {
        let Shape { height, width, channels } = self.output;
        Work { extent: [channels, width, height * images], invocation: [16, 4, 1], workgroup: [4, 8, 1] }
    }

    fn macs(&self) -> u64 {
        9 * self.input.channels as u64 * self.output.len() as u64
    }

    fn values_read(&self) -> usize {
        self.input.stored()
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Self { input, output, stride } = *self;
        for_each(output, |y, x, n| {
            let mut sum = reads[2][n];
            for (i, j) in taps() {
                for c in 0..input.channels {
                    let weight = reads[1][((i * 3 + j) * input.channels + c) * output.channels + n];
                    sum += reads[0][at(input, y * stride + i, x * stride + j, c)] * weight;
                }
            }
            out[at(output, y, x, n)] = sum.max(0.0);
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (2e-5, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        for [height, width] in [[3, 3], [3, 5], [5, 4], [19, 37], [37, 19], [71, 8]] {
            for [from, to] in [[3, 32], [32, 64], [8, 4], [3, 728]] {
                for stride in [1, 2] {
                    let side = |length: usize| (length - 3) / stride + 1;
                    let output = Shape::new(side(height), side(width), to);
                    cases.push(Self { input: Shape::new(height, width, from), output, stride });
                }
            }
        }
        cases
    }
}
