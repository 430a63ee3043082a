//! Heads that were learned here: safetensors with `predictions.weight`, `[classes][features]`, and `predictions.bias`, as PyTorch's linear layers have
//! them; or of neighbours `neighbours.features`, `[examples][features]`, and `neighbours.classes`, a number for each. What else a head needs is in
//! the entry [`ENTRY`] of the metadata.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};

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
    /// How many neighbours vote, where the head is examples and no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<usize>,
}

impl LearnedHead {
    /// A layer on the features of the backbone with this SHA-256.
    pub fn new(backbone: String, labels: Vec<String>, output: Output) -> Self {
        Self { version: 1, labels, output: output.to_string(), backbone, neighbours: None }
    }

    /// Refuses the features of another backbone.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn check(&self, backbone: &str) -> Result<()> {
        if self.backbone == backbone {
            return Ok(());
        }
        let message = "the head was learned on the features of another model: load that one, or learn it again on this";
        Err(Error::Argument(message.to_owned()))
    }

    /// The description in a file; none of another file.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is one of another version, or damaged.
    pub fn read(file: &[u8]) -> Result<Option<Self>> {
        let Ok((_, header)) = SafeTensors::read_metadata(file) else { return Ok(None) };
        let Some(text) = header.metadata().as_ref().and_then(|metadata| metadata.get(ENTRY)) else { return Ok(None) };
        let damaged =
            || Error::Weights("the description of the learned head is damaged, or of a later version".to_owned());
        let head: Self = serde_json::from_str(text).map_err(|_| damaged())?;
        if head.version == 1 { Ok(Some(head)) } else { Err(damaged()) }
    }

    /// The kind of its output.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is none of classes.
    pub fn output(&self) -> Result<Output> {
        match self.output.parse()? {
            output @ (Output::Softmax | Output::Sigmoid) => Ok(output),
            other => Err(Error::Weights(format!("{other} is no output of a learned head"))),
        }
    }

    /// The bytes of its file, with two tensors: name, shape, values.
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor has not the values of its shape.
    pub fn serialize(&self, tensors: [(&str, Vec<usize>, &[f32]); 2]) -> Result<Vec<u8>> {
        let refused = |error: safetensors::SafeTensorError| Error::Weights(error.to_string());
        let views = tensors.into_iter().map(|(name, shape, values)| {
            TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values)).map(|view| (name, view))
        });
        let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(refused)?;
        let text = serde_json::to_string(self).map_err(|error| Error::Weights(error.to_string()))?;
        serialize(views, Some(HashMap::from([(ENTRY.to_owned(), text)]))).map_err(refused)
    }
}
