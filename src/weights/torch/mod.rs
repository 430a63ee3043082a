//! timm's `legacy_xception`: safetensors of PyTorch arrays, such as `timm/legacy_xception.tf_in1k` on the Hugging Face hub.
//!
//! Convolutions are OIHW and dense layers `[out, in]`; blocks are counted without the stem, their layers by place in
//! `rep`. ε, the padding of max pooling and the preprocessing are the preset's.

use safetensors::{Dtype, SafeTensors};

use super::assumed::{self, untold};
use super::fold::{finite, fold, is_one_way};
use super::head::{Head, Prefix, Told, Trained};
use super::keras::counting;
use super::safetensors::{Meta, Model, Source};
use crate::error::{Error, Result};
use crate::network::activation::Function;
use crate::network::layer::Layer;
use crate::network::{Network, Output, Preset};
use crate::resize::{Filter, Fit, Preprocessing};

const EPSILON: f64 = 1e-5;

/// The most arrays of a head.
const MAX_ARRAYS: usize = 32;

/// An array that every `legacy_xception` has, and no other model.
const BACKBONE: &str = "block1.rep.0.conv1.weight";

/// Input 299, `crop_pct` 0.8975: resized to 333 and cropped; bicubic, mean and standard deviation 0.5.
const SIDE: usize = 299;
const CROP: f64 = 0.8975;

/// Reads a file of timm's `legacy_xception`, of any number of classes or none.
///
/// # Errors
/// [`Error::Format`] if it is another model's, [`Error::Weights`] if it cannot be used.
pub fn read(file: &[u8]) -> Result<Model> {
    let tensors = open(file)?;
    if tensors.tensor(BACKBONE).is_err() {
        return Err(Error::Format(
            "this safetensors file is neither this project's nor timm's legacy_xception: give the model's original file"
                .to_owned(),
        ));
    }
    let mut folded = Vec::new();
    let backbone = Network::backbone([SIDE; 2], Preset::Timm)?;
    for (layer, conv, norm) in names(backbone.layers.iter().filter(|layer| layer.batch_norm)) {
        folded.extend(fold(layer, EPSILON, |array: &'static str| {
            let name = match array {
                "kernel" => format!("{conv}.weight"),
                "depthwise_kernel" => format!("{conv}.conv1.weight"),
                "pointwise_kernel" => format!("{conv}.pointwise.weight"),
                "bias" => format!("{conv}.bias"),
                "gamma" => format!("{norm}.weight"),
                "beta" => format!("{norm}.bias"),
                "moving_mean" => format!("{norm}.running_mean"),
                _ => format!("{norm}.running_var"),
            };
            let is_there = tensors.tensor(&name).is_ok() || array != "bias";
            is_there.then(|| array_of(&tensors, layer, array, &name)).transpose()
        })?);
    }
    let head = head(&tensors, &Prefix::none(backbone.features()))?;
    folded.extend(head.tensors);
    let (filter, fit) = (Filter::Bicubic, Fit::Crop);
    let mut assumed = untold([
        (false, assumed::INPUT_SIZE, format!("{SIDE}×{SIDE}")),
        (false, assumed::PIXELS, "−1 to 1".to_owned()),
        (false, assumed::FILTER, filter.to_string()),
        (false, assumed::FIT, format!("{fit} to {CROP}")),
    ]);
    assumed.extend(head.assumed);
    let meta = Meta {
        preset: Preset::Timm,
        input_size: [SIDE; 2],
        head: head.layers,
        output: head.output,
        is_logits: head.is_logits,
        labels: Vec::new(),
        preprocessing: Preprocessing { filter, fit, crop: CROP, ..Preprocessing::default() },
        assumed,
        source: Source { kind: "timm (.safetensors)".to_owned(), ..Source::default() },
    };
    Ok(Model { meta, tensors: folded })
}

/// Reads a head: the linear layers of a PyTorch model that has nothing else, or of a whole timm model.
///
/// # Errors
/// [`Error::Weights`] if they do not follow one another, or there is something else.
pub fn read_head(file: &[u8], prefix: &Prefix) -> Result<Head> {
    head(&open(file)?, prefix)
}

fn open(file: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(file).map_err(|error| {
        Error::Weights(format!("the safetensors file is damaged or cut short ({error}); fetch it again"))
    })
}

/// The dense layers: all matrices, `[out, in]`, in the order in which their shapes follow one another from the 2048
/// features on, with ReLU between them. A whole model has one.
fn head(tensors: &SafeTensors, prefix: &Prefix) -> Result<Head> {
    let whole = tensors.tensor(BACKBONE).is_ok();
    let arrays: Vec<&str> = tensors.names().into_iter().filter(|name| !whole || name.starts_with("fc.")).collect();
    if arrays.len() > MAX_ARRAYS {
        return Err(Error::Weights(format!("its {} arrays are more than a head of linear layers has", arrays.len())));
    }
    let matrix = |name: &&str| {
        let [units, inputs] = *tensors.tensor(name).ok()?.shape() else { return None };
        Some((name.strip_suffix(".weight")?.to_owned(), units, inputs))
    };
    let mut left: Vec<(String, usize, usize)> = arrays.iter().filter_map(matrix).collect();
    left.sort_by(|a, b| counting(&a.0).cmp(&counting(&b.0)));
    let mut trained = prefix.pooled();
    let mut dense: Vec<String> = Vec::new();
    let mut features = prefix.pooled_len();
    let mut is_ordered = true;
    while let Some(next) = left.iter().position(|&(_, _, inputs)| inputs == features) {
        let shapes: Vec<_> = left.iter().map(|&(_, units, inputs)| (inputs, units)).collect();
        is_ordered &= is_one_way(&shapes, features);
        let (name, units, inputs) = left.remove(next);
        if let Some(before) = dense.last() {
            trained.push(Trained::activation(format!("{before}.activation"), Function::Relu));
        }
        let kernel = transposed(tensors, &format!("{name}.weight"), &[units, inputs])?;
        let bias = format!("{name}.bias");
        let bias = tensors.tensor(&bias).is_ok().then(|| transposed(tensors, &bias, &[units])).transpose()?;
        trained.push(Trained::dense(&name, units, kernel, bias.unwrap_or_default()));
        dense.push(name);
        features = units;
    }
    let is_dense = |name: &str| {
        let layer = name.strip_suffix(".weight").or(name.strip_suffix(".bias"));
        dense.iter().any(|dense| layer == Some(dense)) || left.iter().any(|(left, ..)| layer == Some(left))
    };
    if let Some(name) = arrays.iter().find(|name| !is_dense(name)) {
        return Err(Error::Weights(format!("{name} is not part of a head of linear layers")));
    }
    if let Some((name, ..)) = left.first() {
        let features = prefix.pooled_len();
        return Err(Error::Weights(format!("{name} does not follow from the backbone's {features} features")));
    }
    let told = Told {
        pooling: prefix.is_told(),
        order: is_ordered,
        hidden_activation: false,
        output: None,
        is_logits: true,
        single: Output::Sigmoid,
    };
    Head::new(prefix.features(), trained, told)
}

/// timm's names of each convolution and its batch norm. A block's `rep` counts its activation functions, convolutions and batch norms;
/// convolutions outside of blocks, which have their ReLU after them, are counted by themselves.
fn names<'a>(layers: impl Iterator<Item = &'a Layer>) -> impl Iterator<Item = (&'a Layer, String, String)> {
    let (mut outside, mut blocks, mut block, mut place) = (0, 0, "", 0);
    layers.map(move |layer| {
        if layer.activation_after.is_some() {
            outside += 1;
            return (layer, format!("conv{outside}"), format!("bn{outside}"));
        }
        if layer.section.block != block {
            (blocks, block, place) = (blocks + 1, layer.section.block, 0);
        }
        if layer.is_pointwise() {
            return (layer, format!("block{blocks}.skip"), format!("block{blocks}.skipbn"));
        }
        let at = place + usize::from(layer.activation_before.is_some());
        place = at + 2;
        (layer, format!("block{blocks}.rep.{at}"), format!("block{blocks}.rep.{}", at + 1))
    })
}

/// One array in Keras's layout.
fn array_of(tensors: &SafeTensors, layer: &Layer, array: &str, name: &str) -> Result<Vec<f32>> {
    let shape = layer.parameters().into_iter().find(|(parameter, _)| *parameter == array);
    let shape = shape.map_or_else(|| vec![layer.output.channels], |(_, shape)| shape);
    // Height and width of the window, inputs and outputs; a depthwise window has one input.
    let [height, width, inputs, outputs] = match *shape {
        [height, width, channels, 1] if array == "depthwise_kernel" => [height, width, 1, channels],
        [height, width, inputs, outputs] => [height, width, inputs, outputs],
        _ => return transposed(tensors, name, &shape),
    };
    let values = values(tensors, name, &[outputs, inputs, height, width])?;
    let mut ours = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(height * width).enumerate() {
        let (output, input) = (row / inputs, row % inputs);
        for (window, &value) in values.iter().enumerate() {
            ours[(window * inputs + input) * outputs + output] = value;
        }
    }
    Ok(ours)
}

/// A matrix `[out, in]` as `[in, out]`, or a vector.
fn transposed(tensors: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let rows = values(tensors, name, shape)?;
    let [outputs, inputs] = *shape else { return Ok(rows) };
    let mut columns = vec![0.0; rows.len()];
    for (output, row) in rows.chunks_exact(inputs).enumerate() {
        row.iter().enumerate().for_each(|(input, &value)| columns[input * outputs + output] = value);
    }
    Ok(columns)
}

/// The values of an array, which must have this shape.
fn values(tensors: &SafeTensors, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
    let Ok(tensor) = tensors.tensor(name) else { return Err(Error::Weights(format!("{name} is missing"))) };
    if tensor.dtype() != Dtype::F32 || tensor.shape() != expected {
        let (dtype, found) = (tensor.dtype(), tensor.shape());
        return Err(Error::Weights(format!("{name} is {dtype} {found:?} and must be F32 {expected:?}")));
    }
    finite(name, bytemuck::pod_collect_to_vec(tensor.data()))
}
