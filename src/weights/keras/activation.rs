//! Names of activation functions, in every spelling that Keras has had.

use serde_json::Value;

use super::graph::Node;
use crate::error::{Error, Result};
use crate::network::activation::Function;

/// An activation by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Named {
    Function(Function),
    Softmax,
    Linear,
}

/// The activation that a layer is; none of a layer that is something else.
///
/// # Errors
/// [`Error::Weights`] if it is one that is not supported.
pub(super) fn layer(node: &Node, is_keras3: bool) -> Result<Option<Named>> {
    match node.config.get("activation") {
        Some(activation) if node.class == "Activation" => named(node, activation, is_keras3),
        // A layer with a function behind it.
        Some(_) => Ok(None),
        None => named(node, &Value::Null, is_keras3),
    }
}

/// The activation behind a layer, by its argument.
///
/// # Errors
/// As [`layer`].
pub(super) fn argument(node: &Node, is_keras3: bool) -> Result<Option<Named>> {
    match &node.config["activation"] {
        Value::Null => Ok(None),
        activation => named(node, activation, is_keras3),
    }
}

/// The activation of an argument; where that is null, of the layer.
fn named(node: &Node, argument: &Value, is_keras3: bool) -> Result<Option<Named>> {
    let (name, options, is_layer) = match argument {
        Value::Null => (&*node.class, &node.config, true),
        Value::String(name) => (&**name, &Value::Null, false),
        // A function by its name, or a layer.
        object => match (object["class_name"].as_str(), &object["config"]) {
            (_, Value::String(name)) => (&**name, &Value::Null, false),
            (Some(class), config) => (class, config, true),
            (None, _) => ("an object without a name", &Value::Null, false),
        },
    };
    let simple = name.rsplit(['.', '>']).next().unwrap_or(name).to_lowercase().replace('_', "");
    let keywords = [&node.call[3], &node.call[0][3], &node.call["kwargs"]];
    let option = |names: &[&str]| {
        let places = [options].into_iter().chain(keywords);
        places.flat_map(|place| names.iter().map(move |name| &place[*name])).find_map(number)
    };
    let function = match &*simple {
        "linear" | "identity" => Some(Named::Linear),
        "softmax" => match [&options["axis"], &options["axis"][0]].into_iter().find_map(Value::as_i64) {
            None | Some(-1 | 1) => Some(Named::Softmax),
            Some(_) => None,
        },
        "relu" => {
            let (most, slope) = (option(&["max_value"]), option(&["negative_slope", "alpha"]).unwrap_or(0.0));
            match (most, slope, option(&["threshold"]).unwrap_or(0.0)) {
                (None, 0.0, 0.0) => Some(Named::Function(Function::Relu)),
                (None, slope, 0.0) => Some(Named::Function(Function::LeakyRelu(slope as f32))),
                (Some(6.0), 0.0, 0.0) => Some(Named::Function(Function::Relu6)),
                _ => None,
            }
        }
        "relu6" => Some(Named::Function(Function::Relu6)),
        "elu" => Some(Named::Function(Function::Elu(option(&["alpha"]).unwrap_or(1.0) as f32))),
        "selu" => Some(Named::Function(Function::Selu)),
        "leakyrelu" => {
            // The layer's default is 0.3, the functions' 0.2.
            let default = if is_layer && name == "LeakyReLU" { 0.3 } else { 0.2 };
            let slope = option(&["negative_slope", "alpha"]).unwrap_or(default);
            Some(Named::Function(Function::LeakyRelu(slope as f32)))
        }
        "gelu" => {
            let places = [options].into_iter().chain(keywords);
            let told = places.map(|place| &place["approximate"]).find_map(Value::as_bool);
            // Keras 3's operation approximates unless told otherwise, activations do not.
            let approximate = told.unwrap_or(node.class == "Gelu");
            Some(Named::Function(if approximate { Function::GeluTanh } else { Function::Gelu }))
        }
        "silu" | "swish" => Some(Named::Function(Function::Silu)),
        "tanh" => Some(Named::Function(Function::Tanh)),
        "sigmoid" => Some(Named::Function(Function::Sigmoid)),
        "hardsigmoid" => Some(Named::Function(Function::HardSigmoid(if is_keras3 { 1.0 / 6.0 } else { 0.2 }))),
        "softplus" => Some(Named::Function(Function::Softplus)),
        _ => None,
    };
    match function {
        // A layer that is no activation.
        None if argument.is_null() && simple != "relu" && simple != "softmax" => Ok(None),
        None => Err(Error::Weights(format!(
            "{} has the activation {name}, with its options as they are not supported: docs/models.md lists those that are",
            node.name
        ))),
        function => Ok(function),
    }
}

/// A number, or an array of one, as Keras 2 wrote some options.
fn number(json: &Value) -> Option<f64> {
    json.as_f64().or_else(|| json["config"]["value"].as_f64()).or_else(|| json["value"].as_f64())
}
