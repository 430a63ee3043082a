//! Weights: the project's own files, and the readers of other programs' files that make them.
//!
//! Everything that runs reads one format: safetensors with batch norm folded, laid out as the kernels want it
//! ([`safetensors`]). Files of Keras and timm are converted to it first ([`keras`], [`timm`], feature `formats`).

pub mod safetensors;

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

use crate::error::{Error, Result};

/// What to do about a PyTorch file.
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
    /// [`Error::Format`] where it is none of them.
    pub fn detect(start: &[u8]) -> Result<Self> {
        if start.starts_with(b"\x89HDF\r\n\x1a\n") {
            Ok(Self::Hdf5)
        } else if start.starts_with(b"PK\x03\x04") {
            Ok(Self::Zip)
        } else if start.len() > 8 && start[8] == b'{' && start[4..8] == [0; 4] {
            Ok(Self::Safetensors)
        } else if start.starts_with(b"\x80\x02") {
            Err(Error::Format(format!("this is a Python pickle, which is not read because it can run code. {PYTORCH}")))
        } else if start.is_empty() {
            Err(Error::Format("the file is empty, not a weights file".to_owned()))
        } else {
            Err(Error::Format(
                "not a weights file: give a .keras, .weights.h5, .h5 or .safetensors file of an \
                 Xception"
                    .to_owned(),
            ))
        }
    }
}

/// What whoever opens a weights file knows better than the file.
#[cfg(feature = "formats")]
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overrides {
    /// A name for each class.
    pub labels: Option<Vec<String>>,
    /// The resampling filter.
    pub filter: Option<crate::resize::Filter>,
    /// What happens to photos of another aspect ratio.
    pub fit: Option<crate::resize::Fit>,
    /// Height and width of the network's input, in pixels, for files of weights alone.
    pub input_size: Option<[usize; 2]>,
}

/// Turns any supported weights file into the project's own format, with `overrides` where they are given.
///
/// # Errors
/// [`Error::Format`] for an unknown kind of file, [`Error::Weights`] for one that cannot be used, or has another number
/// of classes than there are labels.
#[cfg(feature = "formats")]
pub fn convert(file: Vec<u8>, overrides: Overrides) -> Result<Vec<u8>> {
    let Overrides { labels, filter, fit, input_size } = overrides;
    let changed = labels.is_some() || filter.is_some() || fit.is_some() || input_size.is_some();
    let mut model = match Format::detect(&file)? {
        Format::Safetensors => match safetensors::Header::parse(&file) {
            Ok(header) if !changed => {
                header.check(&file)?;
                return Ok(file);
            }
            Err(Error::Format(_)) => timm::read(&file)?,
            _ => safetensors::Model::deserialize(&file)?,
        },
        Format::Hdf5 => keras::read_h5(file)?,
        Format::Zip => keras::read_archive(file)?,
    };
    let meta = &mut model.meta;
    meta.labels = labels.unwrap_or_else(|| std::mem::take(&mut meta.labels));
    meta.preprocessing.filter = filter.unwrap_or(meta.preprocessing.filter);
    meta.preprocessing.fit = fit.unwrap_or(meta.preprocessing.fit);
    meta.input_size = input_size.unwrap_or(meta.input_size);
    model.serialize()
}
