//! Shared by operations that compute each value by itself.

use super::buffer::{at, for_each};
use super::{Buffer, Work, n};
use crate::network::layer::Shape;
use crate::shader::Constants;

/// The values that an operation reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values {
    /// Their shape.
    pub shape: Shape,
    /// Whether they are a vector, which is f32 in every storage.
    pub is_vector: bool,
}

impl Values {
    /// A vector of some length.
    pub const fn vector(len: usize) -> Self {
        Self { shape: Shape::new(1, 1, len), is_vector: true }
    }

    pub(super) fn buffer(&self) -> Buffer {
        Buffer { always_f32: self.is_vector, ..Buffer::activation(self.shape) }
    }

    /// Their gradient.
    pub(super) fn gradient(&self) -> Buffer {
        Buffer::gradient(self.shape)
    }

    pub(super) fn constants(&self) -> Constants {
        vec![n("PIXELS", self.shape.pixels()), n("CHANNELS", self.shape.channels)]
    }

    pub(super) fn work(&self, images: usize) -> Work {
        let extent = [self.shape.channels, self.shape.pixels(), images];
        Work { extent, invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    /// Visits each value: its place, and its channel.
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        for_each(self.shape, |y, x, c| visit(at(self.shape, y, x, c), c));
    }

    pub(super) fn cases() -> Vec<Self> {
        let pixels = [[1, 1, 4], [3, 2, 260], [5, 7, 2048]];
        let pixels = pixels.map(|[y, x, c]| Self { shape: Shape::new(y, x, c), is_vector: false });
        [1, 6, 2048].map(Self::vector).into_iter().chain(pixels).collect()
    }
}
