//! 3×3 convolution.
//!
//! `output[y, x, n] = r(bias[n] + Σ_{i, j, c} input[y·stride + i − p, x·stride + j − p, c] · weight[i, j, c, n])`, p the padding with zeros,
//! r = ReLU or identity

use super::buffer::{at, for_each, inside, taps};
use super::product::strides;
use super::{Buffer, Operation, Role, Work, flag, n, relu};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// 3×3 convolution: reads input, weight `[3, 3, in, out]`, bias `[out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Shape read.
    pub input: Shape,
    /// Shape written.
    pub output: Shape,
    /// Input pixels between neighbouring output pixels.
    pub stride: usize,
    /// Rows and columns of zeros on each side.
    pub padding: usize,
    /// Whether negative results become zero.
    pub relu_after: bool,
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
        let mut constants = strides(self.input, self.output, self.stride);
        constants.extend([n("PADDING", self.padding), flag("RELU_AFTER", self.relu_after)]);
        constants
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
        let Self { input, output, stride, padding, relu_after } = *self;
        for_each(output, |y, x, n| {
            let mut sum = reads[2][n];
            for (i, j) in taps() {
                let place = |at: usize, k: usize| (at * stride + k) as isize - padding as isize;
                let Some((y, x)) = inside(input, place(y, i), place(x, j)) else { continue };
                for c in 0..input.channels {
                    let weight = reads[1][((i * 3 + j) * input.channels + c) * output.channels + n];
                    sum += reads[0][at(input, y, x, c)] * weight;
                }
            }
            out[at(output, y, x, n)] = relu(sum, relu_after);
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (2e-5, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        for (i, [height, width]) in [[3, 3], [3, 5], [5, 4], [19, 37], [37, 19], [71, 8]].into_iter().enumerate() {
            for (j, [from, to]) in [[3, 32], [32, 64], [8, 4], [3, 728]].into_iter().enumerate() {
                for stride in [1, 2] {
                    let padding = (i + j) % 2;
                    let side = |length: usize| (length + 2 * padding - 3) / stride + 1;
                    let output = Shape::new(side(height), side(width), to);
                    let relu_after = stride == 2 || padding == 0;
                    cases.push(Self { input: Shape::new(height, width, from), output, stride, padding, relu_after });
                }
            }
        }
        cases
    }
}
