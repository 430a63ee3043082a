//! All values of an activation as a vector, row by row with the channels innermost.
//!
//! `output[p · channels + c] = input[p, c]`

use super::{Buffer, Operation, Work, n};
use crate::network::layer::Shape;
use crate::shader::{self, Constants, Kernel};

/// Flatten: reads input, whose channels are whole `vec4`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// Shape read.
    pub input: Shape,
}

impl Operation for Flatten {
    fn kernel(&self) -> &'static Kernel {
        &shader::FLATTEN
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![Buffer::activation(self.input)]
    }

    fn output(&self) -> Buffer {
        Buffer::vector(self.input.len())
    }

    fn constants(&self, _batch: usize) -> Constants {
        vec![n("LEN", self.input.len())]
    }

    fn work(&self, images: usize) -> Work {
        Work { extent: [self.input.len(), images, 1], invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let len = self.input.len();
        out[..len].copy_from_slice(&reads[0][..len]);
    }

    fn tolerance(&self) -> (f32, f32) {
        (0.0, 0.0)
    }

    fn cases() -> Vec<Self> {
        [[1, 1, 4], [3, 2, 260], [5, 5, 2048]].map(|[y, x, c]| Self { input: Shape::new(y, x, c) }).to_vec()
    }
}
