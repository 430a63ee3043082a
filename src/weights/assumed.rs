//! Assumptions: facts that a weights file does not tell.

use serde::{Deserialize, Serialize};

/// A fact that a weights file does not tell, with the assumed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumption {
    /// The subject, such as `input size`.
    pub name: String,
    /// The assumed value, such as `299×299`.
    pub value: String,
}

impl Assumption {
    /// The option that overrides it, by its name in JavaScript; none if only another file can.
    pub fn option(&self) -> Option<&'static str> {
        match &*self.name {
            INPUT_SIZE => Some("inputSize"),
            FILTER => Some("filter"),
            FIT => Some("fit"),
            LABELS => Some("labels"),
            PIXELS => Some("pixels"),
            FINAL_ACTIVATION => Some("activation"),
            _ => None,
        }
    }
}

/// [`Assumption::name`] of the network's input size.
pub const INPUT_SIZE: &str = "input size";
/// The range that pixels are scaled to.
pub const PIXELS: &str = "pixel values";
/// The resampling filter.
pub const FILTER: &str = "resize filter";
/// The treatment of other aspect ratios.
pub const FIT: &str = "fit";
/// The batch norms' ε.
pub const EPSILON: &str = "batch norm epsilon";
/// The ε of batch norms behind the backbone.
pub const HEAD_EPSILON: &str = "epsilon of the head's batch norms";
/// The pooling of the backbone's last activation.
pub const POOLING: &str = "pooling";
/// The order of dense layers, if their shapes allow several.
pub const ORDER: &str = "order of dense layers";
/// The activation behind each dense layer but the last.
pub const HIDDEN_ACTIVATION: &str = "activation between dense layers";
/// The activation behind the last dense layer.
pub const FINAL_ACTIVATION: &str = "final activation";
/// The model that is meant, if a file has several.
pub const WEIGHTS: &str = "weights";
/// The classes' names.
pub const LABELS: &str = "labels";

/// The assumptions about the head: another head has its own.
#[cfg(feature = "formats")]
pub(super) const OF_HEAD: [&str; 6] = [HEAD_EPSILON, POOLING, ORDER, HIDDEN_ACTIVATION, FINAL_ACTIVATION, LABELS];

/// The assumptions of those `(told, name, value)` that are not told.
#[cfg(feature = "formats")]
pub(super) fn untold<'a>(all: impl IntoIterator<Item = (bool, &'a str, String)>) -> Vec<Assumption> {
    let untold = all.into_iter().filter(|(told, ..)| !told);
    untold.map(|(_, name, value)| Assumption { name: name.to_owned(), value }).collect()
}
