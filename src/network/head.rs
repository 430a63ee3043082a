//! The layers behind a backbone, and the kind of their last values.

use super::activation::Function;
use super::builder::Builder;
use super::layer::{GlobalPool, Layer, Operation, Shape, Window};
use crate::error::{Error, Result};

/// The most layers of a head.
pub const MAX_LAYERS: usize = 64;

/// The most units of a dense layer.
pub const MAX_UNITS: usize = 1 << 18;

/// The most inputs of a dense layer: 16×16 pixels of 2048 channels.
pub const MAX_INPUTS: usize = 1 << 19;

/// A layer behind the backbone, which reads the one before it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HeadLayer {
    /// The layer's name in the model it comes from, such as `predictions`.
    pub name: String,
    /// Its operation: none of the backbone's.
    pub operation: Operation,
    /// The outputs of a dense layer; 0 for others.
    pub units: usize,
    /// The function applied to its result, if any.
    pub activation: Option<Function>,
}

impl HeadLayer {
    /// A layer without an activation function; not a dense one.
    pub fn new(name: impl Into<String>, operation: Operation) -> Self {
        Self { name: name.into(), operation, units: 0, activation: None }
    }

    /// A dense layer.
    pub fn dense(name: impl Into<String>, units: usize, activation: Option<Function>) -> Self {
        Self { units, activation, ..Self::new(name, Operation::Dense) }
    }

    /// The mean over all pixels.
    pub fn average() -> Self {
        Self::new("avg_pool", Operation::GlobalPool(GlobalPool::Average))
    }
}

/// The kind of a model's last values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Output {
    /// Logits of classes of which one is right: their softmax is the output.
    #[default]
    Softmax,
    /// Logits of classes that are right or wrong each by itself: their sigmoid is the output. A single one is that of the second of
    /// two classes.
    Sigmoid,
    /// Numbers.
    Linear,
    /// Features: the model has no head, or one that ends in no dense layer.
    #[cfg_attr(feature = "cli", value(skip))]
    Features,
}

crate::names! { Output { Softmax = "softmax", Sigmoid = "sigmoid", Linear = "linear", Features = "features" } }

impl Output {
    /// The number of classes of a model with this many outputs.
    pub const fn classes(self, outputs: usize) -> usize {
        match (self, outputs) {
            (Self::Sigmoid, 1) => 2,
            (Self::Softmax | Self::Sigmoid, outputs) => outputs,
            (Self::Linear | Self::Features, _) => 0,
        }
    }
}

/// The layers of a head by themselves, which read `features` as their image.
///
/// # Errors
/// [`Error::Weights`] if there are more than [`MAX_LAYERS`], two with one name, or one that cannot follow the one before it.
pub fn layers(features: Shape, head: &[HeadLayer]) -> Result<Vec<Layer>> {
    if head.len() > MAX_LAYERS {
        return Err(Error::Weights(format!(
            "{} layers behind the backbone are more than the {MAX_LAYERS} supported",
            head.len()
        )));
    }
    let mut builder = Builder::new(features);
    let mut is_vector = false;
    for (index, layer) in head.iter().enumerate() {
        let HeadLayer { name, operation, units, activation } = layer;
        let input = builder.shape(builder.last());
        let refuse = |why: &str| Err(Error::Weights(format!("{name} {why}")));
        if head[..index].iter().any(|other| other.name == *name) {
            return Err(Error::Weights(format!("two layers behind the backbone have the name {name}")));
        }
        match *operation {
            Operation::Dense if !is_vector => return refuse("is a dense layer before pooling or Flatten"),
            Operation::Dense if !(1..=MAX_UNITS).contains(units) => {
                return refuse(&format!("has {units} units: 1 to {MAX_UNITS} are supported"));
            }
            Operation::Dense if input.len() > MAX_INPUTS => {
                return refuse(&format!("has {} inputs: up to {MAX_INPUTS} are supported", input.len()));
            }
            operation if is_vector && (operation.makes_vector() || operation.pool_window().is_some()) => {
                return refuse("pools or flattens what has no pixels any more");
            }
            Operation::Resize(_) | Operation::Conv(_) | Operation::SeparableConv(_) | Operation::Concat => {
                return refuse("is a convolution, concatenates, or resizes, behind the backbone");
            }
            Operation::Activation if activation.is_none() => return refuse("has no activation function"),
            operation if operation.pool_window().is_some_and(|window| !fits(window, input)) => {
                return refuse(&format!("pools by a window that does not fit {input}"));
            }
            _ => {}
        }
        is_vector |= operation.makes_vector();
        builder.head_layer(name, *operation, *units).activation_after = *activation;
    }
    Ok(builder.layers)
}

/// Whether each window has a pixel of the input in it.
fn fits(Window { kernel, stride, padding }: Window, input: Shape) -> bool {
    let axis = |axis: usize, length: usize| {
        let ([before, after], kernel) = (padding[axis], kernel[axis]);
        let padded = length.saturating_add(before).saturating_add(after);
        (1..=padded).contains(&kernel) && before < kernel && after < kernel && stride[axis] > 0
    };
    axis(0, input.height) && axis(1, input.width)
}
