//! Depthwise 3×3 convolution with any stride, padded with zeros, and with a bias.
//!
//! `output[y, x, c] = a(bias[c] + Σ_{i, j} b(input[y·stride + i − 1, x·stride + j − 1, c]) · weight[i, j, c])`, a and b = ReLU or identity

use super::buffer::{at, for_each, inside, taps};
use super::product::strides;
use super::{Buffer, Operation, Role, Work, flag, relu};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// Depthwise 3×3 convolution with a bias: reads input, weight `[3, 3, channels]`, bias `[channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BiasedDepthwise {
    /// Shape read.
    pub input: Shape,
    /// Shape written.
    pub output: Shape,
    /// Input pixels between neighbouring output pixels.
    pub stride: usize,
    /// Whether negative inputs are taken as zero.
    pub relu_before: bool,
    /// Whether negative results become zero.
    pub relu_after: bool,
}

impl Operation for BiasedDepthwise {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        &shader::BIASED_DEPTHWISE
    }

    fn reads(&self) -> Vec<Buffer> {
        let channels = self.input.channels;
        let weights = [Buffer::weights(&[3, 3, channels], Role::Filter), Buffer::weights(&[channels], Role::Bias)];
        [Buffer::activation(self.input)].into_iter().chain(weights).collect()
    }

    fn output(&self) -> Buffer {
        Buffer::activation(self.output)
    }

    fn constants(&self, _batch: usize) -> Constants {
        let mut constants = strides(self.input, self.output, self.stride);
        constants.retain(|(name, _)| *name != "OUT_CHANNELS");
        constants.extend([flag("RELU_BEFORE", self.relu_before), flag("RELU_AFTER", self.relu_after)]);
        constants
    }

    fn work(&self, images: usize) -> Work {
        let Shape { height, width, channels } = self.output;
        Work { extent: [channels, width, height * images], invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    fn macs(&self) -> u64 {
        9 * self.output.len() as u64
    }

    fn color(&self) -> &'static str {
        "secondary"
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Self { input, output, stride, relu_before, relu_after } = *self;
        for_each(output, |y, x, c| {
            let mut sum = reads[2][c];
            for (i, j) in taps() {
                let place = |at: usize, k: usize| (at * stride + k) as isize - 1;
                if let Some((y, x)) = inside(input, place(y, i), place(x, j)) {
                    let weight = reads[1][(i * 3 + j) * input.channels + c];
                    sum += relu(reads[0][at(input, y, x, c)], relu_before) * weight;
                }
            }
            out[at(output, y, x, c)] = relu(sum, relu_after);
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (2e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        let shapes = [([1, 1], 16), ([1, 5], 64), ([2, 3], 260), ([5, 1], 728), ([19_usize, 38], 128)];
        for ([height, width], channels) in shapes {
            for (stride, relu_before, relu_after) in [(1, false, true), (2, true, false), (2, false, true)] {
                let [input, output] =
                    [1, stride].map(|stride| Shape::new(height.div_ceil(stride), width.div_ceil(stride), channels));
                cases.push(Self { input, output, stride, relu_before, relu_after });
            }
        }
        cases
    }
}
