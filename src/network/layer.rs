//! One layer of the network: its shapes, parameters and multiply-accumulates.

mod operation;
mod tensor;

use std::fmt;

pub use operation::{GlobalPool, Operation, Part, Resize, Window};
pub use tensor::{Role, Tensor};

use super::activation::Function;

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

/// The part of a network that a layer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// A third of the network: `entry`, `middle` or `exit`.
    pub flow: &'static str,
    /// A block, such as `block5`; `head` behind the last one.
    pub block: &'static str,
}

impl Section {
    /// The layers in front of the backbone.
    pub const FRONT: Self = Self { flow: "entry", block: "front" };

    /// The layers behind the backbone.
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
    /// Whether a batch norm multiplies by a trained gamma.
    pub has_gamma: bool,
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
    /// The first channel of its result in that of the next [`Operation::Concat`], if it is a part of one.
    pub slice: Option<usize>,
    /// Shape of what it reads.
    pub input: Shape,
    /// Shape of its result.
    pub output: Shape,
}

/// The arrays of a batch norm: gamma, beta, mean and variance.
pub const NORM: [&str; 4] = ["gamma", "beta", "moving_mean", "moving_variance"];

/// Those of the batch norm behind a depthwise half.
pub const DEPTHWISE_NORM: [&str; 4] =
    ["depthwise_gamma", "depthwise_beta", "depthwise_moving_mean", "depthwise_moving_variance"];

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
            parameters.extend(DEPTHWISE_NORM.map(|name| (name, vec![i])));
        }
        if self.batch_norm {
            parameters.extend(NORM[usize::from(!self.has_gamma)..].iter().map(|&name| (name, vec![o])));
        }
        parameters
    }

    /// The arrays the kernels read, batch norm folded, in file order.
    pub fn tensors(&self) -> Vec<Tensor> {
        let (i, o) = (self.input.channels, self.output.channels);
        let tensor = |suffix, shape: &[usize], role| self.tensor(suffix, shape, role);
        match self.operation {
            Operation::Conv(Window { kernel: [1, 1], .. }) => {
                vec![tensor("weight", &[i, o], Role::Matrix(1)), tensor("bias", &[o], Role::Bias)]
            }
            Operation::Conv(Window { kernel: [h, w], .. }) => {
                vec![tensor("weight", &[h, w, i, o], Role::of_filters(i)), tensor("bias", &[o], Role::Bias)]
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

    // Once in the CPU's modules, which are optimized for speed.
    #[inline(never)]
    fn tensor(&self, suffix: &str, shape: &[usize], role: Role) -> Tensor {
        Tensor { name: [&self.name, ".", suffix].concat(), shape: shape.to_vec(), role }
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

    /// Whether it is a separable convolution that one pass can compute.
    pub fn can_be_fused(&self) -> bool {
        self.is_separable() && !self.has_depthwise_bias()
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
