//! The project's own weights file: safetensors, batch norm folded, laid out as the kernels read it.
//!
//! The file's `__metadata__` has one entry, [`FORMAT`], whose value is JSON: `version` ([`VERSION`]), `dtype` (a
//! [`Dtype`]), and `model`, which is [`Meta`]. Names and shapes of the tensors follow from the network ([`Network::tensors`]),
//! how they are stored from the dtype ([`Tensor::dtype`]). A tensor of 8 bits has its scales before it in the file, one
//! f32 for each output channel: `predictions.weight.scale` beside `predictions.weight`.
//!
//! The same model makes the same bytes, so that their hash can be published.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::FromStr;

use safetensors::tensor::{TensorView, serialize};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assumed::Assumption;
use super::quantize::quantize;
use super::stream_decoder::StreamDecoder;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::network::activation::Function;
use crate::network::layer::{GlobalPool, Operation, Tensor, Window};
use crate::network::{HeadLayer, Network, Output, Preset};
use crate::resize::Preprocessing;

/// The entry in `__metadata__` that identifies the format.
pub const FORMAT: &str = "xception-webgpu";

/// The version of the format.
pub const VERSION: u32 = 3;

/// The oldest version that is still read.
const OLDEST: u64 = 2;

/// The longest accepted header; a real one is about 16 KB plus the labels.
const MAX_HEADER: u64 = 16 << 20;

/// The origin of weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The kind of file.
    pub kind: String,
    /// SHA-256 of that file, in hexadecimal digits.
    pub sha256: String,
    /// A note on its licence, by the person who converted it; may be empty.
    pub license: String,
}

/// Everything a model needs to run besides its weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Meta {
    /// The framework that trained the weights.
    pub preset: Preset,
    /// Height and width of the network's input, in pixels.
    pub input_size: [usize; 2],
    /// The layers behind the backbone.
    pub head: Vec<HeadLayer>,
    /// The kind of the last layer's values.
    pub output: Output,
    /// Whether the model itself returns the last layer's values: softmax or sigmoid, if any, is added to give probabilities.
    pub is_logits: bool,
    /// A name for each class, or output without classes, or none at all. ImageNet's have their WordNet number in front:
    /// `n02123045 tabby`.
    pub labels: Vec<String>,
    /// The preprocessing of photos.
    pub preprocessing: Preprocessing,
    /// The origin of the weights.
    pub source: Source,
    /// Groups of the file's arrays that are none of the model, such as an optimizer's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Facts that the file did not tell.
    pub assumed: Vec<Assumption>,
}

impl Meta {
    /// The network these weights are for.
    ///
    /// # Errors
    /// [`Error::Weights`] if the input size, the head or the preprocessing is not supported, there is a single class, or the
    /// labels are not one per class.
    pub fn network(&self) -> Result<Network> {
        let Preprocessing { scale, offset, crop, .. } = self.preprocessing;
        if !scale.iter().chain(&offset).all(|value| value.is_finite()) || !(0.01..=1.0).contains(&crop) {
            return Err(Error::Weights(
                "its preprocessing is not finite, or crops to a share outside of 0.01 to 1".to_owned(),
            ));
        }
        let network = Network::new(self.input_size, &self.head, self.output, self.preset)?;
        let (labels, classes, outputs) = (self.labels.len(), network.classes(), network.outputs());
        if labels != 0 && labels != if classes > 0 { classes } else { outputs } {
            let what = if classes > 0 { format!("{classes} classes") } else { format!("{outputs} outputs") };
            return Err(Error::Weights(format!("there are {labels} labels for {what}")));
        }
        Ok(network)
    }

    /// The name of a class; `class 7` where the model has no labels.
    pub fn label(&self, class: usize) -> String {
        let name = self.labels.get(class).map(|label| split(label).1.to_owned());
        name.unwrap_or_else(|| format!("class {class}"))
    }

    /// The WordNet number of a class of ImageNet.
    pub fn wnid(&self, class: usize) -> Option<&str> {
        split(self.labels.get(class)?).0
    }
}

/// WordNet number, if it has one, and name of a label.
fn split(label: &str) -> (Option<&str>, &str) {
    let is_wnid = |word: &str| word.len() == 9 && word[1..].bytes().all(|byte| byte.is_ascii_digit());
    match label.split_once(' ') {
        Some((wnid, name)) if wnid.starts_with('n') && is_wnid(wnid) => (Some(wnid), name),
        _ => (None, label),
    }
}

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
                let (name, [height, width]) = (&tensor.name, self.meta.input_size);
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

/// A field of JSON, by hand: readers that serde derives would be a tenth of the core's wasm.
fn field<T>(json: &Value, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T> {
    let damaged =
        || Error::Weights(format!("its description of the model is damaged: {name} is missing, or no such thing"));
    read(&json[name]).ok_or_else(damaged)
}

fn text(json: &Value) -> Option<String> {
    json.as_str().map(str::to_owned)
}

fn named<T: FromStr>(json: &Value) -> Option<T> {
    json.as_str()?.parse().ok()
}

fn float(json: &Value) -> Option<f32> {
    Some(json.as_f64()? as f32)
}

/// A number for each channel; version 2 had one for all.
fn by_channel(json: &Value) -> Option<[f32; 3]> {
    if let Some(all) = float(json) {
        return Some([all; 3]);
    }
    Some([float(&json[0])?, float(&json[1])?, float(&json[2])?])
}

/// The name of an enum's value, and what it holds.
fn tagged(json: &Value) -> Option<(&str, &Value)> {
    match json {
        Value::String(name) => Some((name, &Value::Null)),
        Value::Object(object) => object.iter().next().map(|(name, value)| (&**name, value)),
        _ => None,
    }
}

fn window(json: &Value) -> Option<Window> {
    let pair = |json: &Value| numbers(json)?.try_into().ok();
    let padding = &json["padding"];
    Some(Window {
        kernel: pair(&json["kernel"])?,
        stride: pair(&json["stride"])?,
        padding: [pair(&padding[0])?, pair(&padding[1])?],
    })
}

fn operation(json: &Value) -> Option<Operation> {
    Some(match tagged(json)? {
        ("max_pool", value) => Operation::MaxPool(window(value)?),
        ("average_pool", value) => Operation::AveragePool(window(value)?),
        ("global_pool", value) => Operation::GlobalPool(named::<GlobalPool>(value)?),
        ("flatten", _) => Operation::Flatten,
        ("dense", _) => Operation::Dense,
        ("scale_shift", _) => Operation::ScaleShift,
        ("prelu", value) => Operation::Prelu { is_shared: value["is_shared"].as_bool()? },
        ("activation", _) => Operation::Activation,
        _ => return None,
    })
}

fn function(json: &Value) -> Option<Function> {
    Some(match tagged(json)? {
        ("relu", _) => Function::Relu,
        ("relu6", _) => Function::Relu6,
        ("elu", value) => Function::Elu(float(value)?),
        ("selu", _) => Function::Selu,
        ("leaky_relu", value) => Function::LeakyRelu(float(value)?),
        ("gelu", _) => Function::Gelu,
        ("gelu_tanh", _) => Function::GeluTanh,
        ("silu", _) => Function::Silu,
        ("tanh", _) => Function::Tanh,
        ("sigmoid", _) => Function::Sigmoid,
        ("hard_sigmoid", value) => Function::HardSigmoid(float(value)?),
        ("softplus", _) => Function::Softplus,
        _ => return None,
    })
}

impl Meta {
    fn read(json: &Value, version: u64) -> Result<Self> {
        let head_layer = |json: &Value| {
            let units = usize::try_from(json["units"].as_u64()?).ok()?;
            let activation = if json["activation"].is_null() { None } else { Some(function(&json["activation"])?) };
            Some(HeadLayer { name: text(&json["name"])?, operation: operation(&json["operation"])?, units, activation })
        };
        // Version 2 had dense layers behind a mean.
        let dense = |json: &Value| {
            let units = usize::try_from(json["units"].as_u64()?).ok()?;
            Some(HeadLayer::dense(text(&json["name"])?, units, json["relu"].as_bool()?.then_some(Function::Relu)))
        };
        let head = |json: &Value| -> Option<Vec<HeadLayer>> {
            let layers = json.as_array()?.iter();
            if version > 2 {
                layers.map(head_layer).collect()
            } else {
                [Some(HeadLayer::average())].into_iter().chain(layers.map(dense)).collect()
            }
        };
        let assumption = |json: &Value| Some(Assumption { name: text(&json["name"])?, value: text(&json["value"])? });
        let [preprocessing, source] = ["preprocessing", "source"].map(|name| &json[name]);
        Ok(Self {
            preset: field(json, "preset", named)?,
            input_size: field(json, "input_size", |json| numbers(json)?.try_into().ok())?,
            head: field(json, "head", head)?,
            output: if version > 2 { field(json, "output", named)? } else { Output::Softmax },
            is_logits: json["is_logits"].as_bool().unwrap_or_default(),
            labels: field(json, "labels", |json| json.as_array()?.iter().map(text).collect())?,
            preprocessing: Preprocessing {
                filter: field(preprocessing, "filter", named)?,
                fit: field(preprocessing, "fit", named)?,
                crop: field(preprocessing, "crop", |json| if json.is_null() { Some(1.0) } else { json.as_f64() })?,
                scale: field(preprocessing, "scale", by_channel)?,
                offset: field(preprocessing, "offset", by_channel)?,
                bgr: preprocessing["bgr"].as_bool().unwrap_or_default(),
            },
            source: Source {
                kind: field(source, "kind", text)?,
                sha256: field(source, "sha256", text)?,
                license: field(source, "license", text)?,
            },
            ignored: json["ignored"]
                .as_array()
                .map(|names| names.iter().filter_map(text).collect())
                .unwrap_or_default(),
            // Files of earlier versions have no such list.
            assumed: match &json["assumed"] {
                Value::Null => Vec::new(),
                _ => field(json, "assumed", |json| json.as_array()?.iter().map(assumption).collect())?,
            },
        })
    }
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

/// An array of numbers in JSON.
fn numbers(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|number| usize::try_from(number.as_u64()?).ok()).collect()
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
