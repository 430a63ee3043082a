//! Pooling by windows.
//!
//! `output[y, x, c] = max input[i, j, c]`, or their mean, over the pixels of the window at `[y · stride − top, x · stride − left]` that
//! lie inside; or their sum divided by the pixels of the whole window

use super::buffer::{at, for_each, inside};
use super::{Buffer, Operation, Slice, Work, flag, n};
use crate::network::layer::{Shape, Window};
use crate::shader::{self, Constants, Kernel};

/// The value of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The maximum.
    Max,
    /// The mean of the pixels inside.
    Mean,
    /// The mean of all pixels; those outside are zero.
    PaddedMean,
}

/// Pooling: reads input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Shape read.
    pub input: Shape,
    /// The windows.
    pub window: Window,
    /// The value of a window.
    pub pooling: Pooling,
    /// The channels of what it writes, where these are a part.
    pub slice: Option<Slice>,
}

impl Pool {
    /// Pooling over all pixels.
    pub fn global(input: Shape, pooling: Pooling, slice: Slice) -> Self {
        let window = Window { kernel: [input.height, input.width], stride: [1; 2], padding: [[0; 2]; 2] };
        Self { input, window, pooling, slice: Some(slice) }
    }

    /// The shape of the result.
    pub fn output_shape(&self) -> Shape {
        let [height, width] = self.window.count(self.input);
        Shape::new(height, width, self.input.channels)
    }

    /// The pixels inside the window of an output pixel.
    pub(super) fn pixels(&self, y: usize, x: usize) -> Vec<(usize, usize)> {
        let Window { kernel, stride, padding } = self.window;
        let place = |at: usize, axis: usize, k: usize| (at * stride[axis] + k) as isize - padding[axis][0] as isize;
        let rows = (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j)));
        rows.filter_map(|(i, j)| inside(self.input, place(y, 0, i), place(x, 1, j))).collect()
    }
}

impl Operation for Pool {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        &shader::POOL
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![Buffer::activation(self.input)]
    }

    fn output(&self) -> Buffer {
        Buffer::result(self.output_shape(), self.slice)
    }

    fn constants(&self, _batch: usize) -> Constants {
        let (Shape { height, width, channels }, output) = (self.input, self.output_shape());
        let Window { kernel, stride, padding } = self.window;
        let mut constants = vec![
            n("IN_HEIGHT", height),
            n("IN_WIDTH", width),
            n("CHANNELS", channels),
            n("OUT_HEIGHT", output.height),
            n("OUT_WIDTH", output.width),
            n("KERNEL_HEIGHT", kernel[0]),
            n("KERNEL_WIDTH", kernel[1]),
            n("STRIDE_Y", stride[0]),
            n("STRIDE_X", stride[1]),
            n("PAD_TOP", padding[0][0]),
            n("PAD_LEFT", padding[1][0]),
            flag("MEAN", self.pooling != Pooling::Max),
            flag("PADDED", self.pooling == Pooling::PaddedMean),
        ];
        constants.extend(Slice::constants(self.slice, channels));
        constants
    }

    fn work(&self, images: usize) -> Work {
        let Shape { height, width, channels } = self.output_shape();
        Work { extent: [channels, height * width, images], invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let (input, output) = (self.input, self.output_shape());
        for_each(output, |y, x, c| {
            let values: Vec<f32> = self.pixels(y, x).into_iter().map(|(y, x)| reads[0][at(input, y, x, c)]).collect();
            out[Slice::at(self.slice, output, [y, x, c])] = match self.pooling {
                Pooling::Max => values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                Pooling::Mean => values.iter().sum::<f32>() / values.len() as f32,
                Pooling::PaddedMean => values.iter().sum::<f32>() / self.window.pixels() as f32,
            };
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-6, 1e-6)
    }

    fn cases() -> Vec<Self> {
        let window = |kernel, stride, padding| Window { kernel, stride, padding };
        let mut cases = Vec::new();
        for [height, width, channels] in [[5, 5, 2048], [10, 7, 8], [3, 4, 260]] {
            let input = Shape::new(height, width, channels);
            for window in [
                Window::valid(2, 2),
                Window::valid(3, 1),
                Window::same(2, 2, input),
                Window::same(3, 2, input),
                window([height, width], [1, 1], [[0; 2]; 2]),
                window([1, 3], [2, 1], [[0, 0], [1, 1]]),
            ] {
                let poolings = [Pooling::Max, Pooling::Mean, Pooling::PaddedMean];
                cases.extend(poolings.map(|pooling| Self { input, window, pooling, slice: None }));
            }
        }
        let (input, slice) = (Shape::new(7, 6, 12), Some(Slice { first: 8, all: 32 }));
        cases.push(Self { input, window: Window::valid(3, 2), pooling: Pooling::Max, slice });
        cases.push(Self { input, window: Window::padded(3, 1, 1), pooling: Pooling::PaddedMean, slice });
        cases
    }
}
