//! Class activation map: what each pixel of the last activation contributes to a class.
//!
//! `output[p] = Σ_c input[p, c] · weight[c]`, or pixels · Σ_c input[p, c] · weight[p, c]

use super::buffer::{at, for_each};
use super::{Buffer, Operation, Work, flag, n};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// Class activation map: reads input and a weight, `[channels]` or `[pixels][channels]`, which is f32; writes `[pixels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassMap {
    /// Shape read.
    pub input: Shape,
    /// Whether pixels share the weight of a channel: that of its mean.
    pub is_shared: bool,
}

impl Operation for ClassMap {
    fn kernel(&self) -> &'static Kernel {
        &shader::CLASS_MAP
    }

    fn reads(&self) -> Vec<Buffer> {
        let weight = if self.is_shared { Buffer::vector(self.input.channels) } else { Buffer::gradient(self.input) };
        vec![Buffer::activation(self.input), weight]
    }

    fn output(&self) -> Buffer {
        Buffer::unpadded(self.input.pixels())
    }

    fn constants(&self, _batch: usize) -> Constants {
        vec![n("PIXELS", self.input.pixels()), n("CHANNELS", self.input.channels), flag("SHARED", self.is_shared)]
    }

    fn work(&self, images: usize) -> Work {
        // A workgroup shares a pixel.
        Work { extent: [64 * self.input.pixels(), images, 1], invocation: [1; 3], workgroup: [64, 1, 1] }
    }

    fn macs(&self) -> u64 {
        self.input.len() as u64
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let input = self.input;
        out.fill(0.0);
        for_each(input, |y, x, c| {
            let place = at(input, y, x, c);
            let weight = if self.is_shared { reads[1][c] } else { reads[1][place] * input.pixels() as f32 };
            out[y * input.width + x] += reads[0][place] * weight;
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (if self.is_shared { 1e-4 } else { 4e-3 }, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let shapes = [[1, 1, 4], [3, 2, 260], [5, 7, 2048]].map(|[y, x, c]| Shape::new(y, x, c));
        shapes.into_iter().flat_map(|input| [true, false].map(|is_shared| Self { input, is_shared })).collect()
    }
}
