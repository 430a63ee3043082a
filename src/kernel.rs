//! What one pass computes: its kernel, constants and grid. Nothing here needs a GPU.
//!
//! Activations of several images lie one behind the other.

use crate::dtype::Dtype;
use crate::layer::Shape;
use crate::shader::{
    CLASS_MAP, CONV3X3, Constants, DENSE, DENSE_TRANSPOSED, DEPTHWISE, Kernel, MEAN, POINTWISE, Precision, SEPCONV,
    SOFTMAX_TOPK,
};
use crate::tile::Tile;

/// The most workgroups along a dimension that every WebGPU device grants.
const MAX_WORKGROUPS: usize = 65_535;

/// What a product adds to its result: the block's other path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Add {
    /// Nothing.
    Nothing,
    /// Values of the result's shape.
    Residual,
    /// Values of the input's height and width, by 3×3 max pooling with stride 2.
    MaxPool {
        /// How far the first window begins before the first row and the first column.
        before: [usize; 2],
    },
}

/// What one pass computes, with all sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads input, weight `[3, 3, in, out]`, bias `[out]`; no padding, ReLU after.
    Conv {
        /// Shape read.
        input: Shape,
        /// Shape written.
        output: Shape,
        /// Pixels between neighbouring windows.
        stride: usize,
    },
    /// Reads input, weight `[3, 3, channels]`; padded with zeros to the same size.
    Depthwise {
        /// Shape read and written.
        shape: Shape,
        /// Whether negative inputs are taken as zero.
        relu_before: bool,
        /// Rows of the result that one invocation computes.
        rows: usize,
    },
    /// Reads input, weight `[in, out]`, bias `[out]`, and what is added (the input again where nothing is); by tiles the
    /// weight once more, where [`Self::Sepconv`] has its window.
    Pointwise {
        /// Shape read.
        input: Shape,
        /// Shape written.
        output: Shape,
        /// Pixels between those that are read.
        stride: usize,
        /// What is added.
        add: Add,
        /// Whether negative results become zero.
        relu_after: bool,
        /// Where workgroup memory is used, how.
        tile: Option<Tile>,
    },
    /// Depthwise and pointwise at once: reads input, weight `[in, out]`, bias `[out]`, what is added (the input again
    /// where nothing is), and the window, which is the depthwise weight `[3, 3, in]`.
    Sepconv {
        /// Shape read.
        input: Shape,
        /// Shape written.
        output: Shape,
        /// Whether negative inputs are taken as zero.
        relu_before: bool,
        /// What is added, [`Add::MaxPool`] excepted.
        add: Add,
        /// Whether negative results become zero.
        relu_after: bool,
        /// How workgroup memory is used.
        tile: Tile,
    },
    /// Reads input.
    Mean {
        /// Shape read.
        input: Shape,
    },
    /// Reads input `[in]`, some rows of the weight `[out, in]`, and bias `[all]`; inputs are padded with zeros to whole
    /// `vec4`s. Input, bias and result are f32.
    Dense {
        /// Values read.
        inputs: usize,
        /// Where in bias and result the rows begin.
        first: usize,
        /// Values written.
        outputs: usize,
        /// Values of the whole layer.
        all: usize,
        /// Whether negative results become zero.
        relu_after: bool,
    },
    /// [`Self::Dense`] backwards: reads a gradient `[all]`, the layer's result `[all]`, and some rows of its weight `[out, in]`;
    /// writes `[in]`, or adds to it where `first` is not 0. All but the weight are f32.
    DenseTransposed {
        /// Values written.
        inputs: usize,
        /// Where in gradient and result the rows begin.
        first: usize,
        /// Values read.
        outputs: usize,
        /// Values of the whole layer.
        all: usize,
        /// Whether outputs that are zero pass nothing on.
        relu_after: bool,
    },
    /// Reads input and a weight `[channels]` for each channel, which is f32; writes their sum over the channels, `[pixels]`.
    ClassMap {
        /// Shape read.
        input: Shape,
    },
    /// Reads logits, those of an image whole `vec4`s behind the image before; writes for each image `top` indices and their
    /// `top` probabilities, then for each image all probabilities.
    SoftmaxTopk {
        /// The number of logits.
        classes: usize,
        /// How many classes are ranked.
        top: usize,
    },
}

impl Op {
    /// The shader that computes it.
    pub fn kernel(&self) -> &'static Kernel {
        match self {
            Self::Conv { .. } => &CONV3X3,
            Self::Depthwise { .. } => &DEPTHWISE,
            Self::Pointwise { tile: None, .. } => &POINTWISE,
            Self::Pointwise { .. } | Self::Sepconv { .. } => &SEPCONV,
            Self::Mean { .. } => &MEAN,
            Self::Dense { .. } => &DENSE,
            Self::DenseTransposed { .. } => &DENSE_TRANSPOSED,
            Self::ClassMap { .. } => &CLASS_MAP,
            Self::SoftmaxTopk { .. } => &SOFTMAX_TOPK,
        }
    }

    /// The number of values that what it writes must hold for each image.
    pub fn output_len(&self) -> usize {
        match *self {
            Self::Conv { output, .. } | Self::Pointwise { output, .. } | Self::Sepconv { output, .. } => {
                output.stored()
            }
            Self::Depthwise { shape, .. } => shape.stored(),
            Self::Mean { input } => input.channels,
            // Images lie whole vec4s apart.
            Self::Dense { all, .. } => all.next_multiple_of(4),
            Self::DenseTransposed { inputs, .. } => inputs.next_multiple_of(4),
            Self::ClassMap { input } => input.pixels(),
            Self::SoftmaxTopk { classes, top } => 2 * top + classes,
        }
    }

    /// The shape of what it writes for one image: height, width and channels, or a number of values.
    pub fn output_shape(&self) -> Vec<usize> {
        match *self {
            Self::Conv { output: shape, .. }
            | Self::Pointwise { output: shape, .. }
            | Self::Sepconv { output: shape, .. }
            | Self::Depthwise { shape, .. } => vec![shape.height, shape.width, shape.channels],
            Self::Dense { all: values, .. } | Self::SoftmaxTopk { classes: values, .. } => vec![values],
            _ => vec![self.output_len()],
        }
    }

    /// How values are stored and computed with where `storage` is how weights and activations are stored.
    pub fn precision(&self, storage: Dtype) -> Precision {
        match *self {
            _ if storage != Dtype::F16 => Precision::Single,
            Self::Pointwise { tile: Some(tile), .. } | Self::Sepconv { tile, .. } if tile.half => Precision::Half,
            _ => Precision::Stored,
        }
    }

    /// Multiply-accumulates for one image.
    pub fn macs(&self) -> u64 {
        // More than 32 bits hold, where images are large.
        let times = |factor: usize, values: usize| factor as u64 * values as u64;
        match *self {
            Self::Conv { input, output, .. } => times(9 * input.channels, output.len()),
            Self::Depthwise { shape, .. } => times(9, shape.len()),
            Self::Pointwise { input, output, .. } => times(input.channels, output.len()),
            Self::Sepconv { input, output, .. } => times(9, input.len()) + times(input.channels, output.len()),
            Self::Dense { inputs, outputs, .. } | Self::DenseTransposed { inputs, outputs, .. } => {
                times(inputs, outputs)
            }
            Self::ClassMap { input } => times(1, input.len()),
            Self::Mean { .. } | Self::SoftmaxTopk { .. } => 0,
        }
    }

    /// Values of activations that are read and written for one image, each counted once.
    pub fn activations(&self) -> u64 {
        let added = |add, input: Shape, output: Shape| match add {
            Add::Nothing => 0,
            Add::Residual => output.len(),
            Add::MaxPool { .. } => input.pixels() * output.channels,
        };
        let read = match *self {
            Self::Conv { input, .. } => input.stored(),
            Self::Depthwise { shape, .. } => shape.stored(),
            Self::Pointwise { input, output, add, .. } => output.pixels() * input.channels + added(add, input, output),
            Self::Sepconv { input, output, add, .. } => input.len() + added(add, input, output),
            Self::Mean { input } => input.len(),
            Self::Dense { inputs, .. } => inputs,
            Self::DenseTransposed { outputs, .. } => 2 * outputs,
            Self::ClassMap { input } => input.len() + input.channels,
            Self::SoftmaxTopk { classes, .. } => classes,
        };
        (read + self.output_len()) as u64
    }

    /// The shader's constants where up to `batch` images are computed at once.
    pub fn constants(&self, batch: usize) -> Constants {
        match *self {
            Self::Conv { input, output, stride } => strided(input, output, stride),
            Self::Depthwise { shape, relu_before, rows } => vec![
                n("HEIGHT", shape.height),
                n("WIDTH", shape.width),
                n("CHANNELS", shape.channels),
                flag("RELU_BEFORE", relu_before),
                n("ROWS", rows),
            ],
            Self::Pointwise { input, output, stride, add, relu_after, tile } => {
                let mut constants = product(batch, input, output, stride, add, relu_after);
                if let Some(tile) = tile {
                    constants.extend(tiling(tile, input, None));
                }
                constants
            }
            Self::Sepconv { input, output, relu_before, add, relu_after, tile } => {
                let mut constants = product(batch, input, output, 1, add, relu_after);
                constants.extend(tiling(tile, input, Some(relu_before)));
                constants
            }
            Self::Mean { input } | Self::ClassMap { input } => {
                vec![n("PIXELS", input.pixels()), n("CHANNELS", input.channels)]
            }
            Self::Dense { inputs, first, outputs, all, relu_after }
            | Self::DenseTransposed { inputs, first, outputs, all, relu_after } => vec![
                n("INPUTS", inputs),
                n("FIRST", first),
                n("OUTPUTS", outputs),
                n("ALL", all),
                flag("RELU_AFTER", relu_after),
            ],
            Self::SoftmaxTopk { classes, top } => vec![n("CLASSES", classes), n("TOP", top)],
        }
    }

    /// Workgroups in x, y and z for some images. The divisors are the shader's workgroup size times what one invocation
    /// computes; `tests/shaders.rs` holds them against the source, and shows that no plan has more of them in a dimension than
    /// every WebGPU device grants.
    pub fn grid(&self, images: usize) -> [u32; 3] {
        let cover = |length: usize, by: usize| length.div_ceil(by) as u32;
        match *self {
            Self::Conv { output, .. } => {
                [cover(output.channels, 16 * 4), cover(output.width, 4 * 8), (output.height * images) as u32]
            }
            Self::Depthwise { shape, rows, .. } => {
                let blocks = shape.height.div_ceil(rows) * images;
                [cover(shape.channels, 4 * 64), cover(shape.width, 4), blocks as u32]
            }
            Self::Pointwise { output, tile: None, .. } => {
                product_grid(cover(output.channels, 8 * 4), (output.pixels() * images).div_ceil(16 * 4))
            }
            Self::Pointwise { output, tile: Some(tile), .. } | Self::Sepconv { output, tile, .. } => product_grid(
                cover(output.channels, tile.channels()),
                (output.pixels() * images).div_ceil(tile.pixels()),
            ),
            Self::Mean { input } => [cover(input.channels, 4 * 64), images as u32, 1],
            Self::Dense { outputs, .. } => [1, cover(outputs, 16), images as u32],
            Self::DenseTransposed { inputs, .. } => [cover(inputs, 4 * 64), images as u32, 1],
            Self::ClassMap { input } => [input.pixels() as u32, images as u32, 1],
            Self::SoftmaxTopk { .. } => [1, images as u32, 1],
        }
    }
}

/// The grid of a product: tiles of pixels lie along y, and along z too where they are more than one dimension takes.
fn product_grid(channels: u32, pixels: usize) -> [u32; 3] {
    let layers = pixels.div_ceil(MAX_WORKGROUPS).max(1);
    [channels, pixels.div_ceil(layers) as u32, layers as u32]
}

fn n(name: &'static str, value: usize) -> (&'static str, f64) {
    (name, value as f64)
}

fn flag(name: &'static str, value: bool) -> (&'static str, f64) {
    (name, f64::from(u8::from(value)))
}

/// What shaders have whose windows lie some pixels apart.
fn strided(input: Shape, output: Shape, stride: usize) -> Constants {
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

/// What both shaders for products have.
fn product(batch: usize, input: Shape, output: Shape, stride: usize, add: Add, relu_after: bool) -> Constants {
    let [top, left] = if let Add::MaxPool { before } = add { before } else { [0, 0] };
    let mut constants = strided(input, output, stride);
    constants.extend([
        n("PIXELS", batch * output.pixels()),
        flag("ADD", add == Add::Residual),
        flag("POOL", matches!(add, Add::MaxPool { .. })),
        n("PAD_TOP", top),
        n("PAD_LEFT", left),
        flag("RELU_AFTER", relu_after),
    ]);
    constants
}

/// What the one by tiles has besides; `depthwise` is whether a ReLU goes before a depthwise convolution, if there is one.
fn tiling(tile: Tile, input: Shape, depthwise: Option<bool>) -> Constants {
    vec![
        flag("DEPTHWISE", depthwise.is_some()),
        flag("RELU_BEFORE", depthwise.unwrap_or_default()),
        n("GROUP_N", tile.group[0]),
        n("GROUP_M", tile.group[1]),
        n("SPLIT_K", tile.split),
        n("TILE_M", tile.rows),
        n("TILE_N", tile.columns),
        n("TILE_K", tile.step(input.channels)),
        n("A_TILE_LEN", tile.shared(input.channels)),
        n("SUMS", tile.sums()),
    ]
}
