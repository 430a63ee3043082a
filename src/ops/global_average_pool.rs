//! Mean over all pixels (global average pooling).
//!
//! `output[first + c] = Σ_p input[p, c] / pixels`

use super::buffer::{at, for_each};
use super::{Buffer, Operation, Slice, Work, n};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// Mean over all pixels: reads input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAveragePool {
    /// Shape read.
    pub input: Shape,
    /// Its part of the values that are written.
    pub slice: Slice,
}

impl Operation for GlobalAveragePool {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        &shader::GLOBAL_AVERAGE_POOL
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
        out.fill(0.0);
        for_each(input, |y, x, c| out[c] += reads[0][at(input, y, x, c)] / input.pixels() as f32);
    }

    fn tolerance(&self) -> (f32, f32) {
        (2e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        for [height, width] in [[1, 1], [1, 2], [3, 5], [10, 10], [37, 19]] {
            for channels in [4, 8, 64, 728, 2048] {
                let input = Shape::new(height, width, channels);
                let slices = [Slice { first: 0, all: channels }, Slice { first: 4, all: channels + 8 }];
                cases.extend(slices.map(|slice| Self { input, slice }));
            }
        }
        cases
    }
}
