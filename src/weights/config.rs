//! A Keras model's own JSON: input size, head, normalisation.
//!
//! A classifier is read as: image → steps on pixel values → backbone → mean → dense layers. Other layers
//! are refused by name: a model without them would answer wrongly.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::network::{Dense, MAX_DENSE};

/// The contents of the config; a model without one has [`Config::default`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Config {
    /// Height and width of the first image input, where they are fixed.
    pub input_size: Option<[usize; 2]>,
    /// The dense layers in order, each with its group in Keras 3's own files.
    pub head: Vec<(Dense, String)>,
    /// Factor and offset of the steps on pixel values, where there are any: photos then go in as 0 to 255.
    pub rescaling: Option<(f64, f64)>,
    /// ε of the batch norms.
    pub epsilon: Option<f64>,
    /// Whether it has the mean before the dense layers.
    pub mean: bool,
    /// Whether it ends in a softmax, or in the sigmoid of a single output.
    pub final_activation: bool,
}

/// Layers of the backbone, which are known.
const BACKBONE: [&str; 5] = ["Conv2D", "SeparableConv2D", "MaxPooling2D", "Add", "BatchNormalization"];

/// Layers without effect at inference, beside those whose name begins with `Random`.
const IDLE: [&str; 10] = [
    "Dropout",
    "SpatialDropout2D",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ActivityRegularization",
    "RandAugment",
    "AugMix",
    "MixUp",
    "CutMix",
];

impl Config {
    /// Reads a model's `config.json`, or the `model_config` attribute of an `.h5` file; a model without separable
    /// convolutions is read as a head alone.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is no JSON, or has a layer or an activation that an Xception classifier has not.
    pub(super) fn parse(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| Error::Weights(format!("the model's config is damaged: {error}")))?;
        let pooled = !json.contains("\"SeparableConv2D\"");
        let mut walk = Walk { path: "/layers".to_owned(), pooled, ..Walk::default() };
        walk.container(&value["config"])?;
        match walk.config.head.last() {
            Some((last, _)) if last.relu => {
                Err(Error::Weights(format!("{} ends the model in a ReLU instead of logits or softmax", last.name)))
            }
            _ => Ok(walk.config),
        }
    }
}

#[derive(Default)]
struct Walk {
    config: Config,
    /// The present container's group in Keras 3's own files.
    path: String,
    backbone: bool,
    pooled: bool,
}

impl Walk {
    /// Visits a container's layers in the model's order. Keras 3 names their groups by class and count.
    fn container(&mut self, config: &Value) -> Result<()> {
        // An old Sequential model is a bare list.
        let layers = config["layers"].as_array().or(config.as_array());
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for layer in layers.into_iter().flatten() {
            let class = layer["class_name"].as_str().unwrap_or_default().to_lowercase();
            let count = counts.entry(class.clone()).or_default();
            let group = if *count == 0 { class } else { format!("{class}_{count}") };
            *count += 1;
            let config = &layer["config"];
            if config["layers"].is_array() || config.is_array() {
                let outer = self.path.clone();
                self.path = format!("{outer}/{group}/layers");
                self.container(config)?;
                self.path = outer;
            } else {
                self.layer(layer, &group)?;
            }
        }
        Ok(())
    }

    fn layer(&mut self, layer: &Value, group: &str) -> Result<()> {
        let class = layer["class_name"].as_str().unwrap_or_default();
        let config = &layer["config"];
        let name = config["name"].as_str().unwrap_or("a layer");
        let unsupported =
            |what: &str| Err(Error::Weights(format!("{name} ({class}{what}) is not part of an Xception classifier")));
        if let Some((factor, offset)) = pixel_step(layer) {
            if self.backbone || self.pooled {
                return unsupported(", behind the backbone");
            }
            let (scale, before) = self.config.rescaling.unwrap_or((1.0, 0.0));
            self.config.rescaling = Some((scale * factor, before * factor + offset));
            return Ok(());
        }
        match class {
            "InputLayer" => {
                let shape =
                    [&config["batch_shape"], &config["batch_input_shape"]].into_iter().find_map(Value::as_array);
                if let Some([_, height, width, _]) = shape.map(Vec::as_slice)
                    && let (Some(height), Some(width)) = (number(height), number(width))
                {
                    self.config.input_size.get_or_insert([height, width]);
                }
            }
            "Dense" if !self.pooled => return unsupported(", before the mean"),
            "Dense" => {
                if self.config.final_activation {
                    return unsupported(", behind a softmax or sigmoid");
                }
                // Each is kept with its path, which may be long.
                if self.config.head.len() == MAX_DENSE {
                    return unsupported(&format!(", behind {MAX_DENSE} others"));
                }
                let units = number(&config["units"]).unwrap_or_default();
                let dense = Dense { name: name.to_owned(), units, relu: false };
                self.config.head.push((dense, format!("{}/{group}", self.path)));
                self.activation(&config["activation"], name)?;
            }
            "Activation" => self.activation(&config["activation"], name)?,
            "ReLU" | "Softmax" => self.activation(layer, name)?,
            "GlobalAveragePooling2D" => (self.pooled, self.config.mean) = (true, true),
            "Flatten" if self.pooled => {}
            _ if BACKBONE.contains(&class) && !self.pooled => {
                self.backbone = true;
                self.config.epsilon = self.config.epsilon.or(config["epsilon"].as_f64());
            }
            "RandomCrop" => return unsupported(", which crops at inference too"),
            _ if class.starts_with("Random") || IDLE.contains(&class) => {}
            _ => return unsupported(""),
        }
        Ok(())
    }

    /// Notes an activation: of the last dense layer, or before the head one of the backbone's ReLUs.
    fn activation(&mut self, activation: &Value, layer: &str) -> Result<()> {
        let name = activation_name(activation);
        let ended = &mut self.config.final_activation;
        match (self.config.head.last_mut(), name.as_str()) {
            (_, "linear") => {}
            (None, "relu") if !self.pooled => {}
            (Some((dense, _)), "relu") if !*ended => dense.relu = true,
            (Some((dense, _)), "softmax") if dense.units == 1 => {
                return Err(Error::Weights(format!(
                    "{} ends in a softmax of its single output, which is 1 for any photo: train it with a sigmoid, or with an \
                     output for each class",
                    dense.name
                )));
            }
            (Some((dense, _)), "softmax") if !dense.relu && !*ended => *ended = true,
            (Some((dense, _)), "sigmoid") if dense.units == 1 && !dense.relu && !*ended => *ended = true,
            _ => {
                return Err(Error::Weights(format!(
                    "{layer} has the activation {name}: an Xception classifier has relu in the backbone and between \
                     dense layers, and at the end linear, softmax, or the sigmoid of a single output"
                )));
            }
        }
        Ok(())
    }
}

/// A size; one beyond this machine's numbers is its largest, which is refused as it is elsewhere.
fn number(json: &Value) -> Option<usize> {
    json.as_u64().map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Factor and offset of a layer that computes `x · factor + offset` on pixel values: `Rescaling`, and the arithmetic
/// that `preprocess_input` leaves in a model.
fn pixel_step(layer: &Value) -> Option<(f64, f64)> {
    let class = layer["class_name"].as_str()?;
    let config = &layer["config"];
    if class == "Rescaling" {
        return Some((config["scale"].as_f64()?, config["offset"].as_f64()?));
    }
    // Keras 3 keeps the operand in the call's arguments, Keras 2 in its keywords.
    let node = &layer["inbound_nodes"][0];
    let operand = [&node["args"][1], &node[3]["y"], &node[0][3]["y"]].into_iter().find_map(Value::as_f64)?;
    match if class == "TFOpLambda" { config["function"].as_str()? } else { class } {
        "TrueDivide" | "Divide" | "math.truediv" | "math.divide" => Some((1.0 / operand, 0.0)),
        "Subtract" | "math.subtract" => Some((1.0, -operand)),
        "Multiply" | "math.multiply" => Some((operand, 0.0)),
        "Add" | "math.add" | "__operators__.add" => Some((1.0, operand)),
        _ => None,
    }
}

/// The name of an activation: a string, a function, or a layer, of which a ReLU with options is another one.
fn activation_name(activation: &Value) -> String {
    let config = &activation["config"];
    let class = activation["class_name"].as_str().unwrap_or("linear");
    let is_off = |option: &str| config[option].as_f64().unwrap_or(0.0) == 0.0;
    match activation.as_str().or(config.as_str()) {
        Some(name) => name.to_owned(),
        None if class == "ReLU" && config["max_value"].is_null() && is_off("negative_slope") && is_off("threshold") => {
            "relu".to_owned()
        }
        None if class == "Softmax" => "softmax".to_owned(),
        None if class == "ReLU" => "ReLU with options".to_owned(),
        None => class.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layer(class: &str, config: Value) -> Value {
        json!({"class_name": class, "config": config})
    }

    /// A model of an input, steps on pixel values, a backbone of one layer, the mean and a head.
    fn parse(steps: &[Value], head: &[Value]) -> Result<Config> {
        let backbone = layer(
            "Functional",
            json!({"layers": [
                layer("SeparableConv2D", json!({"name": "block2_sepconv1"})),
                layer("BatchNormalization", json!({"epsilon": 0.002})),
                layer("Activation", json!({"activation": "relu"})),
            ]}),
        );
        let mut layers = vec![layer("InputLayer", json!({"batch_shape": [null, 150, 200, 3]}))];
        layers.extend_from_slice(steps);
        layers.extend([backbone, layer("GlobalAveragePooling2D", json!({}))]);
        layers.extend_from_slice(head);
        Config::parse(&layer("Functional", json!({"layers": layers})).to_string())
    }

    fn dense(name: &str, units: usize, activation: &Value) -> Value {
        layer("Dense", json!({"name": name, "units": units, "activation": activation}))
    }

    fn refused(steps: &[Value], head: &[Value], reason: &str) {
        let error = parse(steps, head).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error} does not mention {reason}");
    }

    #[test]
    fn a_head_is_read_with_its_groups() {
        let nested = layer(
            "Sequential",
            json!({"layers": [
                dense("dense_7", 8, &json!("linear")),
                layer("ReLU", json!({"max_value": null, "negative_slope": 0.0})),
                layer("Dropout", json!({})),
                dense("out", 3, &json!({"class_name": "function", "config": "softmax"})),
            ]}),
        );
        let relu = json!({"class_name": "ReLU", "config": {"max_value": null}});
        let config = parse(&[], &[dense("dense_1", 64, &relu), nested]).unwrap();
        let head: Vec<_> = config.head.iter().map(|(d, group)| (&*d.name, d.units, d.relu, &**group)).collect();
        let expected = [
            ("dense_1", 64, true, "/layers/dense"),
            ("dense_7", 8, true, "/layers/sequential/layers/dense"),
            ("out", 3, false, "/layers/sequential/layers/dense_1"),
        ];
        assert_eq!(head, expected);
        assert_eq!((config.input_size, config.epsilon, config.rescaling), (Some([150, 200]), Some(0.002), None));
    }

    #[test]
    fn steps_on_pixel_values_compose() {
        let out = [dense("out", 3, &Value::Null)];
        let rescaling = |scale: f64, offset: f64| layer("Rescaling", json!({"scale": scale, "offset": offset}));
        let op = |class: &str, operand: f64| json!({"class_name": class, "config": {}, "inbound_nodes": [{"args": [{}, operand]}]});
        let lambda = |function: &str, operand: f64| {
            json!({"class_name": "TFOpLambda", "config": {"function": function},
                   "inbound_nodes": [["input", 0, 0, {"y": operand}]]})
        };
        for steps in [
            vec![rescaling(0.5, -1.0)],
            vec![rescaling(0.25, 0.0), rescaling(2.0, -1.0)],
            vec![op("TrueDivide", 2.0), op("Subtract", 1.0)],
            vec![lambda("math.truediv", 2.0), lambda("math.subtract", 1.0)],
            vec![op("Subtract", 2.0), layer("RandomFlip", json!({})), op("Multiply", 0.5)],
        ] {
            assert_eq!(parse(&steps, &out).unwrap().rescaling, Some((0.5, -1.0)), "{steps:?}");
        }
        refused(&[], &[rescaling(0.5, 0.0), out[0].clone()], "behind the backbone");
    }

    #[test]
    fn other_models_are_refused() {
        let out = || dense("out", 3, &json!("softmax"));
        let object = |class: &str, config: Value| json!({"class_name": class, "config": config});
        for (activation, reason) in [
            (json!("sigmoid"), "sigmoid"),
            (object("LeakyReLU", json!({"negative_slope": 0.2})), "LeakyReLU"),
            (object("ReLU", json!({"max_value": 6.0})), "ReLU with options"),
            (json!("softmax"), "behind a softmax"),
        ] {
            refused(&[], &[dense("hidden", 9, &activation), out()], reason);
        }
        for class in ["BatchNormalization", "Add", "Conv2D", "Normalization", "Lambda"] {
            refused(&[], &[layer(class, json!({"name": "odd"})), out()], "odd");
        }
        refused(&[layer("RandomCrop", json!({}))], &[out()], "crops at inference");
        refused(&[dense("early", 9, &Value::Null)], &[out()], "before the mean");
        // A head by itself.
        let head = |layers: &[Value]| Config::parse(&layer("Sequential", json!({"layers": layers})).to_string());
        assert_eq!(head(&[dense("hidden", 9, &json!("relu")), out()]).unwrap().head.len(), 2);
        let rescaling = layer("Rescaling", json!({"name": "late", "scale": 0.1, "offset": 3.0}));
        assert!(head(&[out(), rescaling]).unwrap_err().to_string().contains("late"));
        refused(&[], &[dense("one", 1, &json!("softmax"))], "one ends in a softmax of its single output");
        refused(&[], &[out(), layer("Softmax", json!({"name": "again"}))], "again has the activation softmax");
        refused(&[], &[dense("one", 1, &json!("sigmoid")), out()], "behind a softmax or sigmoid");
        refused(&[], &[dense("out", 3, &json!("relu"))], "ends the model in a ReLU");
        assert!(Config::parse("{").is_err());
    }
}
