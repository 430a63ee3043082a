//! Weights: the project's own files, and the readers of other programs' files that make them.
//!
//! Everything that runs reads one format: safetensors with batch norm folded, laid out as the kernels want it
//! ([`safetensors`]), which a [`stream_decoder`] takes apart as it arrives. Files of Keras and timm are converted to it first
//! ([`keras`], [`timm`], feature `formats`).

pub mod assumed;
mod quantize;
pub mod safetensors;
pub mod stream_decoder;

#[cfg(feature = "formats")]
mod config;
#[cfg(feature = "formats")]
mod fold;
#[cfg(feature = "formats")]
pub mod keras;
#[cfg(feature = "formats")]
pub mod labels;
#[cfg(feature = "formats")]
mod layers;
#[cfg(feature = "formats")]
pub mod timm;

#[cfg(feature = "formats")]
use assumed::{Assumption, LABELS, OF_HEAD, POOLING, untold};
#[cfg(feature = "formats")]
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
#[cfg(feature = "formats")]
use crate::network::Network;

/// Advice for a PyTorch file.
const PYTORCH: &str =
    "From PyTorch save safetensors: `safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")`";

/// A kind of weights file, recognised by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.safetensors`.
    Safetensors,
    /// `.h5`, `.weights.h5`.
    Hdf5,
    /// `.keras`.
    Zip,
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
        } else if start.starts_with(b"\x80\x02") {
            Err(Error::Format(format!("this is a Python pickle, which is not read because it can run code. {PYTORCH}")))
        } else {
            let what = match start.trim_ascii_start() {
                [] => "the file is empty, ",
                [b'<', ..] => "this is a web page, which servers send in place of a file they have not, ",
                start if start.starts_with(b"version http") => "this is a Git LFS pointer: fetch the file itself; ",
                _ => "",
            };
            Err(Error::Format(format!(
                "{what}not a weights file: give a .keras, .weights.h5, .h5 or .safetensors file of an Xception"
            )))
        }
    }
}

/// Caller overrides of what a weights file says.
#[cfg(feature = "formats")]
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overrides {
    /// A name for each class, or none at all; a WordNet number may stand in front: `n02123045 tabby`.
    pub labels: Option<Vec<String>>,
    /// The resampling filter.
    pub filter: Option<crate::resize::Filter>,
    /// The treatment of photos of another aspect ratio.
    pub fit: Option<crate::resize::Fit>,
    /// Height and width of the network's input, in pixels, for files of weights alone.
    pub input_size: Option<[usize; 2]>,
    /// How weights are stored: by default as they are in the project's own files, as f32 from all others.
    pub dtype: Option<crate::dtype::Dtype>,
    /// The licence of the weights.
    pub license: Option<String>,
    /// Another file whose dense layers are the head, such as that of a "notop" model.
    #[serde(skip)]
    pub head: Option<Vec<u8>>,
}

#[cfg(feature = "formats")]
impl Overrides {
    /// Whether there is anything to change in a file whose weights are stored as `dtype`.
    pub fn is_idle(&self, dtype: crate::dtype::Dtype) -> bool {
        let Self { labels, filter, fit, input_size, dtype: wanted, license, head } = self;
        let meta = labels.is_some() || filter.is_some() || fit.is_some() || input_size.is_some() || license.is_some();
        !meta && head.is_none() && wanted.is_none_or(|wanted| wanted == dtype)
    }
}

/// Turns any supported weights file into the project's own format, with `overrides` where they are given. Facts that neither tells are in
/// [`Meta::assumed`](safetensors::Meta::assumed).
///
/// # Errors
/// [`Error::Format`] for an unknown kind of file, [`Error::Weights`] for one that cannot be used, [`Error::Argument`] for
/// labels, a size or a head that do not fit it, [`Error::TooLarge`] for weights beyond f16's range.
#[cfg(feature = "formats")]
pub fn convert(file: Vec<u8>, overrides: Overrides) -> Result<Vec<u8>> {
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
        None => original(file, format)?,
    };
    let Overrides { labels, filter, fit, input_size, license, head, .. } = overrides;
    // A mismatch is the caller's mistake then.
    let given = labels.is_some() || input_size.is_some() || head.is_some();
    let meta = &mut model.meta;
    if let Some(head) = head {
        let of_head = |error: Error| Error::Argument(format!("the head: {error}"));
        meta.source.kind += &format!(", with the head {}", sha256(&head));
        let head = match Format::detect(&head).map_err(of_head)? {
            Format::Safetensors => timm::read_head(&head),
            _ => keras::read_head(head),
        }
        .map_err(of_head)?;
        model.tensors.truncate(Network::backbone(meta.input_size, meta.preset)?.tensors().len());
        model.tensors.extend(head.tensors);
        (meta.head, meta.labels) = (head.dense, Vec::new());
        // Either file may tell the pooling between the two.
        let is_pooled = meta.assumed.iter().all(|assumption| assumption.name != POOLING);
        meta.assumed.retain(|assumption| !OF_HEAD.contains(&&*assumption.name));
        meta.assumed.extend(head.assumed.into_iter().filter(|assumption| !is_pooled || assumption.name != POOLING));
    }
    let answers = [
        ("labels", labels.is_some()),
        ("filter", filter.is_some()),
        ("fit", fit.is_some()),
        ("inputSize", input_size.is_some()),
    ];
    let is_answered =
        |assumption: &Assumption| assumption.option().is_some_and(|option| answers.contains(&(option, true)));
    meta.assumed.retain(|assumption| !is_answered(assumption));
    meta.labels = labels.unwrap_or_else(|| std::mem::take(&mut meta.labels));
    meta.preprocessing.filter = filter.unwrap_or(meta.preprocessing.filter);
    meta.preprocessing.fit = fit.unwrap_or(meta.preprocessing.fit);
    meta.input_size = input_size.unwrap_or(meta.input_size);
    meta.source.license = license.unwrap_or_else(|| std::mem::take(&mut meta.source.license));
    let fits = meta.network().map(drop);
    fits.map_err(|error| if given { Error::Argument(error.to_string()) } else { error })?;
    model.serialize(overrides.dtype.or(dtype).unwrap_or_default())
}

/// Reads a foreign file, with its hash, and labels if it is a published one.
#[cfg(feature = "formats")]
fn original(file: Vec<u8>, format: Format) -> Result<safetensors::Model> {
    let sha256 = sha256(&file);
    let mut model = if format == Format::Safetensors { timm::read(&file)? } else { keras::read(file)? };
    model.meta.source.sha256 = sha256;
    model.meta.labels = labels::of_published(&model.meta.head);
    model.meta.assumed.extend(untold([(model.meta.labels.is_empty(), LABELS, "those of ImageNet".to_owned())]));
    Ok(model)
}

#[cfg(feature = "formats")]
fn sha256(file: &[u8]) -> String {
    Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect()
}
