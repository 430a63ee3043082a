//! Assumptions: facts that a weights file does not tell.

use serde::{Deserialize, Serialize};

/// Something that a weights file does not tell, and what is assumed instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assumption {
    /// The subject, such as `input size`.
    pub name: String,
    /// The assumed value, such as `299×299`.
    pub value: String,
}

impl Assumption {
    /// The option that says it, by its name in JavaScript; none where only another file can.
    pub fn option(&self) -> Option<&'static str> {
        match &*self.name {
            INPUT_SIZE => Some("inputSize"),
            FILTER => Some("filter"),
            FIT => Some("fit"),
            LABELS => Some("labels"),
            _ => None,
        }
    }
}

/// [`Assumption::name`] of the side lengths of the network's input.
pub const INPUT_SIZE: &str = "input size";
/// Of the range that pixels are brought to.
pub const PIXELS: &str = "pixel values";
/// Of the resampling filter.
pub const FILTER: &str = "resize filter";
/// Of what happens to photos of another aspect ratio.
pub const FIT: &str = "fit";
/// Of the batch norms' ε.
pub const EPSILON: &str = "batch norm epsilon";
/// Of how the backbone's last activation becomes features.
pub const POOLING: &str = "pooling";
/// Of the order of dense layers whose shapes allow several.
pub const ORDER: &str = "order of dense layers";
/// Of what follows each dense layer but the last.
pub const HIDDEN_ACTIVATION: &str = "activation between dense layers";
/// Of what follows the last dense layer.
pub const FINAL_ACTIVATION: &str = "final activation";
/// Of the classes' names.
pub const LABELS: &str = "labels";

/// The names that are about the head: another head has its own.
#[cfg(feature = "formats")]
pub(super) const OF_HEAD: [&str; 5] = [POOLING, ORDER, HIDDEN_ACTIVATION, FINAL_ACTIVATION, LABELS];

/// The assumptions about what is not told, of `(told, name, value)`.
#[cfg(feature = "formats")]
pub(super) fn untold<'a>(all: impl IntoIterator<Item = (bool, &'a str, String)>) -> Vec<Assumption> {
    let untold = all.into_iter().filter(|(told, ..)| !told);
    untold.map(|(_, name, value)| Assumption { name: name.to_owned(), value }).collect()
}
