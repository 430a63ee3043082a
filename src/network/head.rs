//! The layers behind a backbone.

use super::activation::Function;
use super::builder::Builder;
use super::layer::{Layer, Shape};
use crate::error::{Error, Result};

/// The most dense layers.
pub const MAX_DENSE: usize = 16;

/// The most units of a dense layer.
pub const MAX_UNITS: usize = 1 << 18;

/// A fully connected layer after the mean.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dense {
    /// The layer's name in the model it comes from, such as `predictions`.
    pub name: String,
    /// Outputs; the last layer's are the classes.
    pub units: usize,
    /// Whether a ReLU follows. The last layer gives logits, which softmax turns into probabilities.
    pub relu: bool,
}

/// The layers of a head by themselves, which read `features` as their image.
///
/// # Errors
/// [`Error::Weights`] if there are more than [`MAX_DENSE`], two with one name, or one with no or more than [`MAX_UNITS`] units.
pub fn layers(features: Shape, head: &[Dense]) -> Result<Vec<Layer>> {
    if let Some(dense) = head.iter().find(|dense| !(1..=MAX_UNITS).contains(&dense.units)) {
        return Err(Error::Weights(format!(
            "{} has {} units: 1 to {MAX_UNITS} are supported",
            dense.name, dense.units
        )));
    }
    if head.len() > MAX_DENSE {
        return Err(Error::Weights(format!("{} dense layers are more than the {MAX_DENSE} supported", head.len())));
    }
    if let Some(dense) = head.iter().find(|dense| head.iter().filter(|other| other.name == dense.name).count() > 1) {
        return Err(Error::Weights(format!("two dense layers have the name {}", dense.name)));
    }
    let mut builder = Builder::new(features);
    for dense in head {
        builder.dense(&dense.name, dense.units).activation_after = dense.relu.then_some(Function::Relu);
    }
    Ok(builder.layers)
}
