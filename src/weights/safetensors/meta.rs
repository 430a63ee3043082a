//! The description of a model, and how it is read from JSON.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::assumed::Assumption;
use crate::error::{Error, Result};
use crate::network::activation::Function;
use crate::network::layer::{GlobalPool, Operation, Resize, Window};
use crate::network::{Architecture, FrontLayer, HeadLayer, Network, Output};
use crate::resize::Preprocessing;

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
    /// The backbone.
    pub architecture: Architecture,
    /// Height and width of the network's input, in pixels.
    pub input_size: [usize; 2],
    /// The layers in front of the backbone, which resize that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<FrontLayer>,
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
        let network = Network::new(self.backbone_size(), &self.head, self.output, self.architecture)?;
        let network = network.behind(self.input_size, &self.front)?;
        let (labels, classes, outputs) = (self.labels.len(), network.classes(), network.outputs());
        if labels != 0 && labels != if classes > 0 { classes } else { outputs } {
            let what = if classes > 0 { format!("{classes} classes") } else { format!("{outputs} outputs") };
            return Err(Error::Weights(format!("there are {labels} labels for {what}")));
        }
        Ok(network)
    }

    /// Height and width of the backbone's input, in pixels.
    pub fn backbone_size(&self) -> [usize; 2] {
        FrontLayer::output(&self.front, self.input_size)
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

/// A field of JSON, by hand: readers that serde derives would be a tenth of the core's wasm.
pub(super) fn field<T>(json: &Value, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T> {
    let damaged =
        || Error::Weights(format!("its description of the model is damaged: {name} is missing, or no such thing"));
    read(&json[name]).ok_or_else(damaged)
}

fn text(json: &Value) -> Option<String> {
    json.as_str().map(str::to_owned)
}

pub(super) fn named<T: FromStr>(json: &Value) -> Option<T> {
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

fn front_layer(json: &Value) -> Option<FrontLayer> {
    let resize = &json["resize"];
    let size = numbers(&resize["size"])?.try_into().ok()?;
    let resize = Resize { size, part: named(&resize["part"])?, is_nearest: resize["is_nearest"].as_bool()? };
    Some(FrontLayer { name: text(&json["name"])?, resize })
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
    /// Reads a description of a model.
    ///
    /// # Errors
    /// [`Error::Weights`] if a part is missing.
    pub(super) fn read(json: &Value, version: u64) -> Result<Self> {
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
            architecture: field(json, "architecture", |name| match (name, &json["preset"]) {
                // Version 2 named who trained the weights.
                (Value::Null, Value::String(preset)) if preset == "keras" => Some(Architecture::Xception),
                (Value::Null, Value::String(preset)) if preset == "timm" => Some(Architecture::LegacyXception),
                (name, _) => named(name),
            })?,
            input_size: field(json, "input_size", |json| numbers(json)?.try_into().ok())?,
            front: match &json["front"] {
                Value::Null => Vec::new(),
                _ => field(json, "front", |json| json.as_array()?.iter().map(front_layer).collect())?,
            },
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

/// An array of numbers in JSON.
pub(super) fn numbers(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|number| usize::try_from(number.as_u64()?).ok()).collect()
}
