//! Depthwise 3×3 convolution, padded with zeros to the same size.
//!
//! `output[y, x, c] = Σ_{i, j} r(input[y + i − 1, x + j − 1, c]) · weight[i, j, c]`, r = ReLU or identity

use super::buffer::{at, for_each, inside, taps};
use super::{Buffer, Operation, Role, Work, flag, n, relu};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// Depthwise 3×3 convolution: reads input, weight `[3, 3, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    /// Shape read and written.
    pub shape: Shape,
    /// Whether negative inputs are taken as zero.
    pub relu_before: bool,
    /// Rows of the result that one invocation computes.
    pub rows: usize,
}

impl Operation for Depthwise {
    fn kernel(&self) -> &'static Kernel {
        &shader::DEPTHWISE
    }

    fn reads(&self) -> Vec<Buffer> {
        let weight = Buffer::weights(&[3, 3, self.shape.channels], Role::Filter);
        vec![Buffer::activation(self.shape), weight]
    }

    fn output(&self) -> Buffer {
        Buffer::activation(self.shape)
    }

    fn constants(&self, _batch: usize) -> Constants {
        let Self { shape, relu_before, rows } = *self;
        vec![
            n("HEIGHT", shape.height),
            n("WIDTH", shape.width),
            n("CHANNELS", shape.channels),
            flag("RELU_BEFORE", relu_before),
            n("ROWS", rows),
        ]
    }

    fn work(&self, images: usize) -> Work {
        let Shape { height, width, channels } = self.shape;
        let blocks = height.div_ceil(self.rows) * images;
        Work { extent: [channels, width, blocks], invocation: [4, 4, 1], workgroup: [64, 1, 1] }
    }

    fn macs(&self) -> u64 {
        9 * self.shape.len() as u64
    }

    fn color(&self) -> &'static str {
        "secondary"
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Self { shape, relu_before, .. } = *self;
        for_each(shape, |y, x, c| {
            let mut sum = 0.0;
            for (i, j) in taps() {
                if let Some((y, x)) = inside(shape, (y + i) as isize - 1, (x + j) as isize - 1) {
                    let weight = reads[1][(i * 3 + j) * shape.channels + c];
                    sum += relu(reads[0][at(shape, y, x, c)], relu_before) * weight;
                }
            }
            out[at(shape, y, x, c)] = sum;
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (2e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        for [height, width] in [[1, 1], [1, 5], [2, 3], [3, 2], [5, 1], [19, 37]] {
            for channels in [4, 64, 260, 728] {
                for (relu_before, rows) in [(false, 1), (true, 4)] {
                    cases.push(Self { shape: Shape::new(height, width, channels), relu_before, rows });
                }
            }
        }
        cases
    }
}
