//! Classes and their probabilities.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::{Error, Result};
use crate::weights::safetensors::Meta;

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// The class's number, from 0.
    pub index: usize,
    /// Its name; `class 7` where the model has no labels.
    pub label: String,
    /// Its WordNet number, where it is a class of ImageNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wnid: Option<String>,
    /// Its probability, 0 to 1.
    pub score: f32,
}

/// The `top` most likely of some classes and their probabilities, in order; of equal ones the first.
///
/// # Errors
/// [`Error::BadOutput`] if a probability is not a number.
pub fn rank(meta: &Meta, classes: usize, scores: Vec<(usize, f32)>, top: usize) -> Result<Vec<Prediction>> {
    if scores.iter().any(|(index, score)| *index >= classes || !score.is_finite()) {
        return Err(Error::BadOutput);
    }
    let prediction = |(index, score)| Prediction {
        index,
        label: meta.label(index),
        wnid: meta.wnid(index).map(str::to_owned),
        score,
    };
    // A heap: sorting is 4 KB of the core's wasm. The bits of non-negative floats sort as the floats do.
    let heap: BinaryHeap<_> = scores.into_iter().map(|(index, score)| (score.to_bits(), Reverse(index))).collect();
    let best = heap.into_sorted_vec().into_iter().rev().take(top);
    Ok(best.map(|(bits, Reverse(index))| prediction((index, f32::from_bits(bits)))).collect())
}
