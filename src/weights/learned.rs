//! Heads that were learned here: safetensors with `predictions.weight`, `[classes][features]`, and `predictions.bias`, as PyTorch's linear layers have
//! them, and what else a head needs in the entry [`ENTRY`] of the metadata.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::safetensors::Meta;
use crate::error::{Error, Result};
use crate::network::Output;

/// The entry in `__metadata__`, whose value is JSON.
pub const ENTRY: &str = "xception-webgpu-head";

/// The description of a learned head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearnedHead {
    /// The version of this description: 1.
    pub version: u32,
    /// A name for each class.
    pub labels: Vec<String>,
    /// `softmax` or `sigmoid`.
    pub output: String,
    /// SHA-256 of the file with the backbone whose features were learned.
    pub backbone: String,
}

impl LearnedHead {
    /// A head on the features of a model.
    pub fn new(model: &Meta, labels: Vec<String>, output: Output) -> Self {
        Self { version: 1, labels, output: output.to_string(), backbone: model.source.sha256.clone() }
    }

    /// The description in a file; none of another file.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is one of another version, or damaged.
    pub(super) fn read(file: &[u8]) -> Result<Option<Self>> {
        let Ok((_, header)) = SafeTensors::read_metadata(file) else { return Ok(None) };
        let Some(text) = header.metadata().as_ref().and_then(|metadata| metadata.get(ENTRY)) else { return Ok(None) };
        let damaged =
            || Error::Weights("the description of the learned head is damaged, or of a later version".to_owned());
        let head: Self = serde_json::from_str(text).map_err(|_| damaged())?;
        if head.version == 1 { Ok(Some(head)) } else { Err(damaged()) }
    }

    /// The kind of its output.
    pub(super) fn output(&self) -> Result<Output> {
        match self.output.parse()? {
            output @ (Output::Softmax | Output::Sigmoid) => Ok(output),
            other => Err(Error::Weights(format!("{other} is no output of a learned head"))),
        }
    }

    /// The bytes of its file, with weights `[classes][features]` and biases `[classes]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are not as many as the labels.
    pub fn serialize(&self, weights: &[f32], biases: &[f32]) -> Result<Vec<u8>> {
        let classes = self.labels.len();
        if biases.len() != classes || !weights.len().is_multiple_of(classes.max(1)) {
            return Err(Error::Argument(format!("there are {classes} labels for {} outputs", biases.len())));
        }
        let shapes = [vec![classes, weights.len() / classes.max(1)], vec![classes]];
        let views = ["predictions.weight", "predictions.bias"].into_iter().zip(shapes).zip([weights, biases]);
        let views = views.map(|((name, shape), values)| {
            TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values)).map(|view| (name, view))
        });
        let refused = |error: safetensors::SafeTensorError| Error::Weights(error.to_string());
        let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(refused)?;
        let text = serde_json::to_string(self).map_err(|error| Error::Weights(error.to_string()))?;
        serialize(views, Some(HashMap::from([(ENTRY.to_owned(), text)]))).map_err(refused)
    }
}
