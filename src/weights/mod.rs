//! Weights: the project's own files, and the readers of other programs' files that make them.
//!
//! Everything that runs reads one format: safetensors with batch norm folded, laid out as the kernels want it
//! ([`safetensors`]), which a [`stream_decoder`] takes apart as it arrives. Files of Keras and PyTorch are converted to it first
//! ([`keras`], [`torch`], feature `formats`).

pub mod assumed;
mod quantize;
pub mod safetensors;
pub mod stream_decoder;

#[cfg(feature = "formats")]
mod fold;
#[cfg(feature = "formats")]
pub mod head;
#[cfg(feature = "formats")]
pub mod keras;
#[cfg(feature = "formats")]
pub mod labels;
#[cfg(any(feature = "formats", feature = "learn"))]
pub mod learned;
#[cfg(feature = "formats")]
mod overrides;
#[cfg(feature = "formats")]
pub mod torch;

#[cfg(feature = "formats")]
use assumed::{LABELS, OF_HEAD, untold};
#[cfg(feature = "formats")]
pub use overrides::Overrides;
#[cfg(feature = "formats")]
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
#[cfg(feature = "formats")]
use crate::limits::Limits;
#[cfg(feature = "formats")]
use crate::network::Network;

/// A kind of weights file, recognised by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.safetensors`.
    Safetensors,
    /// `.h5`, `.weights.h5`.
    Hdf5,
    /// `.keras`, or PyTorch's since 1.6.
    Zip,
    /// PyTorch's before 1.6, or another one of Python.
    Pickle,
    /// TensorFlow.js's `model.json`, with the files that it names behind it.
    Json,
}

impl Format {
    /// The kind of file that begins with `start` (16 bytes are enough).
    ///
    /// # Errors
    /// [`Error::Format`] if it is none of them.
    pub fn detect(start: &[u8]) -> Result<Self> {
        if start.starts_with(b"\x89HDF\r\n\x1a\n") {
            Ok(Self::Hdf5)
        } else if start.starts_with(b"PK\x03\x04") {
            Ok(Self::Zip)
        } else if start.len() > 8 && start[8] == b'{' && start[4..8] == [0; 4] {
            Ok(Self::Safetensors)
        } else if start.len() > 2 && start[0] == 0x80 && (1..=5).contains(&start[1]) {
            Ok(Self::Pickle)
        } else if start.first() == Some(&b'{') {
            Ok(Self::Json)
        } else {
            let what = match start.trim_ascii_start() {
                [] => "the file is empty, ",
                [b'<', ..] => "this is a web page, which servers send in place of a file they have not, ",
                start if start.starts_with(b"version http") => "this is a Git LFS pointer: fetch the file itself; ",
                _ => "",
            };
            Err(Error::Format(format!(
                "{what}not a weights file: give a .keras, .weights.h5, .h5, .safetensors or .pth file of an Xception"
            )))
        }
    }
}

/// Turns any supported weights file into the project's own format, with `overrides` where they are given. Facts that neither tells are in
/// [`Meta::assumed`](safetensors::Meta::assumed).
///
/// # Errors
/// [`Error::Format`] for an unknown kind of file, [`Error::Weights`] for one that cannot be used, [`Error::Argument`] for
/// labels, a size or a head that do not fit it, [`Error::TooLarge`] for weights beyond f16's range or the limits.
#[cfg(feature = "formats")]
pub fn convert(file: Vec<u8>, overrides: Overrides) -> Result<Vec<u8>> {
    overrides.limits.check_weights(file.len() as u64)?;
    let format = Format::detect(&file)?;
    let own = match format {
        Format::Safetensors => match safetensors::Header::parse(&file) {
            Err(Error::Format(_)) => None,
            header => Some(header?),
        },
        _ => None,
    };
    let dtype = own.as_ref().map(|header| header.dtype);
    if let Some(header) = own.filter(|header| overrides.is_idle(header.dtype)) {
        header.check(&file)?;
        return Ok(file);
    }
    let mut model = match dtype {
        Some(_) => safetensors::Model::deserialize(&file)?,
        None => original(file, format, overrides.input_size, &overrides.limits)?,
    };
    // A mismatch is the caller's mistake then.
    let given = overrides.can_mismatch();
    let wanted = overrides.dtype;
    if let Some(head) = &overrides.head {
        replace_head(&mut model, head, &overrides.limits)?;
    }
    overrides.apply(&mut model.meta)?;
    let by_caller = |error: Error| if given { Error::Argument(error.to_string()) } else { error };
    model.check().map_err(by_caller)?;
    model.serialize(wanted.or(dtype).unwrap_or_default())
}

/// Puts the layers of another file behind a model's backbone.
#[cfg(feature = "formats")]
fn replace_head(model: &mut safetensors::Model, file: &[u8], limits: &Limits) -> Result<()> {
    let meta = &mut model.meta;
    let of_head = |error: Error| match error {
        Error::TooLarge(_) => error,
        error => Error::Argument(format!("the head: {error}")),
    };
    limits.check_weights(file.len() as u64)?;
    let learned = learned::LearnedHead::read(file).map_err(of_head)?;
    if let Some(learned) = &learned {
        learned.check(&meta.source.sha256)?;
        if learned.neighbours.is_some() {
            let message =
                "the head is examples, of which the nearest vote, and no layer: give it to `withHead` in JavaScript";
            return Err(Error::Argument(message.to_owned()));
        }
    }
    let prefix = head::Prefix::of(meta)?;
    let head = if is_torch(file, Format::detect(file).map_err(of_head)?) {
        torch::read_head(file, &prefix, limits)
    } else {
        keras::read_head(file.to_vec(), prefix, limits)
    }
    .map_err(of_head)?;
    model.tensors.truncate(Network::backbone(meta.backbone_size(), meta.architecture)?.tensors().len());
    model.tensors.extend(head.tensors);
    (meta.head, meta.output, meta.is_logits) = (head.layers, head.output, head.is_logits);
    meta.labels = Vec::new();
    meta.source.kind += &format!(", with the head {}", sha256(file));
    meta.assumed.retain(|assumption| !OF_HEAD.contains(&&*assumption.name));
    meta.assumed.extend(head.assumed);
    if let Some(learned) = learned {
        (meta.output, meta.is_logits) = (learned.output().map_err(of_head)?, false);
        meta.labels = learned.labels;
        // The features are those of the model itself.
        meta.assumed.retain(|assumption| !OF_HEAD.contains(&&*assumption.name));
    }
    Ok(())
}

/// An array of a file: name, shape, and values or why there are none.
#[cfg(feature = "formats")]
type Listed = (String, Vec<usize>, Result<Vec<f32>>);

/// The arrays of another program's file as they are read, before they are matched with a network: for comparison with other readers.
///
/// # Errors
/// As [`convert`].
#[cfg(feature = "formats")]
#[doc(hidden)]
pub fn arrays(file: Vec<u8>) -> Result<Vec<Listed>> {
    if is_torch(&file, Format::detect(&file)?) { torch::arrays(&file) } else { keras::arrays(file) }
}

/// Whether a file that is not the project's own is PyTorch's.
#[cfg(feature = "formats")]
fn is_torch(file: &[u8], format: Format) -> bool {
    match format {
        Format::Safetensors | Format::Pickle => true,
        Format::Zip => torch::is_archive(file),
        Format::Hdf5 | Format::Json => false,
    }
}

/// Reads a foreign file, with its hash, and labels if it is a published one.
#[cfg(feature = "formats")]
fn original(file: Vec<u8>, format: Format, size: Option<[usize; 2]>, limits: &Limits) -> Result<safetensors::Model> {
    let sha256 = sha256(&file);
    let mut model =
        if is_torch(&file, format) { torch::read(&file, size, limits)? } else { keras::read(file, size, limits)? };
    model.meta.source.sha256 = sha256;
    model.meta.labels = labels::of_published(&model.meta.head);
    model.meta.assumed.extend(untold([(model.meta.labels.is_empty(), LABELS, "those of ImageNet".to_owned())]));
    Ok(model)
}

#[cfg(feature = "formats")]
fn sha256(file: &[u8]) -> String {
    Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key that sorts `conv2d`, `conv2d_2`, `conv2d_10` by number.
#[cfg(feature = "formats")]
fn counting(name: &str) -> Vec<(Option<u64>, &str)> {
    name.split(['_', '.']).map(|part| part.parse().map_or((None, part), |number| (Some(number), ""))).collect()
}
