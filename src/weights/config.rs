//! What a Keras model's own JSON says about it: input size, head, normalisation.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::network::Dense;

/// What the config says; a model without one has [`Config::default`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Config {
    /// Height and width of the first image input, where they are fixed.
    pub input_size: Option<[usize; 2]>,
    /// The dense layers in order.
    pub head: Vec<Dense>,
    /// Factor and offset of a `Rescaling` layer: photos then go in as 0 to 255.
    pub rescaling: Option<(f32, f32)>,
    /// ε of the batch norms.
    pub epsilon: Option<f64>,
}

/// Layers that change nothing at inference, or belong to the backbone.
const KNOWN: [&str; 13] = [
    "InputLayer",
    "Conv2D",
    "SeparableConv2D",
    "MaxPooling2D",
    "Add",
    "ZeroPadding2D",
    "Dropout",
    "SpatialDropout2D",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ActivityRegularization",
    "GlobalAveragePooling2D",
];

impl Config {
    /// Reads a model's `config.json`, or the `model_config` attribute of an `.h5` file.
    ///
    /// # Errors
    /// [`Error::Weights`] where it is no JSON, or names a layer or an activation that Xception has not.
    pub(super) fn parse(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| Error::Weights(format!("the model's config is damaged: {error}")))?;
        let mut walk = Walk::default();
        walk.layer(&value)?;
        if let Some(last) = walk.config.head.last().filter(|last| last.relu) {
            return Err(Error::Weights(format!("{} ends the model in a ReLU instead of logits or softmax", last.name)));
        }
        Ok(walk.config)
    }
}

#[derive(Default)]
struct Walk {
    config: Config,
    pooled: bool,
}

impl Walk {
    /// Visits a layer, and what is nested in it, in the model's order.
    fn layer(&mut self, layer: &Value) -> Result<()> {
        let class = layer["class_name"].as_str().unwrap_or_default();
        let config = &layer["config"];
        // A Sequential model of old times is a bare list.
        if let Some(layers) = config["layers"].as_array().or(config.as_array()) {
            return layers.iter().try_for_each(|layer| self.layer(layer));
        }
        let name = config["name"].as_str().unwrap_or("a layer");
        let unsupported =
            |what: &str| Err(Error::Weights(format!("{name} ({class}{what}) is not part of an Xception classifier")));
        match class {
            "InputLayer" => {
                let shape =
                    [&config["batch_shape"], &config["batch_input_shape"]].into_iter().find_map(Value::as_array);
                if let Some([_, height, width, _]) = shape.map(Vec::as_slice)
                    && let (Some(height), Some(width)) = (height.as_u64(), width.as_u64())
                {
                    self.config.input_size.get_or_insert([height as usize, width as usize]);
                }
            }
            "Dense" => {
                let units = config["units"].as_u64().unwrap_or_default() as usize;
                self.config.head.push(Dense { name: name.to_owned(), units, relu: false });
                self.activation(&config["activation"], name)?;
            }
            "Activation" => self.activation(&config["activation"], name)?,
            "ReLU" | "Softmax" => self.activation(&Value::from(class.to_lowercase()), name)?,
            "BatchNormalization" if self.config.head.is_empty() => {
                self.config.epsilon = self.config.epsilon.or(config["epsilon"].as_f64());
            }
            "Rescaling" => match (config["scale"].as_f64(), config["offset"].as_f64()) {
                (Some(scale), Some(offset)) => self.config.rescaling = Some((scale as f32, offset as f32)),
                _ => return unsupported(", one factor per channel"),
            },
            // keras.applications.xception.preprocess_input inside the model: x / 127.5 − 1.
            "TrueDivide" | "Subtract" => {
                let operand = layer["inbound_nodes"][0]["args"][1].as_f64();
                if operand != Some(if class == "Subtract" { 1.0 } else { 127.5 }) {
                    return unsupported(", with another operand than preprocess_input's");
                }
                self.config.rescaling = Some((1.0 / 127.5, -1.0));
            }
            "GlobalAveragePooling2D" => self.pooled = true,
            "Flatten" if self.pooled => {}
            _ if class.starts_with("Random") || KNOWN.contains(&class) => {}
            _ => return unsupported(""),
        }
        Ok(())
    }

    /// Notes an activation; those before the head belong to the backbone and are known.
    fn activation(&mut self, activation: &Value, layer: &str) -> Result<()> {
        let name = activation.as_str().or(activation["config"].as_str()).unwrap_or("linear");
        match (self.config.head.last_mut(), name) {
            (Some(dense), "relu") => dense.relu = true,
            (None, _) | (_, "linear" | "softmax") => {}
            (_, other) => {
                return Err(Error::Weights(format!(
                    "{layer} has the activation {other}: relu between dense layers, and linear or softmax at the end, \
                     are supported"
                )));
            }
        }
        Ok(())
    }
}
