//! Keras's weight files: `.keras`, `.weights.h5`, whole-model `.h5` of Keras 2 and 3, the official ImageNet file, which Keras 1
//! named, and TensorFlow.js's layers models.
//!
//! Theory: whatever the file's layout, an Xception has 34 separable convolutions, 6 other convolutions, 40 batch
//! norms, an Inception V3 94 convolutions and as many batch norms, combinations that no other network has. So the arrays of the whole file are gathered into layers
//! by the group they lie in, wherever a backbone may be nested, sorted by kind, and matched with the network: by name
//! where Keras's names are there (`block3_sepconv1`), else by number. Shortcuts have numbers only. The numbers count
//! in the order of `model.layers`, in which a block's shortcut follows its separable convolutions; only Keras 1
//! numbered the batch norms by creation, a block's shortcut first. The order of an Inception V3's `model.layers` is by depth (`order.rs`).
//!
//! What follows the backbone is what the model's config lists; in a file without one, its dense layers as their shapes follow
//! one another.

mod activation;
mod backbone;
mod config;
mod graph;
mod hub;
mod layers;
mod order;
mod shards;

use std::io::{Cursor, Read};

use hdf5_pure::{AttrValue, File};

use super::Listed;
use super::assumed::{self, untold};
use super::head::{Head, Prefix, Told, Trained, is_one_way};
use super::safetensors::{Meta, Model, Source};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::network::activation::Function;
use crate::network::layer::{Operation, Shape, Window};
use crate::network::{FEATURES, FrontLayer, Network, Output};
use crate::resize::Preprocessing;
use backbone::backbone;
use config::{Config, EPSILON, PixelStep, Step, StepKind, normalization};
use layers::{Array, Found, Kind, Layers, MAX_RATIO, damaged};
use shards::Shards;
pub use shards::names as shard_names;

/// The side of the input where no config tells.
const SIDE: usize = 299;

/// The most dense layers of a file without a config.
const MAX_DENSE: usize = 16;

/// A file's layers, and its config where it has one.
struct Opened {
    layers: Layers,
    config: Config,
}

/// Opens a `.keras` archive, `config.json` and `model.weights.h5` in a zip; an `.h5` or `.weights.h5` file; or a TensorFlow.js model.
fn open(file: Vec<u8>, limits: &Limits) -> Result<Opened> {
    if file.starts_with(b"{") {
        let shards = Shards::read(file, limits)?;
        let config = Config::parse(&shards.config, shards.training.as_deref())?;
        return Ok(Opened { layers: Layers::of_shards(shards), config });
    }
    if !file.starts_with(b"PK") {
        let (layers, config, training) = open_h5(file, limits)?;
        let config = config.map(|config| Config::parse(&config, training.as_deref()));
        return Ok(Opened { layers, config: config.transpose()?.unwrap_or_default() });
    }
    let damaged = |error: &dyn std::fmt::Display| {
        Error::Weights(format!("the .keras archive is damaged or cut short ({error}); fetch it again"))
    };
    let file_len = file.len() as u64;
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(|error| damaged(&error))?;
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let entry = archive.by_name(name).map_err(|error| match error {
            zip::result::ZipError::FileNotFound => {
                Error::Format(format!("this zip archive is neither a .keras file nor PyTorch's: it has no {name}"))
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
    Ok(Opened { layers: open_h5(weights, limits)?.0, config: Config::parse(&config, None)? })
}

/// Reads a model's config alone, as a file has it.
///
/// # Errors
/// As [`read`].
#[doc(hidden)]
pub fn check_config(json: &str) -> Result<()> {
    Config::parse(json, None).map(drop)
}

/// The arrays of a file, before they are matched with a network.
pub(super) fn arrays(file: Vec<u8>) -> Result<Vec<Listed>> {
    Ok(open(file, &Limits::default())?.layers.all().collect())
}

/// A file's arrays, and the JSON of its config and of its training where it has them.
fn open_h5(bytes: Vec<u8>, limits: &Limits) -> Result<(Layers, Option<String>, Option<String>)> {
    let length = bytes.len();
    let file = File::from_bytes(bytes).map_err(damaged)?;
    let attributes = file.root().attrs().map_err(damaged)?;
    let text = |name: &str| attributes.get(name).and_then(AttrValue::as_str).map(str::to_owned);
    let (config, training) = (text("model_config"), text("training_config"));
    Ok((Layers::gather(file, length, limits)?, config, training))
}

/// Reads a head: the layers of a model that has nothing else, or those behind the backbone of a whole one. `prefix` are those that the
/// model has in front of it.
///
/// # Errors
/// As [`read`].
pub fn read_head(file: Vec<u8>, prefix: Prefix, limits: &Limits) -> Result<Head> {
    let mut opened = open(file, limits)?;
    if !opened.config.is_there {
        // A model has as many batch norms before its head.
        let norms = opened.layers.of(Kind::BatchNorm).len();
        let expected = match opened.layers.backbone() {
            Some(architecture) => {
                let layers = Network::backbone([SIDE; 2], architecture)?.layers;
                layers.iter().filter(|layer| layer.batch_norm).count()
            }
            None => 0,
        };
        if norms != expected {
            return Err(Error::Weights(
                "its batch norms are not only those of the backbone, and weights alone do not tell where the others \
                 belong: give the whole model (.keras or .h5)"
                    .to_owned(),
            ));
        }
    }
    head(&mut opened, prefix)
}

/// Reads a whole model, or one without its head; `size` is the input's height and width, where it is given.
///
/// # Errors
/// [`Error::Format`] if it is another kind of zip, [`Error::Weights`] if it cannot be used, [`Error::TooLarge`] if it has more arrays
/// than the limit.
pub fn read(file: Vec<u8>, size: Option<[usize; 2]>, limits: &Limits) -> Result<Model> {
    let kind = match file.first() {
        Some(b'P') => "Keras (.keras)",
        Some(b'{') => "TensorFlow.js",
        _ => "Keras (.h5)",
    };
    let mut opened = open(file, limits)?;
    let front = opened.config.front(size)?;
    let input_size = front.size.unwrap_or([SIDE; 2]);
    let Some(architecture) = opened.config.backbone.or(opened.layers.backbone()) else {
        let convolutions = opened.layers.of(Kind::Conv).len();
        return Err(Error::Weights(format!(
            "this is not a whole Xception or Inception V3: it has no separable convolutions, and {convolutions} others; give a model \
             that keras.applications.Xception or InceptionV3 is part of, or give this file as a head"
        )));
    };
    let network = Network::backbone(FrontLayer::output(&front.layers, input_size), architecture)?;
    let head = head(&mut opened, Prefix::none(network.features()))?;
    let Opened { mut layers, config } = opened;
    let preprocessing = preprocessing(&config.pixels, &mut layers)?;
    let mut tensors = backbone(&network, &layers, &config)?;
    tensors.extend(head.tensors);
    let told = preprocessing.is_some();
    let mut preprocessing = preprocessing.unwrap_or_default();
    if let Some((filter, fit)) = front.photo {
        (preprocessing.filter, preprocessing.fit) = (filter, fit);
    }
    let mut assumed = untold([
        (front.size.is_some(), assumed::INPUT_SIZE, format!("{SIDE}×{SIDE}")),
        (told, assumed::PIXELS, "−1 to 1".to_owned()),
        (front.photo.is_some(), assumed::FILTER, preprocessing.filter.to_string()),
        (front.photo.is_some(), assumed::FIT, preprocessing.fit.to_string()),
        (config.epsilon.is_some(), assumed::EPSILON, EPSILON.to_string()),
    ]);
    assumed.extend(head.assumed);
    let source = Source { kind: kind.to_owned(), ..Source::default() };
    let meta = Meta {
        architecture,
        input_size,
        front: front.layers,
        head: head.layers,
        output: head.output,
        is_logits: head.is_logits,
        labels: Vec::new(),
        preprocessing,
        source,
        ignored: Vec::new(),
        assumed,
    };
    Ok(Model { meta, tensors })
}

/// The preprocessing of steps on pixel values; none of no steps.
fn preprocessing(steps: &[PixelStep], layers: &mut Layers) -> Result<Option<Preprocessing>> {
    let (mut scale, mut offset, mut bgr) = ([1.0; 3], [0.0; 3], false);
    for step in steps {
        let step = match step {
            PixelStep::Normalization { name, group, is_inverse } => {
                let found = layers.take(Kind::Normalization, group, name);
                let array = |array: &str| -> Result<[f64; 3]> {
                    let found = found.as_ref().and_then(|found| found.arrays.get(array));
                    let values = found.map(|array| layers.array(array)).transpose()?.unwrap_or_default();
                    match values[..] {
                        [all] => Ok([all.into(); 3]),
                        [red, green, blue] => Ok([red.into(), green.into(), blue.into()]),
                        _ => Err(Error::Weights(format!("{name} has no {array} of the three channels"))),
                    }
                };
                &normalization(array("mean")?, array("variance")?, *is_inverse)
            }
            step => step,
        };
        if let PixelStep::Affine(factor, summand) = step {
            for c in 0..3 {
                (scale[c], offset[c]) = (scale[c] * factor[c], offset[c] * factor[c] + summand[c]);
            }
        } else {
            scale.reverse();
            offset.reverse();
            bgr = !bgr;
        }
    }
    let [scale, offset] = [scale, offset].map(|values| values.map(|value| value as f32));
    Ok((!steps.is_empty()).then(|| Preprocessing { scale, offset, bgr, ..Preprocessing::default() }))
}

/// The layers behind the backbone and their tensors.
fn head(Opened { layers, config }: &mut Opened, mut prefix: Prefix) -> Result<Head> {
    let (trained, order) =
        if config.is_there { (listed(config, layers, &mut prefix)?, true) } else { chained(layers, &mut prefix)? };
    if let Some(Found { path, .. }) = layers.of(Kind::Dense).first() {
        return Err(Error::Weights(format!("{path} is a dense layer that the model's config does not have")));
    }
    let told = Told {
        pooling: prefix.is_told(),
        order,
        hidden_activation: config.is_there,
        output: config.output,
        is_logits: config.is_logits,
        single: if config.is_there { Output::Linear } else { Output::Sigmoid },
    };
    Head::new(prefix.features(), trained, told)
}

/// The layers that a config lists, with their arrays.
fn listed(config: &Config, layers: &mut Layers, prefix: &mut Prefix) -> Result<Vec<Trained>> {
    let is_spatial =
        |step: &Step| matches!(step.kind, StepKind::Pool { .. } | StepKind::GlobalPool(_) | StepKind::Flatten);
    // A head by itself may begin with features that were pooled, and a Flatten that does nothing then.
    let flattened = prefix.features().len();
    let flattens = || layers.of(Kind::Dense).iter().any(|found| found.arrays["kernel"].shape[0] == flattened);
    let first = config.head.iter().find(|step| is_spatial(step)).map(|step| &step.kind);
    let reads_pixels = match first {
        _ if config.backbone.is_some() => true,
        Some(StepKind::Flatten) => flattens(),
        first => first.is_some(),
    };
    let (mut trained, mut shape) = if reads_pixels {
        prefix.replace();
        (Vec::new(), prefix.features())
    } else {
        (prefix.pooled(), Shape::new(1, 1, prefix.pooled_len()))
    };
    let mut is_vector = !reads_pixels;
    for Step { name, group, kind } in &config.head {
        let mut take = |kind| layers.take(kind, group, name);
        let missing = || {
            Error::Weights(format!(
                "{name} has no arrays in the file, or some of another shape, as those of another input size"
            ))
        };
        let new = match *kind {
            // What is a vector stays one.
            StepKind::Flatten if is_vector => continue,
            StepKind::Flatten => Trained::plain(name, Operation::Flatten),
            StepKind::GlobalPool(pool) => Trained::plain(name, Operation::GlobalPool(pool)),
            StepKind::Pool { is_mean, kernel, stride, is_same } => {
                let window = Window::of(kernel, stride, is_same, shape);
                Trained::plain(name, if is_mean { Operation::AveragePool(window) } else { Operation::MaxPool(window) })
            }
            StepKind::Activation(function) => {
                let is_argument = trained.last().is_some_and(|before: &Trained| before.layer.name == *name);
                Trained::activation(if is_argument { format!("{name}.activation") } else { name.clone() }, function)
            }
            StepKind::Softmax => return Err(missing()),
            StepKind::Dense { units, bias } => {
                let inputs = shape.len();
                let is_it =
                    |found: &Found| found.arrays.get("kernel").is_some_and(|kernel| kernel.shape == [inputs, units]);
                let found = take(Kind::Dense).or_else(|| layers.take_if(Kind::Dense, is_it));
                let found = found.filter(is_it).ok_or_else(missing)?;
                let kernel = layers.array(&found.arrays["kernel"])?;
                let bias = found.arrays.get("bias").filter(|_| bias).map(|bias| layers.array(bias)).transpose()?;
                Trained::dense(name, units, kernel, bias.unwrap_or_default())
            }
            StepKind::BatchNorm { epsilon, scale, center } => {
                let found = take(Kind::BatchNorm).ok_or_else(missing)?;
                let all = [("gamma", scale), ("beta", center), ("moving_mean", true), ("moving_variance", true)];
                // Keras 3 numbers what there is.
                let numbers: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                let is_numbered = found.path.starts_with("/layers/");
                let array = |wanted: &str| -> Result<Option<Vec<f32>>> {
                    let present = all.iter().filter(|(_, is_there)| *is_there).position(|(name, _)| *name == wanted);
                    let name = present.map(|place| if is_numbered { numbers[place] } else { wanted });
                    let array: Option<&Array> = name.and_then(|name| found.arrays.get(name));
                    array.map(|array| layers.array(array)).transpose()
                };
                let [mean, variance] =
                    [array("moving_mean")?, array("moving_variance")?].map(|array| array.ok_or_else(missing));
                let trained = [array("gamma")?, array("beta")?];
                Trained::batch_norm(name, epsilon, trained, [mean?, variance?])
            }
            StepKind::Prelu { is_shared } => {
                let found = take(Kind::Prelu).ok_or_else(missing)?;
                let slope = layers.array(&found.arrays["alpha"])?;
                Trained::prelu(name, is_shared, slope)
            }
        };
        shape = new.output(shape);
        is_vector |= new.layer.operation.makes_vector();
        trained.push(new);
    }
    Ok(trained)
}

/// The dense layers of a file without a config, chained by their shapes, with ReLU between them; and whether they can follow one another
/// in that order only.
fn chained(layers: &mut Layers, prefix: &mut Prefix) -> Result<(Vec<Trained>, bool)> {
    let found: Vec<Found> = layers.of(Kind::Dense).to_vec();
    let slopes = layers.of(Kind::Prelu).first().map(|found| &*found.path);
    if let Some(path) = layers.unknown().or(slopes) {
        return Err(Error::Weights(format!(
            "it holds {path}, and weights alone do not tell what that is for: give the whole model (.keras or .h5)"
        )));
    }
    if found.len() > MAX_DENSE {
        return Err(Error::Weights(format!("{} dense layers are more than the {MAX_DENSE} supported", found.len())));
    }
    let shape = |layer: &Found| (layer.arrays["kernel"].shape[0], layer.arrays["kernel"].shape[1]);
    let is_flat = !found.iter().any(|layer| shape(layer).0 == prefix.pooled_len())
        && found.iter().any(|layer| shape(layer).0 == prefix.features().len());
    let mut trained = if is_flat {
        prefix.replace();
        vec![Trained::plain("flatten", Operation::Flatten)]
    } else {
        prefix.pooled()
    };
    let mut inputs = if is_flat { prefix.features().len() } else { prefix.pooled_len() };
    let mut left = found.clone();
    let mut is_ordered = true;
    while !left.is_empty() {
        let shapes: Vec<_> = left.iter().map(shape).collect();
        is_ordered &= is_one_way(&shapes, inputs);
        let Some(place) = shapes.iter().position(|&(takes, _)| takes == inputs) else {
            let of = |layer: &Found| layer.arrays["kernel"].shape[0];
            let hint = match left.iter().map(of).find(|inputs| inputs.is_multiple_of(FEATURES) && *inputs > FEATURES) {
                Some(inputs) => format!(" ({inputs} inputs may be those of Flatten at another input size: give that)"),
                None => String::new(),
            };
            return Err(Error::Weights(format!(
                "its {} dense layers do not form a head behind the backbone's {} features: {} follow one another and {} are \
                 left{hint}",
                found.len(),
                prefix.pooled_len(),
                found.len() - left.len(),
                left.len()
            )));
        };
        let layer = left.remove(place);
        if left.len() + 1 < found.len() {
            let name = trained.last().map_or(String::new(), |before| format!("{}.activation", before.layer.name));
            trained.push(Trained::activation(name, Function::Relu));
        }
        inputs = shape(&layer).1;
        let kernel = layers.array(&layer.arrays["kernel"])?;
        let bias = layer.arrays.get("bias").map(|bias| layers.array(bias)).transpose()?;
        trained.push(Trained::dense(layer.name, inputs, kernel, bias.unwrap_or_default()));
    }
    while layers.take_if(Kind::Dense, |_| true).is_some() {}
    Ok((trained, is_ordered))
}
