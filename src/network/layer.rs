//! One layer of the network: its shapes, parameters and multiply-accumulates.

use std::fmt;

use super::activation::Function;
use crate::dtype::{Dtype, MAX_F16};
use crate::error::{Error, Result};

/// Height × width × channels of an activation, stored row by row with the channels innermost (HWC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Shape {
    /// A shape of `height` × `width` × `channels`.
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// The number of pixels: height × width.
    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The number of values: height × width × channels.
    pub const fn len(&self) -> usize {
        self.pixels() * self.channels
    }

    /// The number of values in a buffer: channels are padded to whole `vec4`s, which matters for RGB alone.
    pub const fn stored(&self) -> usize {
        self.pixels() * self.channels.next_multiple_of(4)
    }

    /// Whether the shape holds no value at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.height, self.width) {
            (1, 1) => self.channels.to_string(),
            (height, width) => format!("{height}×{width}×{}", self.channels),
        };
        f.pad(&text)
    }
}

/// Which earlier activation a layer reads: 0 is the normalised image, `n` the output of layer `n − 1`.
pub type ValueId = usize;

/// A window that slides over rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Window {
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns between neighbouring windows.
    pub stride: [usize; 2],
    /// Padding before the first and behind the last row, and so for columns.
    pub padding: [[usize; 2]; 2],
}

impl Window {
    /// A square window without padding ("valid").
    pub const fn valid(side: usize, stride: usize) -> Self {
        Self { kernel: [side; 2], stride: [stride; 2], padding: [[0; 2]; 2] }
    }

    /// A square window with as much padding on each side.
    pub const fn padded(side: usize, stride: usize, padding: usize) -> Self {
        Self { padding: [[padding; 2]; 2], ..Self::valid(side, stride) }
    }

    /// A square window padded as Keras does for "same": ⌈length / stride⌉ windows, an odd pixel of padding behind.
    pub fn same(side: usize, stride: usize, shape: Shape) -> Self {
        Self::of([side; 2], [stride; 2], true, shape)
    }

    /// A window without padding, or padded as Keras does for "same".
    pub fn of(kernel: [usize; 2], stride: [usize; 2], is_same: bool, Shape { height, width, .. }: Shape) -> Self {
        let padding = |axis: usize, length: usize| {
            let stride = stride[axis].max(1);
            let total = ((length.div_ceil(stride) - 1) * stride).saturating_add(kernel[axis]);
            let padding = if is_same { total.saturating_sub(length) } else { 0 };
            [padding / 2, padding.div_ceil(2)]
        };
        Self { kernel, stride, padding: [padding(0, height), padding(1, width)] }
    }

    /// The number of windows along rows and columns.
    pub fn count(&self, Shape { height, width, .. }: Shape) -> [usize; 2] {
        let along = |axis: usize, length: usize| {
            let [before, after] = self.padding[axis];
            let places = length.saturating_add(before).saturating_add(after).saturating_sub(self.kernel[axis]);
            places / self.stride[axis].max(1) + 1
        };
        [along(0, height), along(1, width)]
    }

    /// The number of pixels in a window.
    pub const fn pixels(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// Resizing of images in front of a backbone, as TensorFlow does it: half-pixel centres, no antialiasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Resize {
    /// Height and width of the result.
    pub size: [usize; 2],
    /// The part of the image that is kept.
    pub part: Part,
    /// Whether a pixel is the nearest one, or else between the two nearest along each axis.
    pub is_nearest: bool,
}

/// The part of an image that [`Resize`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All of it; its aspect ratio is not kept.
    Whole,
    /// The largest centre of the result's aspect ratio.
    Aspect,
    /// The centre of the result's size, whose pixels stay as they are; [`Self::Aspect`] of an image that is smaller.
    Centre,
}

crate::names! { Part { Whole = "whole", Aspect = "aspect", Centre = "centre" } }

/// The operation of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Resizing.
    Resize(Resize),
    /// Convolution.
    Conv(Window),
    /// Depthwise convolution followed by a pointwise one, nothing in between.
    SeparableConv(Window),
    /// Max pooling; padding counts as −∞.
    MaxPool(Window),
    /// Average pooling; padding does not count.
    AveragePool(Window),
    /// Pooling over all pixels.
    GlobalPool(GlobalPool),
    /// All values as a vector, row by row with the channels innermost.
    Flatten,
    /// Fully connected layer with a bias.
    Dense,
    /// `x · scale + shift` for each channel: a batch norm that is not folded into another layer.
    ScaleShift,
    /// x, or slope·x where x < 0 (PReLU).
    Prelu {
        /// Whether pixels share the slope of a channel.
        is_shared: bool,
    },
    /// Nothing but the layer's activation function.
    Activation,
}

impl Operation {
    /// The shape of its result; `channels` are a convolution's or a dense layer's own.
    pub fn output(self, input: Shape, channels: usize) -> Shape {
        let windows = |window: Window, channels| {
            let [height, width] = window.count(input);
            Shape::new(height, width, channels)
        };
        match self {
            Self::Resize(Resize { size: [height, width], .. }) => Shape::new(height, width, input.channels),
            Self::Conv(window) | Self::SeparableConv(window) => windows(window, channels),
            Self::MaxPool(window) | Self::AveragePool(window) => windows(window, input.channels),
            Self::GlobalPool(pool) => Shape::new(1, 1, input.channels * pool.parts().len()),
            Self::Flatten => Shape::new(1, 1, input.len()),
            Self::Dense => Shape::new(1, 1, channels),
            Self::ScaleShift | Self::Prelu { .. } | Self::Activation => input,
        }
    }

    /// Whether its result is a vector, and its input an activation of pixels.
    pub fn makes_vector(self) -> bool {
        matches!(self, Self::GlobalPool(_) | Self::Flatten)
    }
}

/// Pooling over all pixels; of several ones the results lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GlobalPool {
    /// The mean.
    Average,
    /// The maximum.
    Max,
    /// The mean, then the maximum.
    AverageMax,
    /// The maximum, then the mean.
    MaxAverage,
}

crate::names! { GlobalPool { Average = "average", Max = "max", AverageMax = "average_max", MaxAverage = "max_average" } }

impl GlobalPool {
    /// Whether each part is a mean (or else a maximum), in order.
    pub const fn parts(self) -> &'static [bool] {
        match self {
            Self::Average => &[true],
            Self::Max => &[false],
            Self::AverageMax => &[true, false],
            Self::MaxAverage => &[false, true],
        }
    }
}

/// The part of a network that a layer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// A third of the network: `entry`, `middle` or `exit`.
    pub flow: &'static str,
    /// A block, such as `block5`; `head` behind the last one.
    pub block: &'static str,
}

impl Section {
    /// What is in front of the backbone.
    pub const FRONT: Self = Self { flow: "entry", block: "front" };

    /// What follows the backbone.
    pub const HEAD: Self = Self { flow: "exit", block: "head" };
}

/// One row of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Keras's name where it has one, such as `block3_sepconv1`; shortcuts are `block3_shortcut`.
    pub name: String,
    /// The flow and block it belongs to.
    pub section: Section,
    /// Its operation.
    pub operation: Operation,
    /// Whether batch norm follows, which is folded into the weights.
    pub batch_norm: bool,
    /// Whether that follows the sum with what is added.
    pub norm_of_sum: bool,
    /// Whether batch norm follows the depthwise half of a separable convolution too.
    pub depthwise_norm: bool,
    /// The activation it reads.
    pub from: ValueId,
    /// The activation that is added to its result, if any.
    pub add: Option<ValueId>,
    /// The function applied to its input, if any.
    pub activation_before: Option<Function>,
    /// The function applied between the halves of a separable convolution, if any.
    pub activation_between: Option<Function>,
    /// The function applied to its result, with what is added to it, if any.
    pub activation_after: Option<Function>,
    /// Shape of what it reads.
    pub input: Shape,
    /// Shape of its result.
    pub output: Shape,
}

/// The role of an array of weights in its kernel, which decides how it may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One value for each output channel: always f32.
    Bias,
    /// Filters of convolutions over windows: too small to be worth 8 bits.
    Filter,
    /// A product over channels, whose output channels lie along this axis.
    Matrix(usize),
}

/// An array that the kernels read, batch norm folded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `layer.weight`, `layer.bias`, or with `depthwise`/`pointwise` between.
    pub name: String,
    /// Its shape, outermost dimension first. Rows are whole `vec4`s: those of dense layers are padded with zeros.
    pub shape: Vec<usize>,
    /// Its role.
    pub role: Role,
}

impl Tensor {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How it is stored where weights are stored as `dtype`.
    pub fn dtype(&self, dtype: Dtype) -> Dtype {
        match (self.role, dtype) {
            (Role::Bias, _) => Dtype::F32,
            (Role::Filter, Dtype::I8) => Dtype::F16,
            _ => dtype,
        }
    }

    /// The output channel that a value belongs to.
    pub fn channel(&self, index: usize) -> usize {
        let row = self.shape.last().copied().unwrap_or(1);
        if self.role == Role::Matrix(0) { index / row } else { index % row }
    }

    /// The number of scales it has where it is stored as i8: its output channels, padded to whole `vec4`s.
    pub fn scales(&self) -> usize {
        let channels = if self.role == Role::Matrix(0) { self.shape.first() } else { self.shape.last() };
        channels.map_or(0, |channels| channels.next_multiple_of(4))
    }

    /// Values as f16.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if one is beyond f16's range.
    pub fn to_f16(&self, values: &[f32]) -> Result<Vec<u8>> {
        match values.iter().find(|value| value.abs() > MAX_F16) {
            None => Ok(Dtype::F16.encode(values)),
            // Without the value: printing floats is 5 % of the core's wasm.
            Some(_) => Err(Error::TooLarge(format!(
                "{} holds a value beyond f16, which ends at {}: use the dtype f32 for this model",
                self.name, MAX_F16 as u32
            ))),
        }
    }

    /// Its length in bytes where weights are stored as `dtype`.
    pub fn bytes(&self, dtype: Dtype) -> usize {
        self.len() * self.dtype(dtype).size()
    }
}

/// A parameter array as training frameworks keep it: its name in the layer, and its shape.
pub type Parameter = (&'static str, Vec<usize>);

impl Layer {
    /// The arrays a trained model holds for this layer, batch norm included, in Keras's layouts
    /// (HWIO for convolutions, `[height, width, channels, 1]` for depthwise, `[in, out]` for dense).
    pub fn parameters(&self) -> Vec<Parameter> {
        let (i, o) = (self.input.channels, self.output.channels);
        let mut parameters: Vec<Parameter> = match self.operation {
            Operation::Conv(Window { kernel: [h, w], .. }) => vec![("kernel", vec![h, w, i, o])],
            Operation::SeparableConv(Window { kernel: [h, w], .. }) => {
                vec![("depthwise_kernel", vec![h, w, i, 1]), ("pointwise_kernel", vec![1, 1, i, o])]
            }
            Operation::Dense => vec![("kernel", vec![i, o]), ("bias", vec![o])],
            Operation::ScaleShift => vec![("scale", vec![o]), ("shift", vec![o])],
            Operation::Prelu { is_shared } => vec![("slope", vec![self.slopes(is_shared)])],
            _ => vec![],
        };
        if self.depthwise_norm {
            const NAMES: [&str; 4] =
                ["depthwise_gamma", "depthwise_beta", "depthwise_moving_mean", "depthwise_moving_variance"];
            parameters.extend(NAMES.map(|name| (name, vec![i])));
        }
        if self.batch_norm {
            parameters.extend(["gamma", "beta", "moving_mean", "moving_variance"].map(|name| (name, vec![o])));
        }
        parameters
    }

    /// The arrays the kernels read, batch norm folded, in file order.
    pub fn tensors(&self) -> Vec<Tensor> {
        let (i, o) = (self.input.channels, self.output.channels);
        let tensor = |suffix: &str, shape: &[usize], role| Tensor {
            name: format!("{}.{suffix}", self.name),
            shape: shape.to_vec(),
            role,
        };
        match self.operation {
            Operation::Conv(Window { kernel: [1, 1], .. }) => {
                vec![tensor("weight", &[i, o], Role::Matrix(1)), tensor("bias", &[o], Role::Bias)]
            }
            Operation::Conv(Window { kernel: [h, w], .. }) => {
                vec![tensor("weight", &[h, w, i, o], Role::Filter), tensor("bias", &[o], Role::Bias)]
            }
            Operation::SeparableConv(Window { kernel: [h, w], .. }) => {
                let mut tensors = vec![tensor("depthwise.weight", &[h, w, i], Role::Filter)];
                if self.has_depthwise_bias() {
                    tensors.push(tensor("depthwise.bias", &[i], Role::Bias));
                }
                tensors.push(tensor("pointwise.weight", &[i, o], Role::Matrix(1)));
                // Behind the bias the factors of what is added.
                let shape = if self.norm_of_sum { &[2, o][..] } else { &[o] };
                tensors.push(tensor("pointwise.bias", shape, Role::Bias));
                tensors
            }
            Operation::Dense => {
                let [i4, o4] = [i, o].map(|length| length.next_multiple_of(4));
                vec![tensor("weight", &[o, i4], Role::Matrix(0)), tensor("bias", &[o4], Role::Bias)]
            }
            Operation::ScaleShift => {
                let o4 = o.next_multiple_of(4);
                vec![tensor("scale", &[o4], Role::Bias), tensor("shift", &[o4], Role::Bias)]
            }
            Operation::Prelu { is_shared } => {
                vec![tensor("slope", &[self.slopes(is_shared).next_multiple_of(4)], Role::Bias)]
            }
            _ => vec![],
        }
    }

    /// The number of slopes of a PReLU.
    fn slopes(&self, is_shared: bool) -> usize {
        if is_shared { self.output.channels } else { self.output.len() }
    }

    /// Whether it is a 1×1 convolution.
    pub fn is_pointwise(&self) -> bool {
        matches!(self.operation, Operation::Conv(Window { kernel: [1, 1], .. }))
    }

    /// Whether it is a separable convolution.
    pub fn is_separable(&self) -> bool {
        matches!(self.operation, Operation::SeparableConv(_))
    }

    /// Whether the depthwise half of a separable convolution is more than a sum of products: it has a stride, or an activation function
    /// behind it.
    pub fn has_depthwise_bias(&self) -> bool {
        match self.operation {
            Operation::SeparableConv(window) => window.stride != [1, 1] || self.activation_between.is_some(),
            _ => false,
        }
    }

    /// Whether it is a pooling layer that an earlier activation is added to.
    pub fn is_joining_pool(&self) -> bool {
        matches!(self.operation, Operation::MaxPool(_)) && self.add.is_some()
    }

    /// Multiply-accumulates for one image; pooling, means and additions count as none.
    pub fn macs(&self) -> u64 {
        let [i, o, pixels] = [self.input.channels, self.output.channels, self.output.pixels()].map(|n| n as u64);
        match self.operation {
            Operation::Conv(window) => window.pixels() as u64 * i * o * pixels,
            Operation::SeparableConv(window) => (window.pixels() as u64 * i + i * o) * pixels,
            Operation::Dense => i * o * pixels,
            _ => 0,
        }
    }
}
