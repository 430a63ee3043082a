//! Convolution over windows.
//!
//! `output[y, x, n] = r(bias[n] + Σ_{i, j, c} input[y·stride + i − top, x·stride + j − left, c] · weight[i, j, c, n])`, outside of the
//! input are zeros, r = ReLU or identity

use super::buffer::{at, for_each, inside};
use super::product::{Product, tiling, work};
use super::{Add, Buffer, Operation, Role, Slice, Work, relu};
use crate::network::layer::{Shape, Window};
use crate::shader::{self, Constants, Kernel};
use crate::tile::{TILES, Tile};

/// Convolution: reads input, weight `[height, width, in, out]`, bias `[out]`, and the input once more, where [`Pointwise`](super::Pointwise)
/// has what it adds; by tiles the weight once more, where [`Sepconv`](super::Sepconv) has its filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Shape read.
    pub input: Shape,
    /// Shape written.
    pub output: Shape,
    /// The windows, whose stride is the same along rows and columns.
    pub window: Window,
    /// Whether negative results become zero.
    pub relu_after: bool,
    /// The channels of what it writes, where these are a part.
    pub slice: Option<Slice>,
    /// The tile in workgroup memory, as a product over windows; none for the kernel without workgroup memory.
    pub tile: Option<Tile>,
}

impl Conv {
    fn product(&self) -> Product {
        let Self { input, output, window, relu_after, slice, .. } = *self;
        Product { input, output, window, add: Add::Nothing, relu_after, slice }
    }

    /// The number of values in a window.
    pub fn depth(&self) -> usize {
        self.product().depth()
    }

    fn weights(&self) -> Buffer {
        let [height, width] = self.window.kernel;
        let (from, to) = (self.input.channels, self.output.channels);
        Buffer::weights(&[height, width, from, to], Role::of_filters(from))
    }
}

impl Operation for Conv {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        if self.tile.is_some() { &shader::SEPCONV } else { &shader::CONV }
    }

    fn reads(&self) -> Vec<Buffer> {
        let mut reads = self.product().reads(self.weights());
        reads.extend(self.tile.map(|_| self.weights()));
        reads
    }

    fn output(&self) -> Buffer {
        Buffer::result(self.output, self.slice)
    }

    fn constants(&self, batch: usize) -> Constants {
        let mut constants = self.product().constants(batch);
        if let Some(tile) = self.tile {
            let depth = self.window.pixels() * self.input.channels.next_multiple_of(4);
            constants.extend(tiling(tile, depth, None));
        }
        constants
    }

    fn work(&self, images: usize) -> Work {
        work(self.tile, self.output, images)
    }

    fn macs(&self) -> u64 {
        self.product().macs()
    }

    fn values_read(&self) -> usize {
        self.input.stored()
    }

    fn f16_operands(&self) -> bool {
        self.tile.is_some_and(|tile| tile.f16)
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Self { input, output, window: Window { kernel, stride, padding }, relu_after, slice, .. } = *self;
        for_each(output, |y, x, n| {
            let mut sum = reads[2][n];
            for (i, j) in (0..kernel[0]).flat_map(|i| (0..kernel[1]).map(move |j| (i, j))) {
                let place =
                    |at: usize, axis: usize, k: usize| (at * stride[axis] + k) as isize - padding[axis][0] as isize;
                let Some((y, x)) = inside(input, place(y, 0, i), place(x, 1, j)) else { continue };
                for c in 0..input.channels {
                    let weight = reads[1][((i * kernel[1] + j) * input.channels + c) * output.channels + n];
                    sum += reads[0][at(input, y, x, c)] * weight;
                }
            }
            out[Slice::at(slice, output, [y, x, n])] = relu(sum, relu_after);
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-4, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        let mut case = |[height, width]: [usize; 2], [from, to]: [usize; 2], window: Window, relu_after, slice, tile| {
            let input = Shape::new(height, width, from);
            let [height, width] = window.count(input);
            let output = Shape::new(height, width, to);
            cases.push(Self { input, output, window, relu_after, slice, tile });
        };
        // Every size and every number of channels meets both strides and both paddings.
        for (i, size) in [[3, 3], [3, 5], [5, 4], [19, 37], [37, 19], [71, 8]].into_iter().enumerate() {
            for (j, channels) in [[3, 32], [32, 64], [8, 8], [3, 728]].into_iter().enumerate() {
                let (stride, padding) = (1 + (i + j) % 2, (i + j / 2) % 2);
                case(size, channels, Window::padded(3, stride, padding), padding == 0, None, None);
            }
        }
        // Windows of every form, on inputs smaller than they are too; every tile meets some.
        let long = |kernel: [usize; 2]| {
            Window { kernel, stride: [1; 2], padding: kernel.map(|side| [side / 2; 2]) }
        };
        let windows = [[5, 5], [1, 7], [7, 1], [1, 3], [3, 1]].map(long);
        let windows = [windows.as_slice(), &[Window::valid(3, 2), Window::padded(3, 1, 1)]].concat();
        for (i, window) in windows.iter().enumerate() {
            let slice = Some(Slice { first: 16, all: 96 }).filter(|_| i % 2 == 0);
            case([3, 4], [32, 48], *window, true, slice, None);
            case([9, 13], [24, 72], *window, i % 2 == 0, slice, None);
        }
        for (i, tile) in TILES.into_iter().enumerate() {
            let slice = Some(Slice { first: 8, all: 88 }).filter(|_| i % 2 == 0);
            case([9, 8], [20, 72], windows[i % 7], i % 3 > 0, slice, Some(tile));
            case([4, 3], [8, 16], windows[(i + 3) % 7], true, None, Some(tile));
            case([9, 8], [3, 32], Window::valid(3, 2), true, None, Some(tile));
        }
        case([17, 17], [128, 192], windows[1], true, None, Some(TILES[3]));
        cases
    }
}
