//! PyTorch's files of Xceptions as Cadene's `pretrained-models` and timm name their layers: `.safetensors`, and
//! checkpoints (`.pth`, `.pt`, `.ckpt`, `.bin`) of any form, such as those of FaceForensics++, DeepfakeBench and Lightning.
//!
//! The model may lie anywhere in the file, behind any prefix: it is found by the names of its layers (`names.rs`). Convolutions are OIHW
//! and dense layers `[out, in]`. ε, the padding of max pooling and the preprocessing are the architecture's. Nothing of a pickle is
//! executed (`pickle.rs`).

mod head;
mod names;
mod pickle;
mod tensors;

use std::collections::BTreeSet;

use head::{chain, head_of};
use names::{architecture, names, prefixes};
use tensors::Tensors;
pub use tensors::is_archive;

use super::Listed;
use super::assumed::{self, Assumption, untold};
use super::fold::fold;
use super::head::{Head, Prefix};
use super::safetensors::{Meta, Model, Source};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::network::layer::Layer;
use crate::network::{Architecture, Network};
use crate::resize::{Filter, Fit, Preprocessing};

/// PyTorch's ε, where the architecture has no other.
const EPSILON: f64 = 1e-5;

/// The most arrays of a head by itself.
const MAX_ARRAYS: usize = 32;

/// The input of timm's evaluation: bicubic, mean and standard deviation 0.5.
const SIDE: usize = 299;

/// The ε of a backbone's batch norms, and the share of a photo's centre that timm's evaluation keeps (`crop_pct`); xception65's is that of
/// `ra3_in1k`.
fn constants(architecture: Architecture) -> (f64, f64) {
    match architecture {
        _ if architecture.is_xception() => (EPSILON, 0.8975),
        Architecture::Xception41 | Architecture::Xception71 => (1e-3, 0.903),
        Architecture::Xception65 | Architecture::Xception65p => (1e-3, 0.94),
        Architecture::Xception41p => (EPSILON, 0.94),
        _ => (1e-3, 0.875),
    }
}

/// Reads a file with an Xception of any number of classes or none; `size` is the input's height and width, where it is given.
///
/// # Errors
/// [`Error::Format`] if it is another model's, [`Error::Weights`] if it cannot be used, [`Error::TooLarge`] if it has more
/// tensors than the limit.
pub fn read(file: &[u8], size: Option<[usize; 2]>, limits: &Limits) -> Result<Model> {
    let tensors = Tensors::read(file, limits)?;
    let (prefix, others) = prefix(&tensors)?;
    let architecture = architecture(&tensors, &prefix)?;
    let (epsilon, crop) = constants(architecture);
    let backbone = Network::backbone(size.unwrap_or([SIDE; 2]), architecture)?;
    let (mut folded, mut used, mut modules) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, arrays) in names(&backbone, architecture) {
        let layer = &backbone.layers[index];
        folded.extend(fold(layer, epsilon, |array: &'static str| {
            let Some((_, name)) = arrays.iter().find(|(of, _)| *of == array) else { return Ok(None) };
            let name = format!("{prefix}{name}");
            let is_there = tensors.get(&name).is_some() || array != "bias";
            let values = is_there.then(|| array_of(&tensors, layer, array, &name)).transpose();
            modules.extend(name.rsplit_once('.').map(|(module, _)| format!("{module}.")));
            used.insert(name);
            values
        })?);
    }
    // Layers of the backbone have no other arrays, and there are no more blocks.
    modules.extend((0..10).map(|digit| format!("{prefix}block{digit}")));
    modules.insert(format!("{prefix}{}", names::BLOCK));
    let auxiliary = format!("{prefix}{}", names::AUXILIARY);
    let read = used.len();
    used.extend(tensors.names().filter(|name| name.starts_with(&auxiliary)).map(str::to_owned));
    let has_auxiliary = used.len() > read;
    let is_of_backbone = |name: &&str| modules.iter().any(|module| name.starts_with(&**module));
    if let Some(name) = tensors.names().find(|name| !used.contains(*name) && !is_count(name) && is_of_backbone(name)) {
        return Err(Error::Weights(format!("{name} is part of the backbone, and none of Xception's")));
    }
    let (head, mut ignored) = head_of(&tensors, &prefix, used, &Prefix::none(backbone.features()))?;
    ignored.extend(has_auxiliary.then(|| auxiliary.trim_end_matches('.').to_owned()));
    folded.extend(head.tensors);
    let (filter, fit) = (Filter::Bicubic, Fit::Crop);
    let mut assumed = untold([
        (size.is_some(), assumed::INPUT_SIZE, format!("{SIDE}×{SIDE}")),
        (false, assumed::PIXELS, "−1 to 1".to_owned()),
        (false, assumed::FILTER, filter.to_string()),
        (false, assumed::FIT, format!("{fit} to {crop}")),
    ]);
    assumed.extend(others.map(|others| Assumption { name: assumed::WEIGHTS.to_owned(), value: others }));
    assumed.extend(head.assumed);
    let kind = if file.starts_with(b"PK") || tensors::legacy_magic(file).is_some() {
        "PyTorch"
    } else {
        "PyTorch (.safetensors)"
    };
    let meta = Meta {
        architecture,
        input_size: size.unwrap_or([SIDE; 2]),
        front: Vec::new(),
        head: head.layers,
        output: head.output,
        is_logits: head.is_logits,
        labels: Vec::new(),
        preprocessing: Preprocessing { filter, fit, crop, ..Preprocessing::default() },
        assumed,
        ignored,
        source: Source { kind: kind.to_owned(), ..Source::default() },
    };
    Ok(Model { meta, tensors: folded })
}

/// The tensors of a file, before they are matched with a network.
pub(super) fn arrays(file: &[u8]) -> Result<Vec<Listed>> {
    let tensors = Tensors::read(file, &Limits::default())?;
    let shape = |name| tensors.get(name).map_or(Vec::new(), |tensor| tensor.shape.clone());
    Ok(tensors.names().map(|name| (name.to_owned(), shape(name), tensors.values(name, &shape(name)))).collect())
}

/// Reads a head: the linear layers and batch norms of a PyTorch model that has nothing else, or of a whole Xception.
///
/// # Errors
/// [`Error::Weights`] if they do not follow one another, or there is something else.
pub fn read_head(file: &[u8], prefix: &Prefix, limits: &Limits) -> Result<Head> {
    let tensors = Tensors::read(file, limits)?;
    if let Ok((root, _)) = self::prefix(&tensors) {
        let architecture = architecture(&tensors, &root)?;
        let backbone = Network::backbone([SIDE; 2], architecture)?;
        let arrays = names(&backbone, architecture).into_iter().flat_map(|(_, arrays)| arrays);
        let used = arrays.map(|(_, name)| format!("{root}{name}")).collect();
        return head_of(&tensors, &root, used, prefix).map(|(head, _)| head);
    }
    let arrays: Vec<&str> = tensors.names().filter(|name| !is_count(name)).collect();
    if arrays.len() > MAX_ARRAYS {
        return Err(Error::Weights(format!("its {} arrays are more than a head of linear layers has", arrays.len())));
    }
    let (head, used) = chain(&tensors, &arrays, prefix, "")?;
    match arrays.iter().find(|name| !used.contains(**name)) {
        Some(name) => Err(Error::Weights(format!("{name} is not part of a head of linear layers"))),
        None => Ok(head),
    }
}

/// The prefix of an Xception's names, and which of several it is of.
fn prefix(tensors: &Tensors) -> Result<(String, Option<String>)> {
    let mut all = prefixes(tensors);
    // An average over the steps of training is not what was validated, unless it is all there is.
    all.sort_by_key(|prefix| prefix.to_lowercase().contains("ema"));
    let first = all.first().cloned().ok_or_else(|| {
        Error::Format(
            "this PyTorch file has no Xception whose layers have the names of timm's or Cadene's (block1.rep.0.conv1.weight …, \
             blocks.0.stack.conv1.conv_dw.weight …), nor an Inception V3 (Mixed_5b.branch1x1.conv.weight …): give the model's original file"
                .to_owned(),
        )
    })?;
    let of = (all.len() > 1).then(|| {
        let names: Vec<&str> = all.iter().map(|prefix| prefix.trim_end_matches('.')).collect();
        format!(
            "those of {} (the file has {})",
            if names[0].is_empty() { "the root" } else { names[0] },
            names.join(", ")
        )
    });
    Ok((first, of))
}

/// Whether a tensor counts batches, which no model needs.
fn is_count(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

/// One array in Keras's layout.
fn array_of(tensors: &Tensors, layer: &Layer, array: &str, name: &str) -> Result<Vec<f32>> {
    let shape = layer.parameters().into_iter().find(|(parameter, _)| *parameter == array);
    let shape = shape.map_or_else(|| vec![layer.output.channels], |(_, shape)| shape);
    // Height and width of the window, inputs and outputs; a depthwise window has one input.
    let [height, width, inputs, outputs] = match *shape {
        [height, width, channels, 1] if array == "depthwise_kernel" => [height, width, 1, channels],
        [height, width, inputs, outputs] => [height, width, inputs, outputs],
        _ => return transposed(tensors, name, &shape),
    };
    // Pointwise weights of old files are matrices.
    let is_matrix = [height, width] == [1, 1] && tensors.get(name).is_some_and(|tensor| tensor.shape.len() == 2);
    let expected = if is_matrix { &[outputs, inputs][..] } else { &[outputs, inputs, height, width] };
    let values = tensors.values(name, expected)?;
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
fn transposed(tensors: &Tensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let rows = tensors.values(name, shape)?;
    let [outputs, inputs] = *shape else { return Ok(rows) };
    let mut columns = vec![0.0; rows.len()];
    for (output, row) in rows.chunks_exact(inputs).enumerate() {
        row.iter().enumerate().for_each(|(input, &value)| columns[input * outputs + output] = value);
    }
    Ok(columns)
}
