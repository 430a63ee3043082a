//! Keras's weight files: `.keras`, `.weights.h5`, whole-model `.h5` of Keras 2 and 3, and the official ImageNet file,
//! which Keras 1 named.
//!
//! Theory: whatever the file's layout, an Xception has 34 separable convolutions, 6 other convolutions, 40 batch
//! norms and some dense layers, a combination that no other network has. So the arrays of the whole file are gathered into layers
//! by the group they lie in, wherever a backbone may be nested, sorted by kind, and matched with the network: by name
//! where Keras's names are there (`block3_sepconv1`), else by number. Shortcuts have numbers only. The numbers count
//! in the order of `model.layers`, in which a block's shortcut follows its separable convolutions; only Keras 1
//! numbered the batch norms by creation, a block's shortcut first.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use hdf5_pure::{AttrValue, File};

use super::PYTORCH;
use super::assumed::{self, untold};
use super::config::Config;
use super::fold::{Head, Told, fold, is_one_way, lay_out};
use super::layers::{Found, Kind, Layers, MAX_RATIO, damaged};
use super::safetensors::{Meta, Model, Source};
use crate::error::{Error, Result};
use crate::network::layer::{Layer, Shape};
use crate::network::{Dense, FEATURES, MAX_DENSE, Network, Preset, head};
use crate::resize::Preprocessing;

/// Keras's default ε, where no config tells.
const EPSILON: f64 = 1e-3;

/// The side of the input where no config tells.
const SIDE: usize = 299;

/// Reads a head: the dense layers of a model that has nothing else, or of a whole one.
///
/// # Errors
/// As [`read`].
pub fn read_head(file: Vec<u8>) -> Result<Head> {
    let (layers, config) = if file.starts_with(b"PK") { open_archive(file) } else { open_h5(file) }?;
    // A model has forty batch norms before its head.
    let norms = layers.of(Kind::BatchNorm).len();
    if norms != if layers.of(Kind::SeparableConv).is_empty() { 0 } else { 40 } {
        return Err(Error::Weights("a batch norm is not part of an Xception's head".to_owned()));
    }
    head(&config.as_deref().map(Config::parse).transpose()?.unwrap_or_default(), &layers)
}

/// The contents of a `.keras` archive: `config.json` and `model.weights.h5` in a zip.
fn open_archive(file: Vec<u8>) -> Result<(Layers, Option<String>)> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::Weights(format!("the .keras archive is damaged or cut short ({error}); fetch it again"))
    };
    let file_len = file.len() as u64;
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(|error| damaged(&error))?;
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let entry = archive.by_name(name).map_err(|error| match error {
            zip::result::ZipError::FileNotFound => {
                Error::Format(format!("this zip archive is not a .keras file: it has no {name}. {PYTORCH}"))
            }
            error => damaged(&error),
        })?;
        let limit = file_len.saturating_mul(MAX_RATIO as u64);
        let (size, mut bytes) = (entry.size(), Vec::new());
        let mut fits = |size: u64| usize::try_from(size).is_ok_and(|size| bytes.try_reserve_exact(size).is_ok());
        if size > limit || !fits(size) {
            return Err(damaged(&format!("{name} claims {size} bytes")));
        }
        entry.take(limit).read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
        Ok(bytes)
    };
    let config = String::from_utf8(entry("config.json")?).map_err(|error| damaged(&error))?;
    let weights = entry("model.weights.h5")?;
    drop(archive);
    Ok((open_h5(weights)?.0, Some(config)))
}

/// A file's arrays, and the JSON of its config where it has one: of an `.h5` or `.weights.h5` file.
fn open_h5(bytes: Vec<u8>) -> Result<(Layers, Option<String>)> {
    let length = bytes.len();
    let file = File::from_bytes(bytes).map_err(damaged)?;
    let attributes = file.root().attrs().map_err(damaged)?;
    let config = attributes.get("model_config").and_then(AttrValue::as_str).map(str::to_owned);
    Ok((Layers::gather(file, length)?, config))
}

/// Reads a whole model, or one without its head.
///
/// # Errors
/// [`Error::Format`] if it is another kind of zip, [`Error::Weights`] if it cannot be used.
pub fn read(file: Vec<u8>) -> Result<Model> {
    let is_archive = file.starts_with(b"PK");
    let (layers, config) = if is_archive { open_archive(file) } else { open_h5(file) }?;
    let config = &config.as_deref().map(Config::parse).transpose()?.unwrap_or_default();
    let preprocessing = match config.rescaling {
        Some((scale, offset)) => {
            Preprocessing { scale: scale as f32, offset: offset as f32, ..Preprocessing::default() }
        }
        None => Preprocessing::default(),
    };
    let input_size = config.input_size.unwrap_or([SIDE; 2]);
    let network = Network::backbone(input_size, Preset::Keras)?;
    let mut tensors = backbone(&network, &layers, config.epsilon.unwrap_or(EPSILON))?;
    let head = head(config, &layers)?;
    tensors.extend(head.tensors);
    let mut assumed = untold([
        (config.input_size.is_some(), assumed::INPUT_SIZE, format!("{SIDE}×{SIDE}")),
        (config.rescaling.is_some(), assumed::PIXELS, "−1 to 1".to_owned()),
        (false, assumed::FILTER, preprocessing.filter.to_string()),
        (false, assumed::FIT, preprocessing.fit.to_string()),
        (config.epsilon.is_some(), assumed::EPSILON, EPSILON.to_string()),
    ]);
    assumed.extend(head.assumed);
    let kind = if is_archive { "Keras (.keras)" } else { "Keras (.h5)" };
    let source = Source { kind: kind.to_owned(), ..Source::default() };
    let (preset, labels) = (Preset::Keras, Vec::new());
    let meta = Meta { preset, input_size, head: head.dense, labels, preprocessing, source, assumed };
    Ok(Model { meta, tensors })
}

/// The dense layers of a file and their tensors.
fn head(config: &Config, layers: &Layers) -> Result<Head> {
    let (dense, found, is_ordered) = chain(config, layers.of(Kind::Dense))?;
    let mut tensors = Vec::new();
    for (layer, found) in head::layers(Shape::new(1, 1, FEATURES), &dense)?.iter().zip(&found) {
        let kernel = layers.array(layer, found, "kernel")?;
        // A layer may go without a bias.
        let bias = found.arrays.contains_key("bias").then(|| layers.array(layer, found, "bias"));
        tensors.extend(lay_out(layer, &kernel, bias.transpose()?));
    }
    let hidden_activation = !config.head.is_empty();
    let Config { mean, final_activation, .. } = *config;
    Ok(Head::new(dense, tensors, Told { mean, order: is_ordered, hidden_activation, final_activation }))
}

/// The dense layers as the config lists them, by group or name; else chained by their shapes, with ReLU between them, and whether
/// they can follow one another in that order only.
fn chain(config: &Config, found: &[Found]) -> Result<(Vec<Dense>, Vec<Found>, bool)> {
    if found.len() > MAX_DENSE {
        return Err(Error::Weights(format!("{} dense layers are more than the {MAX_DENSE} supported", found.len())));
    }
    let mut left: Vec<&Found> = found.iter().collect();
    let (mut head, mut layers): (Vec<Dense>, Vec<Found>) = (Vec::new(), Vec::new());
    let mut inputs = FEATURES;
    let mut is_ordered = true;
    let stopped = |head: &[Dense], left: usize| {
        Error::Weights(format!(
            "its {} dense layers do not form a head behind the backbone's 2048 features: {} follow one another and {left} \
             are left",
            found.len(),
            head.len(),
        ))
    };
    loop {
        let listed = config.head.get(head.len());
        if left.is_empty() && listed.is_none() {
            return Ok((head, layers, is_ordered));
        }
        if listed.is_none() && !config.head.is_empty() {
            return Err(stopped(&head, left.len()));
        }
        let fits = |layer: &Found| {
            let shape = &layer.arrays["kernel"].shape;
            shape[0] == inputs && listed.is_none_or(|(dense, _)| shape[1] == dense.units)
        };
        let is = |test: &dyn Fn(&Found, &str, &str) -> bool| {
            left.iter().position(|layer| listed.is_some_and(|(dense, group)| test(layer, &dense.name, group)))
        };
        // Keras 3 numbers its groups (dense_1, …) regardless of the layers' names.
        let by_group = is(&|layer, _, group| layer.path == group);
        let by_name = || is(&|layer, name, _| layer.name == name && !layer.path.starts_with("/layers/"));
        let by_shape = || {
            let shape = |layer: &&Found| (layer.arrays["kernel"].shape[0], layer.arrays["kernel"].shape[1]);
            let shapes: Vec<_> = left.iter().map(shape).collect();
            is_ordered &= is_one_way(&shapes, inputs);
            left.iter().position(|layer| fits(layer))
        };
        let position = by_group.or_else(by_name).or_else(by_shape);
        let Some(position) = position.filter(|&position| fits(left[position])) else {
            return Err(stopped(&head, left.len()));
        };
        let layer = left.remove(position).clone();
        inputs = layer.arrays["kernel"].shape[1];
        if let Some((dense, _)) = listed {
            head.push(dense.clone());
        } else {
            head.iter_mut().for_each(|dense| dense.relu = true);
            head.push(Dense { name: layer.name.clone(), units: inputs, relu: false });
        }
        layers.push(layer);
    }
}

/// The folded tensors of all convolutions.
fn backbone(network: &Network, layers: &Layers, epsilon: f64) -> Result<Vec<Vec<f32>>> {
    let separable: Vec<&Layer> = network.layers.iter().filter(|layer| layer.is_separable()).collect();
    let plain: Vec<&Layer> = network.layers.iter().filter(|layer| layer.batch_norm && !layer.is_separable()).collect();
    let all: Vec<&Layer> = network.layers.iter().filter(|layer| layer.batch_norm).collect();

    let mut norm_order = all.clone();
    if layers.of(Kind::BatchNorm).iter().any(|found| found.name.starts_with("batchnormalization")) {
        // Keras 1: the shortcut's comes before the block's two.
        for at in 2..norm_order.len() {
            if norm_order[at].is_pointwise() {
                norm_order[at - 2..=at].rotate_right(1);
            }
        }
    }
    let found = |kind, what, order: &[&'_ Layer], ending| -> Result<BTreeMap<String, Found>> {
        // Keras gives shortcuts no names.
        let name = |layer: &&Layer| (!layer.is_pointwise()).then(|| format!("{}{ending}", layer.name));
        let names: Vec<Option<String>> = order.iter().map(name).collect();
        let found = layers.matched(kind, what, &names)?;
        Ok(order.iter().map(|layer| layer.name.clone()).zip(found).collect())
    };
    let mut kernels = found(Kind::SeparableConv, "separable convolutions", &separable, "")?;
    kernels.extend(found(Kind::Conv, "other convolutions", &plain, "")?);
    let norms = found(Kind::BatchNorm, "batch norms", &norm_order, "_bn")?;

    let mut tensors = Vec::new();
    for layer in all {
        let (found, norm) = (&kernels[&layer.name], &norms[&layer.name]);
        tensors.extend(fold(layer, epsilon, |name| {
            layers.array(layer, if found.arrays.contains_key(name) { found } else { norm }, name)
        })?);
    }
    Ok(tensors)
}
