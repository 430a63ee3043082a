//! One layer of the network: its shapes, parameters and multiply-accumulates.

use std::fmt;

use crate::dtype::{Dtype, MAX_F16};
use crate::error::{Error, Result};

/// Height × width × channels of an activation, stored row by row with the channels innermost (HWC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What a layer computes. Every convolution is followed by its batch norm, which is folded into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 3×3 convolution without padding ("valid").
    Conv {
        /// Pixels between neighbouring windows.
        stride: usize,
    },
    /// Depthwise 3×3 ("same") followed by pointwise 1×1, nothing in between.
    SeparableConv,
    /// 1×1 convolution with stride 2: the shortcut around a block that halves the resolution.
    Shortcut,
    /// 3×3 max pooling with stride 2 to half the size, rounded up; then the shortcut is added.
    MaxPool {
        /// Rows and columns of padding before the first.
        padding: [usize; 2],
    },
    /// Mean over all pixels.
    Mean,
    /// Fully connected layer with a bias.
    Dense,
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
    /// What follows the backbone.
    pub const HEAD: Self = Self { flow: "exit", block: "head" };
}

/// One row of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Keras's name where it has one, such as `block3_sepconv1`; shortcuts are `block3_shortcut`.
    pub name: String,
    /// Where it is.
    pub section: Section,
    /// What it computes.
    pub operation: Operation,
    /// The activation it reads.
    pub from: ValueId,
    /// The activation that is added to its result, if any.
    pub add: Option<ValueId>,
    /// Whether negative inputs are taken as zero.
    pub relu_before: bool,
    /// Whether negative results become zero.
    pub relu_after: bool,
    /// Shape of what it reads.
    pub input: Shape,
    /// Shape of its result.
    pub output: Shape,
}

/// What an array of weights is to its kernel, which decides how it may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One value for each output channel: always f32.
    Bias,
    /// 3×3 filters: too small to be worth 8 bits.
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
    /// What it is.
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
    /// [`Error::TooLarge`] where one is beyond f16's range.
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
    /// (HWIO for convolutions, `[3, 3, channels, 1]` for depthwise, `[in, out]` for dense).
    pub fn parameters(&self) -> Vec<Parameter> {
        let (i, o) = (self.input.channels, self.output.channels);
        let batch_norm = ["gamma", "beta", "moving_mean", "moving_variance"].map(|name| (name, vec![o]));
        let kernels: Vec<Parameter> = match self.operation {
            Operation::Conv { .. } => vec![("kernel", vec![3, 3, i, o])],
            Operation::SeparableConv => {
                vec![("depthwise_kernel", vec![3, 3, i, 1]), ("pointwise_kernel", vec![1, 1, i, o])]
            }
            Operation::Shortcut => vec![("kernel", vec![1, 1, i, o])],
            Operation::Dense => return vec![("kernel", vec![i, o]), ("bias", vec![o])],
            Operation::MaxPool { .. } | Operation::Mean => return vec![],
        };
        kernels.into_iter().chain(batch_norm).collect()
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
            Operation::Conv { .. } => {
                vec![tensor("weight", &[3, 3, i, o], Role::Filter), tensor("bias", &[o], Role::Bias)]
            }
            Operation::SeparableConv => vec![
                tensor("depthwise.weight", &[3, 3, i], Role::Filter),
                tensor("pointwise.weight", &[i, o], Role::Matrix(1)),
                tensor("pointwise.bias", &[o], Role::Bias),
            ],
            Operation::Shortcut => vec![tensor("weight", &[i, o], Role::Matrix(1)), tensor("bias", &[o], Role::Bias)],
            Operation::Dense => {
                let [i4, o4] = [i, o].map(|length| length.next_multiple_of(4));
                vec![tensor("weight", &[o, i4], Role::Matrix(0)), tensor("bias", &[o4], Role::Bias)]
            }
            Operation::MaxPool { .. } | Operation::Mean => vec![],
        }
    }

    /// Whether its activations can be read: not those of a shortcut, which is computed with the pooling it is added to.
    pub fn is_readable(&self) -> bool {
        self.operation != Operation::Shortcut
    }

    /// Multiply-accumulates for one image; pooling, means and additions count as none.
    pub fn macs(&self) -> u64 {
        let [i, o, pixels] = [self.input.channels, self.output.channels, self.output.pixels()].map(|n| n as u64);
        match self.operation {
            Operation::Conv { .. } => 9 * i * o * pixels,
            Operation::SeparableConv => (9 * i + i * o) * pixels,
            Operation::Shortcut | Operation::Dense => i * o * pixels,
            Operation::MaxPool { .. } | Operation::Mean => 0,
        }
    }
}
