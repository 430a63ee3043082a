//! The project's own weights file: safetensors, f32, batch norm folded, laid out as the kernels read it.
//!
//! The file's `__metadata__` has `format` ([`FORMAT`]), `format_version` ([`VERSION`]) and `model`, the JSON of
//! [`Meta`]. The tensors' names and shapes follow from the network ([`Network::tensors`]).

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorView, serialize};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::{Dense, Network, Preset};
use crate::resize::Preprocessing;

/// What `__metadata__.format` says.
pub const FORMAT: &str = "xception-webgpu";

/// The version of the format that is written and read here.
pub const VERSION: &str = "1";

/// The longest header that is read; a real one is about 16 KB plus the labels.
const MAX_HEADER: u64 = 16 << 20;

/// What a model needs to be run, beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Who trained the weights.
    #[serde(default)]
    pub preset: Preset,
    /// Height and width of the network's input, in pixels.
    pub input_size: [usize; 2],
    /// The dense layers after the mean; the last one gives the logits.
    pub head: Vec<Dense>,
    /// A name for each class, or none at all.
    pub labels: Vec<String>,
    /// How photos become input.
    pub preprocessing: Preprocessing,
    /// What kind of file the weights came from.
    pub source: String,
}

impl Meta {
    /// The network these weights are for.
    ///
    /// # Errors
    /// [`Error::Weights`] where the input size, the head or the preprocessing is not supported, or the labels are not
    /// one per class.
    pub fn network(&self) -> Result<Network> {
        let Preprocessing { scale, offset, crop, .. } = self.preprocessing;
        if !scale.is_finite() || !offset.is_finite() || !(0.01..=1.0).contains(&crop) {
            return Err(Error::Weights(format!("its preprocessing is value · {scale} + {offset}, cropped to {crop}")));
        }
        let network = Network::new(self.input_size, &self.head, self.preset)?;
        let (labels, classes) = (self.labels.len(), network.classes());
        if labels != 0 && labels != classes {
            return Err(Error::Weights(format!("there are {labels} labels for {classes} classes")));
        }
        Ok(network)
    }

    /// The name of a class; `class 7` where the model has no labels.
    pub fn label(&self, class: usize) -> String {
        self.labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }
}

/// A whole model in memory: folded weights and what they are for.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What the weights are for.
    pub meta: Meta,
    /// The folded tensors, in the order of [`Network::tensors`].
    pub tensors: Vec<Vec<f32>>,
}

impl Model {
    /// Reads a whole file.
    ///
    /// # Errors
    /// As [`Header::parse`] and [`Header::check`].
    pub fn deserialize(file: &[u8]) -> Result<Self> {
        let header = Header::parse(file)?;
        header.check(file)?;
        let values = |&(start, end): &(usize, usize)| &file[header.data_start + start..header.data_start + end];
        let tensors = header.ranges.iter().map(|range| bytemuck::pod_collect_to_vec(values(range))).collect();
        Ok(Self { meta: header.meta, tensors })
    }

    /// The bytes of the model's safetensors file.
    ///
    /// # Errors
    /// As [`Meta::network`]; or [`Error::Weights`] where a tensor has not its layer's shape.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let shapes = self.meta.network()?.tensors();
        let views = shapes.iter().zip(&self.tensors).map(|((name, shape), values)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            view.map(|view| (name.as_str(), view)).map_err(|error| Error::Weights(format!("{name}: {error}")))
        });
        let model = serde_json::to_string(&self.meta).map_err(|error| Error::Weights(error.to_string()))?;
        let entries = [("format", FORMAT), ("format_version", VERSION), ("model", &model)];
        let metadata = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        serialize(views.collect::<Result<Vec<_>>>()?, Some(HashMap::from(metadata)))
            .map_err(|error| Error::Weights(error.to_string()))
    }
}

/// The head of a weights file, checked: what the model is, and where in the file each tensor lies.
#[derive(Clone, Debug)]
pub struct Header {
    /// What the weights are for.
    pub meta: Meta,
    /// The network they belong to.
    pub network: Network,
    /// Where the tensors begin, in bytes from the start of the file.
    pub data_start: usize,
    /// The length of the file in bytes.
    pub file_len: usize,
    /// Begin and end of each of [`Network::tensors`], in bytes from `data_start`.
    pub ranges: Vec<(usize, usize)>,
}

impl Header {
    /// How many bytes the header takes, from the first 8 bytes of a file.
    ///
    /// # Errors
    /// [`Error::Weights`] where there are fewer than 8 bytes, or the length is absurd.
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
    /// [`Error::Format`] where it is somebody else's safetensors file, [`Error::Weights`] where it is cut short,
    /// of another version, or a tensor is missing or has another shape than its layer.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let data_start = Self::len(file)?;
        let Some(json) = file.get(8..data_start) else {
            return Err(Error::Weights(format!(
                "the file is cut short: {} of the header's {data_start} bytes are there; fetch it again",
                file.len()
            )));
        };
        let header: Metadata = serde_json::from_slice(json).map_err(|error| {
            Error::Weights(format!("its safetensors header is damaged ({error}); fetch the file again"))
        })?;
        let entries = header.metadata().clone().unwrap_or_default();
        let entry = |key: &str| entries.get(key).map_or("", String::as_str);
        if entry("format") != FORMAT {
            return Err(Error::Format(
                "this safetensors file was not made by this project: convert the model's .keras or .h5 file with \
                 `xception convert`"
                    .to_owned(),
            ));
        }
        if entry("format_version") != VERSION {
            return Err(Error::Weights(format!(
                "the file has format version {:?}, and version {VERSION} is read here: convert the original again",
                entry("format_version")
            )));
        }
        let meta: Meta = serde_json::from_str(entry("model"))
            .map_err(|error| Error::Weights(format!("its description of the model is damaged: {error}")))?;
        let network = meta.network()?;
        let range = |(name, shape): (String, Vec<usize>)| {
            let Some(info) = header.info(&name) else {
                return Err(Error::Weights(format!("the tensor {name} is missing")));
            };
            if info.dtype != Dtype::F32 || info.shape != shape {
                let (dtype, found) = (info.dtype, &info.shape);
                return Err(Error::Weights(format!("{name} is {dtype} {found:?} and must be F32 {shape:?}")));
            }
            if info.data_offsets.0 % 4 != 0 {
                return Err(Error::Weights(format!("{name} does not begin at a multiple of 4 bytes")));
            }
            Ok(info.data_offsets)
        };
        let ranges = network.tensors().into_iter().map(range).collect::<Result<_>>()?;
        Ok(Self { meta, network, data_start, file_len: data_start + header.data_len(), ranges })
    }

    /// Checks the rest of a file that is in memory: it is whole, and all values are finite.
    ///
    /// # Errors
    /// [`Error::Weights`] where it is not.
    pub fn check(&self, file: &[u8]) -> Result<()> {
        let mut splitter = Splitter::new(self);
        splitter.push(&file[self.data_start..], |_, _, _| {})?;
        splitter.finish()
    }
}

/// Hands the bytes of a file's tensors on, piece by piece, to whoever keeps them.
#[derive(Debug)]
pub struct Splitter {
    /// Tensor numbers with their ranges, by place in the file.
    tensors: Vec<(usize, usize, usize)>,
    names: Vec<String>,
    data_start: usize,
    file_len: usize,
    position: usize,
    /// The first bytes of a value whose rest has not come yet.
    carry: Vec<u8>,
}

impl Splitter {
    /// A splitter at the start of the tensors.
    pub fn new(header: &Header) -> Self {
        let ranges = header.ranges.iter().enumerate();
        let mut tensors: Vec<_> = ranges.map(|(tensor, &(start, end))| (tensor, start, end)).collect();
        tensors.sort_by_key(|&(_, start, _)| start);
        Self {
            tensors,
            names: header.network.tensors().into_iter().map(|(name, _)| name).collect(),
            data_start: header.data_start,
            file_len: header.file_len,
            position: 0,
            carry: Vec::new(),
        }
    }

    /// Takes the next bytes of the file; `write(tensor, offset, bytes)` gets whole values of one tensor.
    ///
    /// # Errors
    /// [`Error::Weights`] where a value is NaN or infinite, or bytes follow the last tensor.
    pub fn push(&mut self, mut bytes: &[u8], mut write: impl FnMut(usize, usize, &[u8])) -> Result<()> {
        if self.data_start + self.position + self.carry.len() + bytes.len() > self.file_len {
            return Err(Error::Weights(format!("the file is longer than the {} bytes it describes", self.file_len)));
        }
        if !self.carry.is_empty() {
            let (first, rest) = bytes.split_at(bytes.len().min(4 - self.carry.len()));
            self.carry.extend(first);
            bytes = rest;
            if self.carry.len() == 4 {
                let value = std::mem::take(&mut self.carry);
                self.values(&value, &mut write)?;
            }
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % 4);
        self.carry.extend(rest);
        self.values(whole, &mut write)
    }

    fn values(&mut self, bytes: &[u8], write: &mut impl FnMut(usize, usize, &[u8])) -> Result<()> {
        let (begin, end) = (self.position, self.position + bytes.len());
        self.position = end;
        let first = self.tensors.partition_point(|&(_, _, tensor_end)| tensor_end <= begin);
        for &(tensor, start, stop) in self.tensors[first..].iter().take_while(|&&(_, start, _)| start < end) {
            let part = &bytes[start.max(begin) - begin..stop.min(end) - begin];
            // An exponent of all ones is NaN or infinity.
            let finite = |value: &[u8]| value[3] & 0x7f != 0x7f || value[2] & 0x80 == 0;
            if !part.chunks_exact(4).all(finite) {
                let name = &self.names[tensor];
                return Err(Error::Weights(format!("{name} holds a value that is not a finite number (NaN)")));
            }
            write(tensor, start.max(begin) - start, part);
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Error::Weights`] where bytes are missing.
    pub fn finish(&self) -> Result<()> {
        let came = self.data_start + self.position + self.carry.len();
        if came < self.file_len {
            let want = self.file_len;
            return Err(Error::Weights(format!(
                "the file is cut short: {came} of its {want} bytes are there; fetch it again"
            )));
        }
        Ok(())
    }
}
