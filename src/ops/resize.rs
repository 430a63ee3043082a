//! Resizing of an image to another size, as TensorFlow does it.
//!
//! Row `y` of the result lies at `(y + ½) · scale − ½` between the input's rows, `scale = rows kept / rows of the result`, and a column
//! likewise:
//!
//! `output[y, x] = mix(mix(p[top, left], p[top, right], x's share), mix(p[bottom, left], p[bottom, right], x's share), y's share)`
//!
//! or of the nearest pixel `output[y, x] = p[⌊(y + ½) · scale⌋, ⌊(x + ½) · scale⌋]`. Source:
//! `tensorflow/core/kernels/image/resize_bilinear_op.cc`, `resize_nearest_neighbor_op.cc`.

use super::buffer::{at, for_each};
use super::{Buffer, Operation, Work, flag, n};
use crate::network::layer::{self, Part, Shape};
use crate::resize::smart_crop;
use crate::shader::{self, Constants, Kernel};

/// Resizing: reads input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Shape read.
    pub input: Shape,
    /// First row and column of the part that is kept.
    pub first: [usize; 2],
    /// Its height and width.
    pub kept: [usize; 2],
    /// Height and width of the result.
    pub size: [usize; 2],
    /// Whether a pixel is the nearest one, or else between the two nearest along each axis.
    pub is_nearest: bool,
}

impl Resize {
    /// A layer's resizing of an image.
    pub fn new(input: Shape, layer::Resize { size, part, is_nearest }: layer::Resize) -> Self {
        let image = [input.height, input.width];
        let is_inside = size[0] <= image[0] && size[1] <= image[1];
        let kept = match part {
            Part::Whole => image,
            Part::Centre if is_inside => size,
            Part::Aspect | Part::Centre => smart_crop(image, size),
        };
        let first = [0, 1].map(|axis| (image[axis] - kept[axis]) / 2);
        Self { input, first, kept, size, is_nearest }
    }

    /// Pixels of the part that is kept for each of the result.
    fn scale(&self, axis: usize) -> f32 {
        self.kept[axis] as f32 / self.size[axis] as f32
    }

    /// The two input rows or columns of one of the result, and the second one's share.
    fn taps(&self, axis: usize, place: usize) -> (usize, usize, f32) {
        let (last, centre) = (self.kept[axis] - 1, (place as f32 + 0.5) * self.scale(axis));
        let at = if self.is_nearest { centre.floor() } else { centre - 0.5 };
        let [low, high] = [at.floor(), at.ceil()].map(|at| self.first[axis] + (at as usize).min(last));
        (low, high, at - at.floor())
    }
}

impl Operation for Resize {
    fn kernel(&self) -> &'static Kernel {
        &shader::RESIZE
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![Buffer::activation(self.input)]
    }

    fn output(&self) -> Buffer {
        let [height, width] = self.size;
        Buffer::activation(Shape::new(height, width, self.input.channels))
    }

    fn constants(&self, _batch: usize) -> Constants {
        vec![
            n("IN_HEIGHT", self.input.height),
            n("IN_WIDTH", self.input.width),
            n("FIRST_ROW", self.first[0]),
            n("FIRST_COLUMN", self.first[1]),
            n("KEPT_ROWS", self.kept[0]),
            n("KEPT_COLUMNS", self.kept[1]),
            n("HEIGHT", self.size[0]),
            n("WIDTH", self.size[1]),
            ("SCALE_Y", self.scale(0).into()),
            ("SCALE_X", self.scale(1).into()),
            flag("NEAREST", self.is_nearest),
        ]
    }

    fn work(&self, images: usize) -> Work {
        let [height, width] = self.size;
        Work { extent: [width, height, images], invocation: [1; 3], workgroup: [16, 16, 1] }
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let (input, [height, width]) = (self.input, self.size);
        let output = Shape::new(height, width, input.channels);
        out.fill(0.0);
        for_each(output, |y, x, c| {
            let (top, bottom, down) = self.taps(0, y);
            let (left, right, across) = self.taps(1, x);
            let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
            let row = |y: usize| {
                let [a, b] = [left, right].map(|x| reads[0][at(input, y, x, c)]);
                mix(a, b, across)
            };
            out[at(output, y, x, c)] = mix(row(top), row(bottom), down);
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (2e-5, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        for [height, width] in [[1, 1], [3, 2], [17, 40], [71, 5]] {
            for size in [[1, 1], [5, 3], [34, 80], [71, 73]] {
                for part in [Part::Whole, Part::Aspect, Part::Centre] {
                    for is_nearest in [false, true] {
                        cases.push(Self::new(Shape::new(height, width, 3), layer::Resize { size, part, is_nearest }));
                    }
                }
            }
        }
        cases
    }
}
