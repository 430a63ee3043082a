//! The project's own weights file: safetensors, batch norm folded, laid out as the kernels read it.
//!
//! The file's `__metadata__` has one entry, [`FORMAT`], whose value is JSON: `version` ([`VERSION`]), `dtype` (a
//! [`Dtype`]), and `model`, which is [`Meta`]. Names and shapes of the tensors follow from the network ([`Network::tensors`]),
//! how they are stored from the dtype ([`Tensor::dtype`]). A tensor of 8 bits has its scales before it in the file, one
//! f32 for each output channel: `predictions.weight.scale` beside `predictions.weight`.
//!
//! The same model makes the same bytes, so that their hash can be published.

mod meta;

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::tensor::{TensorView, serialize};
use serde::Serialize;
use serde_json::Value;

pub use meta::{Meta, Source};
use meta::{field, named, numbers};

use super::quantize::quantize;
use super::stream_decoder::StreamDecoder;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::network::layer::Tensor;

/// The entry in `__metadata__` that identifies the format.
pub const FORMAT: &str = "xception-webgpu";

/// The version of the format.
pub const VERSION: u32 = 3;

/// The oldest version that is still read.
const OLDEST: u64 = 2;

/// The longest accepted header; a real one is about 16 KB plus the labels.
const MAX_HEADER: u64 = 16 << 20;

/// A whole model in memory: folded weights and metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network and its metadata.
    pub meta: Meta,
    /// The folded tensors, in the order of [`Network::tensors`].
    pub tensors: Vec<Vec<f32>>,
}

impl Model {
    /// Reads a whole file.
    ///
    /// # Errors
    /// As [`Header::parse`] and [`StreamDecoder::push`].
    pub fn deserialize(file: &[u8]) -> Result<Self> {
        let header = Header::parse(file)?;
        let mut tensors: Vec<Vec<f32>> = vec![Vec::new(); header.network.tensors().len()];
        let mut decoder = StreamDecoder::new(&header, Dtype::F32);
        decoder.push(&file[header.data_start..], |tensor, _, bytes| tensors[tensor] = Dtype::F32.decode(bytes))?;
        decoder.finish()?;
        Ok(Self { meta: header.meta, tensors })
    }

    /// Checks that the tensors are those of the network.
    ///
    /// # Errors
    /// As [`Meta::network`]; [`Error::Weights`] if a tensor has not its layer's shape.
    pub fn check(&self) -> Result<()> {
        for (tensor, values) in self.meta.network()?.tensors().iter().zip(&self.tensors) {
            if tensor.len() != values.len() {
                let (name, [height, width]) = (&tensor.name, self.meta.backbone_size());
                return Err(Error::Weights(format!(
                    "{name} has {} values, and needs {} for an input of {height}×{width}: the model is one of another input size",
                    values.len(),
                    tensor.len()
                )));
            }
        }
        Ok(())
    }

    /// The bytes of the model's safetensors file, weights stored as `dtype`.
    ///
    /// # Errors
    /// As [`Meta::network`]; [`Error::Weights`] if a tensor has not its layer's shape, [`Error::TooLarge`] if it is
    /// beyond f16's range.
    pub fn serialize(&self, dtype: Dtype) -> Result<Vec<u8>> {
        self.check()?;
        let tensors = self.meta.network()?.tensors();
        let mut data: Vec<Cow<[u8]>> = Vec::new();
        let mut scales = Vec::new();
        for (tensor, values) in tensors.iter().zip(&self.tensors) {
            data.push(match tensor.dtype(dtype) {
                Dtype::F32 => bytemuck::cast_slice(values).into(),
                Dtype::F16 => tensor.to_f16(values)?.into(),
                Dtype::I8 => {
                    let (bytes, scale) = quantize(tensor, values);
                    scales.push(Dtype::F32.encode(&scale).into());
                    bytes.into()
                }
            });
        }
        data.extend(scales);
        let entries = entries(&tensors, dtype);
        let views = entries.iter().zip(&data).map(|(entry, bytes)| {
            let view = TensorView::new(entry.dtype.into(), entry.shape.clone(), bytes);
            view.map(|view| (&entry.name, view)).map_err(|error| Error::Weights(format!("{}: {error}", entry.name)))
        });
        let description = Description { version: VERSION, dtype, model: self.meta.clone() };
        let description = serde_json::to_string(&description).map_err(|error| Error::Weights(error.to_string()))?;
        // Two entries would come in any order.
        let metadata = HashMap::from([(FORMAT.to_owned(), description)]);
        serialize(views.collect::<Result<Vec<_>>>()?, Some(metadata)).map_err(|error| Error::Weights(error.to_string()))
    }
}

/// The value of the entry in `__metadata__`.
#[derive(Serialize)]
struct Description {
    version: u32,
    dtype: Dtype,
    model: Meta,
}

/// An array of a file: a tensor of the network, or the scales of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its dtype.
    pub dtype: Dtype,
    /// The tensor, by its number in [`Network::tensors`].
    pub tensor: usize,
    /// Whether it is that tensor's scales.
    pub is_scale: bool,
    /// Begin and end in bytes from the header's `data_start`.
    pub range: (usize, usize),
}

/// The arrays of a file whose weights are stored as `dtype`: all tensors, then the scales.
fn entries(tensors: &[Tensor], dtype: Dtype) -> Vec<Entry> {
    let entry = |(number, tensor): (usize, &Tensor)| Entry {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        dtype: tensor.dtype(dtype),
        tensor: number,
        is_scale: false,
        range: (0, 0),
    };
    let scale = |entry: &Entry| Entry {
        name: format!("{}.scale", entry.name),
        shape: vec![tensors[entry.tensor].scales()],
        dtype: Dtype::F32,
        is_scale: true,
        ..entry.clone()
    };
    let mut entries: Vec<Entry> = tensors.iter().enumerate().map(entry).collect();
    let scales: Vec<Entry> = entries.iter().filter(|entry| entry.dtype == Dtype::I8).map(scale).collect();
    entries.extend(scales);
    entries
}

/// The checked header of a weights file: the model, and the place of each tensor.
#[derive(Clone, Debug)]
pub struct Header {
    /// The network and its metadata.
    pub meta: Meta,
    /// The network they belong to.
    pub network: Network,
    /// The offset of the tensors in bytes from the start of the file.
    pub data_start: usize,
    /// The length of the file in bytes.
    pub file_len: usize,
    /// The dtype of its weights.
    pub dtype: Dtype,
    /// Its arrays, in the order of the file.
    pub entries: Vec<Entry>,
}

impl Header {
    /// How many bytes the header takes, from the first 8 bytes of a file.
    ///
    /// # Errors
    /// [`Error::Weights`] if there are fewer than 8 bytes, or the length is absurd.
    pub fn len(start: &[u8]) -> Result<usize> {
        let length = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        match length {
            None => Err(Error::Weights("the file is cut short: it has no safetensors header".to_owned())),
            Some(2..=MAX_HEADER) => Ok(8 + length.unwrap_or_default() as usize),
            Some(length) => Err(Error::Weights(format!("its safetensors header claims a length of {length} bytes"))),
        }
    }

    /// Reads the head of a file, of which at least the header must be there.
    ///
    /// # Errors
    /// [`Error::Format`] if it is another program's safetensors file, [`Error::Weights`] if it is cut short,
    /// of another version, or a tensor is missing or has another shape than its layer.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let data_start = Self::len(file)?;
        let Some(json) = file.get(8..data_start) else {
            return Err(Error::Weights(format!(
                "the file is cut short: {} of the header's {data_start} bytes are there; fetch it again",
                file.len()
            )));
        };
        let header: Value = serde_json::from_slice(json).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::Weights(format!("its safetensors header is damaged (at {line}:{column}); fetch the file again"))
        })?;
        let Some(description) = header["__metadata__"][FORMAT].as_str() else {
            return Err(Error::Format(
                "this safetensors file was not made by this project: convert the original with `xception convert`"
                    .to_owned(),
            ));
        };
        let description: Value = serde_json::from_slice(description.as_bytes())
            .map_err(|_| Error::Weights("its description of the model is damaged: it is no JSON".to_owned()))?;
        let version = field(&description, "version", Value::as_u64)?;
        if !(OLDEST..=VERSION.into()).contains(&version) {
            let advice = if version < OLDEST { "convert the original again" } else { "update xception-webgpu" };
            return Err(Error::Weights(format!(
                "the file has format version {version}, and versions {OLDEST} to {VERSION} are read here: {advice}"
            )));
        }
        let dtype = field(&description, "dtype", named)?;
        let meta = Meta::read(&description["model"], version)?;
        let network = meta.network()?;
        let mut entries = entries(&network.tensors(), dtype);
        for Entry { name, shape, dtype, range, .. } in &mut entries {
            let info = &header[name.as_str()];
            if info.is_null() {
                return Err(Error::Weights(format!("the tensor {name} is missing")));
            }
            let expected = dtype.to_string().to_ascii_uppercase();
            let (found, sides) =
                (info["dtype"].as_str().unwrap_or_default(), numbers(&info["shape"]).unwrap_or_default());
            if found != expected || sides != *shape {
                return Err(Error::Weights(format!("{name} is {found} {sides:?} and must be {expected} {shape:?}")));
            }
            let bytes = shape.iter().product::<usize>() * dtype.size();
            *range = match numbers(&info["data_offsets"]).as_deref() {
                Some(&[begin, end]) if begin.checked_add(bytes) == Some(end) => (begin, end),
                _ => return Err(Error::Weights(format!("{name} does not lie where {bytes} bytes are"))),
            };
            if range.0 % 8 != 0 && (*dtype != Dtype::I8 || range.0 % 4 != 0) {
                return Err(Error::Weights(format!("{name} does not begin at a multiple of 8 bytes")));
            }
        }
        let end_of_scales = entries.iter().filter(|entry| entry.is_scale).map(|entry| entry.range.1).max();
        let early = |entry: &&Entry| entry.dtype == Dtype::I8 && Some(entry.range.0) < end_of_scales;
        if let Some(Entry { name, .. }) = entries.iter().find(early) {
            return Err(Error::Weights(format!("{name} lies before the scales")));
        }
        // One behind the other, and nothing else.
        let mut end = 0;
        for next in 0..entries.len() {
            let Some(found) = entries[next..].iter().position(|entry| entry.range.0 == end) else { break };
            entries.swap(next, next + found);
            end = entries[next].range.1;
        }
        let whole: usize = entries.iter().map(|entry| entry.range.1 - entry.range.0).sum();
        if end != whole || header.as_object().map_or(0, |object| object.len() - 1) != entries.len() {
            return Err(Error::Weights("its header does not tell of the whole file: fetch it again".to_owned()));
        }
        let file_len = data_start + whole;
        Ok(Self { meta, network, data_start, file_len, dtype, entries })
    }

    /// Checks the rest of a file that is in memory: it is whole, and all values are finite.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is not.
    pub fn check(&self, file: &[u8]) -> Result<()> {
        let mut decoder = StreamDecoder::new(self, Dtype::F32);
        decoder.push(&file[self.data_start..], |_, _, _| {})?;
        decoder.finish()
    }
}
