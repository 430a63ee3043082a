//! The shaders as data: WGSL source, how it stores values, and what pipelines are made of. Nothing here needs a GPU.
//!
//! Every kernel reads and writes storage buffers (a resize of a photo a texture) bound in the order its operation lists
//! them, the result last. Sizes reach the shader as pipeline-overridable constants without defaults, so that a
//! forgotten one fails when the pipeline is made.

use std::borrow::Cow;

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
        [&RESIZE_HORIZONTAL, &RESIZE_BILINEAR].contains(&self)
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
    /// Fully connected layer backwards.
    DENSE_TRANSPOSED = "dense_transposed", 3;
    /// What each pixel contributes to a class.
    CLASS_MAP = "class_map", 2;
    /// Softmax over the logits and the most likely classes.
    SOFTMAX_TOPK = "softmax_topk", 1;
    /// Resampling of a photo along its rows.
    RESIZE_HORIZONTAL = "resize_horizontal", 2;
    /// Resampling along its columns, and normalisation.
    RESIZE_VERTICAL = "resize_vertical", 2;
    /// Resizing of a photo as TensorFlow does it, and normalisation.
    RESIZE_BILINEAR = "resize_bilinear", 3;
    /// A copy, whose speed is that of memory.
    COPY = "copy", 1;
    /// Multiply-accumulates, whose speed is that of arithmetic.
    FMA = "fma", 1;
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
