//! Steps of a config: what a layer in front of the backbone or behind it computes.

use serde_json::Value;

use super::super::activation::{self, Named};
use super::super::graph::Node;
use super::{EPSILON, PixelStep, StepKind, unsupported};
use crate::error::Result;
use crate::network::Output;
use crate::network::layer::GlobalPool;

/// The kind of the values that a loss is computed from.
pub(super) fn output_of(loss: &Value) -> Option<Output> {
    let name = match loss {
        Value::String(name) => name,
        Value::Array(losses) => return losses.iter().find_map(output_of),
        Value::Object(loss) => match loss.get("class_name").and_then(Value::as_str) {
            // A loss for each output, by its name.
            None => return loss.values().find_map(output_of),
            Some("function") => loss.get("config").and_then(|config| config.as_str().or(config["name"].as_str()))?,
            Some(class) => class,
        },
        _ => return None,
    };
    let name = name.to_lowercase().replace('_', "");
    let has = |part: &[&str]| part.iter().any(|part| name.contains(part));
    Some(match () {
        () if has(&["binary"]) => Output::Sigmoid,
        () if has(&["categorical", "kld", "kullback", "hinge"]) => Output::Softmax,
        () if has(&["mean", "huber", "logcosh", "poisson", "cosine"]) => Output::Linear,
        () if ["mse", "mae", "mape", "msle"].contains(&&*name) => Output::Linear,
        () => return None,
    })
}

/// A size; one beyond this machine's numbers is its largest, which is refused as it is elsewhere.
pub(in super::super) fn number(json: &Value) -> Option<usize> {
    json.as_u64().map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// A number for rows and one for columns, or one for both.
pub(super) fn pair(json: &Value) -> Option<[usize; 2]> {
    match json.as_array().map(Vec::as_slice) {
        Some([height, width]) => Some([number(height)?, number(width)?]),
        Some(_) => None,
        None => number(json).map(|side| [side; 2]),
    }
}

/// Windows, strides, and whether they are padded ("same"), of a layer whose option `kernel` is the size of windows.
pub(super) fn windows(node: &Node, kernel: &str) -> Result<([usize; 2], [usize; 2], bool)> {
    let config = &node.config;
    let Some(size) = pair(&config[kernel]) else { return unsupported(node, ", without a window") };
    let stride = match &config["strides"] {
        Value::Null if kernel == "pool_size" => Some(size),
        Value::Null => Some([1; 2]),
        strides => pair(strides),
    };
    let Some(stride) = stride else { return unsupported(node, ", without strides") };
    Ok((size, stride, config["padding"] == "same"))
}

/// Height and width of an input layer.
pub(super) fn size(config: &Value) -> Option<[usize; 2]> {
    let shape = [&config["batch_shape"], &config["batch_input_shape"]].into_iter().find_map(Value::as_array);
    match shape.map(Vec::as_slice) {
        Some([_, height, width, _]) => Some([number(height)?, number(width)?]),
        _ => None,
    }
}

/// The step of an activation; none of one that changes nothing.
pub(super) fn kind_of(named: Option<Named>) -> Option<StepKind> {
    match named? {
        Named::Function(function) => Some(StepKind::Activation(function)),
        Named::Softmax => Some(StepKind::Softmax),
        Named::Linear => None,
    }
}

/// A layer behind the backbone; none of one that changes nothing.
pub(super) fn step(node: &Node, is_keras3: bool) -> Result<Option<StepKind>> {
    let config = &node.config;
    if config["data_format"] == "channels_first" {
        return unsupported(node, ", with channels first");
    }
    let is_off = |option: &str| config[option].as_bool() == Some(false);
    // Keras 3's operations and TensorFlow's functions over rows and columns.
    let over_pixels = || {
        let axis = [
            &config["axis"],
            &node.call[0][3]["axis"],
            &node.call[3]["axis"],
            &node.call["kwargs"]["axis"],
            &node.call["args"][1],
        ];
        axis.into_iter().any(|axis| *axis == serde_json::json!([1, 2]) || *axis == serde_json::json!([-3, -2]))
    };
    Ok(Some(match &*node.class {
        "GlobalAveragePooling2D" => StepKind::GlobalPool(GlobalPool::Average),
        "GlobalMaxPooling2D" => StepKind::GlobalPool(GlobalPool::Max),
        "Mean" | "math.reduce_mean" if over_pixels() => StepKind::GlobalPool(GlobalPool::Average),
        "Max" | "Amax" | "math.reduce_max" if over_pixels() => StepKind::GlobalPool(GlobalPool::Max),
        "AveragePooling2D" | "MaxPooling2D" => {
            let (kernel, stride, is_same) = windows(node, "pool_size")?;
            StepKind::Pool { is_mean: node.class == "AveragePooling2D", kernel, stride, is_same }
        }
        "Flatten" => StepKind::Flatten,
        "Reshape" if config["target_shape"].as_array().is_some_and(|shape| shape.len() == 1) => StepKind::Flatten,
        "Dense" => StepKind::Dense { units: number(&config["units"]).unwrap_or_default(), bias: !is_off("use_bias") },
        "BatchNormalization" => {
            let axis = [&config["axis"], &config["axis"][0]].into_iter().find_map(Value::as_i64).unwrap_or(-1);
            if !matches!(axis, -1 | 1 | 3) {
                return unsupported(node, ", along another axis than channels");
            }
            StepKind::BatchNorm {
                epsilon: config["epsilon"].as_f64().unwrap_or(EPSILON),
                scale: !is_off("scale"),
                center: !is_off("center"),
            }
        }
        "PReLU" => match config["shared_axes"].as_array().map(Vec::as_slice) {
            None | Some([]) => StepKind::Prelu { is_shared: false },
            Some([one, other]) if one == 1 && other == 2 => StepKind::Prelu { is_shared: true },
            _ => return unsupported(node, ", with slopes shared along other axes than rows and columns"),
        },
        _ => match activation::layer(node, is_keras3)? {
            Some(named) => return Ok(kind_of(Some(named))),
            None if node.class == "Conv2D" => return unsupported(node, ", behind the backbone"),
            None => return unsupported(node, ""),
        },
    }))
}

/// A step on pixel values: `Rescaling`, `Normalization`, and the arithmetic that `preprocess_input` leaves in a model.
pub(super) fn pixel_step(node: &Node) -> Option<PixelStep> {
    let (config, call) = (&node.config, &node.call);
    if node.class == "Rescaling" {
        return Some(PixelStep::Affine(channels(&config["scale"])?, channels(&config["offset"]).unwrap_or_default()));
    }
    if node.class == "Normalization" {
        let is_inverse = config["invert"].as_bool() == Some(true);
        if config["mean"].is_null() {
            let (name, group) = (node.name.clone(), node.group.clone());
            return Some(PixelStep::Normalization { name, group, is_inverse });
        }
        let (mean, variance) = (channels(&config["mean"])?, channels(&config["variance"])?);
        return Some(normalization(mean, variance, is_inverse));
    }
    if node.class == "__operators__.getitem" {
        let steps: Vec<&Value> =
            [&call[3], &call[0][3]].iter().map(|kwargs| &kwargs["slice_spec"][1]["step"]).collect();
        return steps.contains(&&serde_json::json!(-1)).then_some(PixelStep::Reverse);
    }
    // Keras 3 keeps the operand in the call's arguments, Keras 2 in its keywords.
    let keywords = [&call[3], &call[0][3], &call["kwargs"]];
    let operands = [&call["args"][1], &call["args"][0]].into_iter();
    let operands = operands.chain(keywords.iter().flat_map(|kwargs| ["y", "bias", "x2"].map(|name| &kwargs[name])));
    let (operand, is_first) = operands.enumerate().find_map(|(place, json)| Some((channels(json)?, place == 1)))?;
    let affine = |factor: [f64; 3], offset: [f64; 3]| Some(PixelStep::Affine(factor, offset));
    match &*node.class {
        "TrueDivide" | "Divide" | "math.truediv" | "math.divide" if !is_first => {
            affine(operand.map(|value| 1.0 / value), [0.0; 3])
        }
        "Subtract" | "math.subtract" if is_first => affine([-1.0; 3], operand),
        "Subtract" | "math.subtract" => affine([1.0; 3], operand.map(|value| -value)),
        "Multiply" | "math.multiply" => affine(operand, [0.0; 3]),
        "Add" | "math.add" | "__operators__.add" | "nn.bias_add" => affine([1.0; 3], operand),
        _ => None,
    }
}

/// `(x − mean) / √variance`, or its inverse, as Keras has it.
pub(in super::super) fn normalization(mean: [f64; 3], variance: [f64; 3], is_inverse: bool) -> PixelStep {
    let deviation = variance.map(|variance| variance.sqrt().max(1e-7));
    let by_channel = |f: fn(f64, f64) -> f64| [0, 1, 2].map(|c| f(mean[c], deviation[c]));
    if is_inverse {
        PixelStep::Affine(deviation, mean)
    } else {
        PixelStep::Affine(deviation.map(|deviation| 1.0 / deviation), by_channel(|mean, deviation| -mean / deviation))
    }
}

/// A number for all channels, or three, in lists or as a tensor's value.
fn channels(json: &Value) -> Option<[f64; 3]> {
    match json {
        Value::Number(number) => Some([number.as_f64()?; 3]),
        Value::Array(items) => match &items[..] {
            [one] => channels(one),
            [red, green, blue] => Some([red.as_f64()?, green.as_f64()?, blue.as_f64()?]),
            _ => None,
        },
        Value::Object(tensor) if tensor.get("class_name")? == "__tensor__" => channels(&json["config"]["value"]),
        Value::Object(_) => {
            channels(json.get("config")?.get("value")?).filter(|_| json["class_name"] != "__keras_tensor__")
        }
        _ => None,
    }
}
