//! Class activation map: what each pixel of the last activation contributes to a class.
//!
//! `output[p] = Σ_c input[p, c] · weight[c]`

use super::buffer::{at, for_each};
use super::{Buffer, Operation, Work, n};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// Class activation map: reads input and a weight `[channels]` for each channel, which is f32; writes `[pixels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassMap {
    /// Shape read.
    pub input: Shape,
}

impl Operation for ClassMap {
    fn kernel(&self) -> &'static Kernel {
        &shader::CLASS_MAP
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![Buffer::activation(self.input), Buffer::vector(self.input.channels)]
    }

    fn output(&self) -> Buffer {
        Buffer::unpadded(self.input.pixels())
    }

    fn constants(&self, _batch: usize) -> Constants {
        vec![n("PIXELS", self.input.pixels()), n("CHANNELS", self.input.channels)]
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
        for_each(input, |y, x, c| out[y * input.width + x] += reads[0][at(input, y, x, c)] * reads[1][c]);
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-4, 1e-5)
    }

    fn cases() -> Vec<Self> {
        [[1, 1, 4], [3, 2, 260], [5, 7, 2048]]
            .map(|[height, width, channels]| Self { input: Shape::new(height, width, channels) })
            .to_vec()
    }
}
