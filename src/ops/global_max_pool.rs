//! Maximum over all pixels (global max pooling).
//!
//! `output[first + c] = max_p input[p, c]`

use super::buffer::{at, for_each};
use super::{Buffer, Operation, Slice, Work, n};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// Maximum over all pixels: reads input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalMaxPool {
    /// Shape read.
    pub input: Shape,
    /// Its part of the values that are written.
    pub slice: Slice,
}

impl Operation for GlobalMaxPool {
    fn kernel(&self) -> &'static Kernel {
        &shader::GLOBAL_MAX_POOL
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![Buffer::activation(self.input)]
    }

    fn output(&self) -> Buffer {
        Buffer::vector(self.slice.all)
    }

    fn constants(&self, _batch: usize) -> Constants {
        let channels = self.input.channels;
        let mut constants = vec![n("PIXELS", self.input.pixels()), n("CHANNELS", channels)];
        constants.extend(Slice::constants(Some(self.slice), channels));
        constants
    }

    fn work(&self, images: usize) -> Work {
        Work { extent: [self.input.channels, images, 1], invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let input = self.input;
        let out = &mut out[self.slice.first..][..input.channels];
        out.fill(f32::NEG_INFINITY);
        for_each(input, |y, x, c| out[c] = out[c].max(reads[0][at(input, y, x, c)]));
    }

    fn tolerance(&self) -> (f32, f32) {
        (0.0, 0.0)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        for [height, width] in [[1, 1], [1, 2], [3, 5], [37, 19]] {
            for channels in [4, 8, 260, 2048] {
                let input = Shape::new(height, width, channels);
                let slices = [Slice { first: 0, all: channels }, Slice { first: 4, all: channels + 8 }];
                cases.extend(slices.map(|slice| Self { input, slice }));
            }
        }
        cases
    }
}
