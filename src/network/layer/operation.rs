//! The operations of layers.

use super::Shape;

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
    /// Average pooling; padding counts as zeros.
    PaddedAveragePool(Window),
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
    /// The channels of several layers, one behind the other. Each of them writes its own ([`Layer::slice`](super::Layer::slice)).
    Concat,
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
            Self::MaxPool(window) | Self::AveragePool(window) | Self::PaddedAveragePool(window) => {
                windows(window, input.channels)
            }
            Self::GlobalPool(pool) => Shape::new(1, 1, input.channels * pool.parts().len()),
            Self::Flatten => Shape::new(1, 1, input.len()),
            Self::Dense => Shape::new(1, 1, channels),
            Self::ScaleShift | Self::Prelu { .. } | Self::Activation => input,
            Self::Concat => Shape { channels, ..input },
        }
    }

    /// The window of a pooling that has one.
    pub const fn pool_window(self) -> Option<Window> {
        match self {
            Self::MaxPool(window) | Self::AveragePool(window) | Self::PaddedAveragePool(window) => Some(window),
            _ => None,
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
