//! The kernels as data: WGSL source, constants and grid. Nothing here needs a GPU.
//!
//! Activations of several images lie one behind the other.
//!
//! Every kernel reads and writes storage buffers (the first resize a texture) bound in the order its operation lists
//! them, the result last. Sizes reach the shader as pipeline-overridable constants without defaults, so that a
//! forgotten one fails when the pipeline is made.

use std::borrow::Cow;

use crate::dtype::Dtype;
use crate::layer::Shape;
use crate::tile::Tile;

/// A shader module: a valid stand-alone WGSL file with one entry point, `main`, for values stored as f32.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The file's name in `shaders/`, without the ending.
    pub name: &'static str,
    /// WGSL.
    pub source: &'static str,
    /// How many buffers it reads, bound in order; the result follows.
    pub reads: usize,
}

/// How the shaders store four values, as f32.
const STORED_F32: &str = "\
alias Stored = vec4f;
fn unpack(stored: Stored) -> vec4f { return stored; }
fn pack(value: vec4f) -> Stored { return value; }
";

/// As f16 in two words, which needs no feature of the device. What is too large for f16 becomes its largest value.
const STORED_F16: &str = "\
alias Stored = vec2u;
fn unpack(stored: Stored) -> vec4f { return vec4f(unpack2x16float(stored.x), unpack2x16float(stored.y)); }
fn pack(value: vec4f) -> Stored {
    let limited = clamp(value, vec4f(-65504.0), vec4f(65504.0));
    return vec2u(pack2x16float(limited.xy), pack2x16float(limited.zw));
}
";

/// As f16 that is also computed with.
const STORED_HALF: &str = "\
alias Stored = vec4h;
fn unpack(stored: Stored) -> vec4f { return vec4f(stored); }
fn pack(value: vec4f) -> Stored { return vec4h(clamp(value, vec4f(-65504.0), vec4f(65504.0))); }
";

/// How the factors of products are computed with.
const FACTORS_F32: &str = "\
alias Factors = vec4f;
fn factors(stored: Stored) -> Factors { return unpack(stored); }
";

/// As they are stored, which are f16.
const FACTORS_HALF: &str = "\
alias Factors = vec4h;
fn factors(stored: Stored) -> Factors { return stored; }
";

/// How a shader's values are stored in buffers, and computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Both as f32.
    Single,
    /// Stored as f16, computed as f32.
    Stored,
    /// Both as f16, but for sums. The device must have `shader-f16`.
    Half,
}

impl Kernel {
    /// Whether what it reads first is a texture.
    pub fn reads_texture(&self) -> bool {
        *self == RESIZE_HORIZONTAL
    }

    /// The shader's source with some precision.
    pub fn source(&self, precision: Precision) -> Cow<'static, str> {
        match precision {
            Precision::Single => self.source.into(),
            Precision::Stored => self.source.replace(STORED_F32, STORED_F16).into(),
            Precision::Half => {
                let source = self.source.replace(STORED_F32, STORED_HALF).replace(FACTORS_F32, FACTORS_HALF);
                format!("enable f16;\n{source}").into()
            }
        }
    }
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $reads:literal;)*) => {
        $($(#[$doc])* pub static $constant: Kernel =
            Kernel { name: $name, reads: $reads, source: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".wgsl")) };)*
        /// All kernels.
        pub static KERNELS: &[&Kernel] = &[$(&$constant),*];
    };
}

kernels! {
    /// 3×3 convolution, bias, ReLU.
    CONV3X3 = "conv3x3", 3;
    /// Depthwise 3×3 convolution, ReLU on load.
    DEPTHWISE = "depthwise", 2;
    /// 1×1 convolution as a matrix product; bias, the block's other path and ReLU in its epilogue.
    POINTWISE = "pointwise", 4;
    /// Depthwise and pointwise in one, or pointwise alone, by tiles in workgroup memory.
    SEPCONV = "sepconv", 5;
    /// Mean over all pixels.
    MEAN = "mean", 1;
    /// Fully connected layer.
    DENSE = "dense", 3;
    /// Softmax over the logits and the most likely classes.
    SOFTMAX_TOPK = "softmax_topk", 1;
    /// Resampling of a photo along its rows.
    RESIZE_HORIZONTAL = "resize_horizontal", 2;
    /// Resampling along its columns, and normalisation.
    RESIZE_VERTICAL = "resize_vertical", 2;
    /// A copy, whose speed is that of memory.
    COPY = "copy", 1;
    /// Multiply-accumulates, whose speed is that of arithmetic.
    FMA = "fma", 1;
}

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
    /// Reads logits, those of an image whole `vec4`s behind the image before; writes for each image `top` indices and their
    /// `top` probabilities, then for each image all probabilities.
    SoftmaxTopk {
        /// The number of logits.
        classes: usize,
        /// How many classes are ranked.
        top: usize,
    },
}

/// Constants of a pipeline, by name.
pub type Constants = Vec<(&'static str, f64)>;

/// All that a pipeline is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The first pass that needs it.
    pub label: String,
    /// Its shader.
    pub kernel: &'static Kernel,
    /// How values are stored and computed with.
    pub precision: Precision,
    /// The shader's constants.
    pub constants: Constants,
}

impl Recipe {
    /// The shader's source.
    pub fn source(&self) -> Cow<'static, str> {
        self.kernel.source(self.precision)
    }
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
            Self::SoftmaxTopk { classes, top } => 2 * top + classes,
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
        let macs = match *self {
            Self::Conv { input, output, .. } => 9 * input.channels * output.len(),
            Self::Depthwise { shape, .. } => 9 * shape.len(),
            Self::Pointwise { input, output, .. } => input.channels * output.len(),
            Self::Sepconv { input, output, .. } => 9 * input.len() + input.channels * output.len(),
            Self::Dense { inputs, outputs, .. } => inputs * outputs,
            Self::Mean { .. } | Self::SoftmaxTopk { .. } => 0,
        };
        macs as u64
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
            Self::Mean { input } => vec![n("PIXELS", input.pixels()), n("CHANNELS", input.channels)],
            Self::Dense { inputs, first, outputs, all, relu_after } => vec![
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
    /// computes; `tests/shaders.rs` holds them against the source.
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
                [cover(output.channels, 8 * 4), cover(output.pixels() * images, 16 * 4), 1]
            }
            Self::Pointwise { output, tile: Some(tile), .. } | Self::Sepconv { output, tile, .. } => {
                [cover(output.channels, tile.channels()), cover(output.pixels() * images, tile.pixels()), 1]
            }
            Self::Mean { input } => [cover(input.channels, 4 * 64), images as u32, 1],
            Self::Dense { outputs, .. } => [1, cover(outputs, 16), images as u32],
            Self::SoftmaxTopk { .. } => [1, images as u32, 1],
        }
    }
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
        n("SPLIT", tile.split),
        n("ROWS", tile.rows),
        n("COLUMNS", tile.columns),
        n("STEP", tile.step(input.channels)),
        n("SHARED", tile.shared(input.channels)),
        n("SUMS", tile.sums()),
    ]
}
