//! Matrix products over the values of windows: strides, the epilogue, and tiles of workgroup memory.

use super::buffer::{at, inside, taps};
use super::{Buffer, Role, Slice, Work, flag, n, relu};
use crate::network::layer::{Shape, Window};
use crate::shader::Constants;
use crate::tile::Tile;

/// The operand that a product adds to its result: the block's other path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Add {
    /// Nothing.
    Nothing,
    /// Values of the result's shape.
    Residual,
    /// Likewise, times a factor for each channel, which lies behind the bias.
    Scaled,
    /// Values of the input's height and width, by 3×3 max pooling with stride 2.
    MaxPool {
        /// Rows and columns of padding before the first.
        padding: [usize; 2],
    },
}

/// The constants of shapes whose pixels lie some apart.
pub fn strides(input: Shape, output: Shape, stride: usize) -> Constants {
    vec![
        n("IN_HEIGHT", input.height),
        n("IN_WIDTH", input.width),
        n("IN_CHANNELS", input.channels),
        n("OUT_HEIGHT", output.height),
        n("OUT_WIDTH", output.width),
        n("OUT_CHANNELS", output.channels),
        n("STRIDE", stride),
    ]
}

/// A product over the values of windows: `output[m, n] = r(bias[n] + Σ_k window[m, k] · weight[k, n] + a[m, n])`.
#[derive(Clone, Copy)]
pub struct Product {
    pub input: Shape,
    pub output: Shape,
    /// The windows, whose stride is the same along rows and columns.
    pub window: Window,
    pub add: Add,
    pub relu_after: bool,
    pub slice: Option<Slice>,
}

impl Product {
    fn residual(&self) -> Shape {
        let Self { input, output, add, .. } = *self;
        if matches!(add, Add::MaxPool { .. }) { Shape { channels: output.channels, ..input } } else { output }
    }

    /// The number of values in a window.
    pub fn depth(&self) -> usize {
        self.window.pixels() * self.input.channels
    }

    /// Input, weight, bias, and what is added; the input again where nothing is.
    pub fn reads(&self, weights: Buffer) -> Vec<Buffer> {
        let to = self.output.channels;
        let residual = if self.add == Add::Nothing { self.input } else { self.residual() };
        let bias: &[usize] = if self.add == Add::Scaled { &[2, to] } else { &[to] };
        vec![Buffer::activation(self.input), weights, Buffer::weights(bias, Role::Bias), Buffer::activation(residual)]
    }

    /// Values of the residual that are read.
    pub fn added(&self) -> usize {
        if self.add == Add::Nothing { 0 } else { self.residual().len() }
    }

    pub fn macs(&self) -> u64 {
        self.depth() as u64 * self.output.len() as u64
    }

    pub fn constants(&self, batch: usize) -> Constants {
        let Self { input, output, window, add, relu_after, slice } = *self;
        let [top, left] = if let Add::MaxPool { padding } = add { padding } else { [0, 0] };
        let mut constants = strides(input, output, window.stride[0]);
        constants.extend([
            n("PIXELS", batch * output.pixels()),
            n("KERNEL_HEIGHT", window.kernel[0]),
            n("KERNEL_WIDTH", window.kernel[1]),
            n("WINDOW_TOP", window.padding[0][0]),
            n("WINDOW_LEFT", window.padding[1][0]),
            flag("SAME_PIXEL", window == Window::valid(1, 1)),
            flag("PADDED", window.padding != [[0; 2]; 2]),
            flag("ADD", matches!(add, Add::Residual | Add::Scaled)),
            flag("SCALED", add == Add::Scaled),
            flag("POOL", matches!(add, Add::MaxPool { .. })),
            n("PAD_TOP", top),
            n("PAD_LEFT", left),
            flag("RELU_AFTER", relu_after),
        ]);
        constants.extend(Slice::constants(slice, output.channels));
        constants
    }

    /// The result at a pixel and an output channel, from the sum of its products.
    pub fn epilogue(&self, reads: &[&[f32]], [y, x, n]: [usize; 3], sum: f32) -> f32 {
        let residual = self.residual();
        let added = match self.add {
            Add::Nothing => 0.0,
            Add::Residual => reads[3][at(residual, y, x, n)],
            Add::Scaled => reads[3][at(residual, y, x, n)] * reads[2][residual.channels.next_multiple_of(4) + n],
            Add::MaxPool { padding } => {
                let [top, left] = padding.map(|padding| padding as isize);
                let inside = |(i, j)| inside(residual, (2 * y + i) as isize - top, (2 * x + j) as isize - left);
                let values = taps().filter_map(inside).map(|(y, x)| reads[3][at(residual, y, x, n)]);
                values.fold(f32::NEG_INFINITY, f32::max)
            }
        };
        relu(reads[2][n] + sum + added, self.relu_after)
    }
}

/// The constants of a product by tiles over windows of `depth` values; `relu_before` goes before a depthwise convolution, which is the left
/// matrix where there is one.
pub fn tiling(tile: Tile, depth: usize, relu_before: Option<bool>) -> Constants {
    vec![
        flag("DEPTHWISE", relu_before.is_some()),
        flag("RELU_BEFORE", relu_before.unwrap_or_default()),
        n("GROUP_N", tile.group[0]),
        n("GROUP_M", tile.group[1]),
        n("LANES_N", tile.lanes()),
        n("SPLIT_K", tile.split_k),
        n("TILE_M", tile.tile_m),
        n("TILE_N", tile.tile_n),
        n("TILE_K", tile.step(depth)),
        n("A_TILE_LEN", tile.shared(depth) / 4),
        n("SUMS", tile.sums()),
    ]
}

/// The work of a product by tiles, whose slices along the input channels cover nothing of their own; or straight from storage, by tiles
/// of 8 channels and 16 pixels that are counted along both.
pub fn work(tile: Option<Tile>, output: Shape, images: usize) -> Work {
    let pixels = output.pixels() * images;
    let Some(Tile { group: [group_n, group_m], tile_m, tile_n, split_k, .. }) = tile else {
        let tiles = output.channels / 8 * pixels.div_ceil(16);
        return Work { extent: [16, tiles.div_ceil(16), 1], invocation: [1; 3], workgroup: [16, 1, 1] };
    };
    let extent = [output.channels, pixels, 1];
    Work { extent, invocation: [4 * tile_n, tile_m, 1], workgroup: [group_n, group_m, split_k] }
}
