//! One layer of the network: its shapes, parameters and multiply-accumulates.

use std::fmt;

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
pub type Value = usize;

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
        /// How far the first window begins before the first row and the first column.
        before: [usize; 2],
    },
    /// Mean over all pixels.
    Mean,
    /// Fully connected layer with a bias.
    Dense,
}

/// One row of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Keras's name where it has one, such as `block3_sepconv1`; shortcuts are `block3_shortcut`.
    pub name: String,
    /// What it computes.
    pub operation: Operation,
    /// The activation it reads.
    pub from: Value,
    /// The activation that is added to its result, if any.
    pub add: Option<Value>,
    /// Whether negative inputs are taken as zero.
    pub relu_before: bool,
    /// Whether negative results become zero.
    pub relu_after: bool,
    /// Shape of what it reads.
    pub input: Shape,
    /// Shape of its result.
    pub output: Shape,
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

    /// The arrays the kernels read, batch norm folded: tensor name and shape, in file order.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (i, o) = (self.input.channels, self.output.channels);
        let name = |suffix: &str| format!("{}.{suffix}", self.name);
        match self.operation {
            Operation::Conv { .. } => vec![(name("weight"), vec![3, 3, i, o]), (name("bias"), vec![o])],
            Operation::SeparableConv => vec![
                (name("depthwise.weight"), vec![3, 3, i]),
                (name("pointwise.weight"), vec![i, o]),
                (name("pointwise.bias"), vec![o]),
            ],
            Operation::Shortcut | Operation::Dense => {
                vec![(name("weight"), vec![i, o]), (name("bias"), vec![o])]
            }
            Operation::MaxPool { .. } | Operation::Mean => vec![],
        }
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
