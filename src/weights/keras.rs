//! Keras's weight files: `.keras`, `.weights.h5`, whole-model `.h5` of Keras 2 and 3, and the official ImageNet file,
//! which Keras 1 named.
//!
//! Theory: whatever the file's layout, an Xception has 34 separable convolutions, 6 other convolutions, 40 batch
//! norms and some dense layers, in nobody else's proportion. So the arrays of the whole file are gathered into layers
//! by the group they lie in, wherever a backbone may be nested, sorted by kind, and matched with the network: by name
//! where Keras's names are there (`block3_sepconv1`), else by number. Shortcuts have numbers only. The numbers count
//! in the order of `model.layers`, in which a block's shortcut follows its separable convolutions; only Keras 1
//! numbered the batch norms by creation, a block's shortcut first.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use hdf5_pure::{AttrValue, File, Group};

use super::config::Config;
use super::fold::BatchNorm;
use super::safetensors::{Meta, Model};
use crate::error::{Error, Result};
use crate::layer::{Layer, Operation};
use crate::network::{Dense, Network};
use crate::resize::Preprocessing;

/// Keras's default ε, where no config tells.
const EPSILON: f64 = 1e-3;

/// The side of the input where no config tells.
const SIDE: usize = 299;

/// Groups nested deeper are not a model's.
const MAX_DEPTH: usize = 12;

/// Reads a `.keras` archive: `config.json` and `model.weights.h5` in a zip.
///
/// # Errors
/// [`Error::Format`] where it is another kind of zip, [`Error::Weights`] where it cannot be used.
pub fn read_archive(file: Vec<u8>) -> Result<Model> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::Weights(format!("the .keras archive is damaged or cut short ({error}); fetch it again"))
    };
    let file_len = file.len() as u64;
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(|error| damaged(&error))?;
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let entry = archive.by_name(name).map_err(|error| match error {
            zip::result::ZipError::FileNotFound => Error::Format(format!(
                "this zip archive is not a .keras file: it has no {name} (PyTorch's files are not read)"
            )),
            error => damaged(&error),
        })?;
        // Weights hardly compress: a huge claim is a lie.
        let limit = file_len.saturating_mul(4);
        if entry.size() > limit {
            return Err(damaged(&format!("{name} claims {} bytes", entry.size())));
        }
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        entry.take(limit).read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
        Ok(bytes)
    };
    let config = String::from_utf8(entry("config.json")?).map_err(|error| damaged(&error))?;
    let config = Config::parse(&config)?;
    let weights = entry("model.weights.h5")?;
    drop(archive);
    read(&open(weights)?, &config, "Keras 3 (.keras)")
}

/// Reads an `.h5` or `.weights.h5` file.
///
/// # Errors
/// [`Error::Weights`] where it cannot be used.
pub fn read_h5(file: Vec<u8>) -> Result<Model> {
    let file = open(file)?;
    let attributes = file.root().attrs().map_err(damaged)?;
    let config = match attributes.get("model_config") {
        Some(AttrValue::String(json) | AttrValue::AsciiString(json)) => Config::parse(json)?,
        Some(other) => match other.as_str() {
            Some(json) => Config::parse(json)?,
            None => Config::default(),
        },
        None => Config::default(),
    };
    read(&file, &config, "Keras (.h5)")
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Weights(format!("the HDF5 file is damaged or cut short ({error}); fetch it again"))
}

fn open(bytes: Vec<u8>) -> Result<File> {
    File::from_bytes(bytes).map_err(damaged)
}

/// The kinds of layers that hold weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Conv,
    SeparableConv,
    BatchNorm,
    Dense,
}

/// A layer found in a file: where each of its arrays is.
#[derive(Clone, Debug, Default)]
struct Found {
    name: String,
    /// Path by the array's name today, such as `depthwise_kernel`.
    arrays: BTreeMap<&'static str, String>,
}

impl Found {
    fn kind(&self) -> Option<Kind> {
        let has = |name| self.arrays.contains_key(name);
        if has("depthwise_kernel") {
            Some(Kind::SeparableConv)
        } else if has("gamma") {
            Some(Kind::BatchNorm)
        } else if has("kernel") {
            Some(if has("bias") || self.name.starts_with("dense") { Kind::Dense } else { Kind::Conv })
        } else {
            None
        }
    }

    /// Sorts `conv2d`, `conv2d_2`, `conv2d_10` as people count.
    fn order(&self) -> (&str, usize) {
        let (base, number) = self.name.rsplit_once('_').unwrap_or((&self.name, ""));
        number.parse().map_or((&self.name, 0), |number| (base, number))
    }
}

/// The name that an array has in Keras today. `_W`, `_b` and `_running_std` (which holds the variance) are Keras 1's.
fn array_name(dataset: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 12] = [
        ("depthwise_kernel", "depthwise_kernel"),
        ("pointwise_kernel", "pointwise_kernel"),
        ("kernel", "kernel"),
        ("_W", "kernel"),
        ("bias", "bias"),
        ("_b", "bias"),
        ("gamma", "gamma"),
        ("beta", "beta"),
        ("moving_mean", "moving_mean"),
        ("running_mean", "moving_mean"),
        ("moving_variance", "moving_variance"),
        ("running_std", "moving_variance"),
    ];
    let name = dataset.trim_end_matches(":0");
    NAMES.iter().find(|(ending, _)| name.ends_with(ending)).map(|&(_, name)| name)
}

/// The name of array number `index` of a layer group such as `separable_conv2d_3` in Keras 3's own layout.
fn numbered_name(group: &str, index: &str) -> Option<&'static str> {
    let class = group.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let names: &[&str] = match class {
        "separable_conv2d" => &["depthwise_kernel", "pointwise_kernel"],
        "conv2d" => &["kernel"],
        "batch_normalization" => &["gamma", "beta", "moving_mean", "moving_variance"],
        "dense" => &["kernel", "bias"],
        _ => return None,
    };
    names.get(index.parse::<usize>().ok()?).copied()
}

/// Gathers the layers below a group.
fn gather(group: &Group, path: &str, depth: usize, layers: &mut BTreeMap<String, Found>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(damaged("its groups are nested too deep"));
    }
    let (parent, own_name) = path.rsplit_once('/').unwrap_or(("", path));
    for dataset in group.datasets().map_err(damaged)? {
        let (layer, array) = if own_name == "vars" {
            (parent, numbered_name(parent.rsplit('/').next().unwrap_or_default(), &dataset))
        } else {
            (path, array_name(&dataset))
        };
        if let Some(array) = array {
            let found = layers.entry(layer.to_owned()).or_default();
            found.name = layer.rsplit('/').next().unwrap_or_default().to_owned();
            found.arrays.insert(array, format!("{path}/{dataset}"));
        }
    }
    for name in group.groups().map_err(damaged)? {
        if !name.starts_with("optimizer") {
            let inner = group.group(&name).map_err(damaged)?;
            gather(&inner, &format!("{path}/{name}"), depth + 1, layers)?;
        }
    }
    Ok(())
}

/// All layers of a file by kind, each kind in counting order.
struct Layers {
    by_kind: BTreeMap<Kind, Vec<Found>>,
}

impl Layers {
    fn gather(file: &File) -> Result<Self> {
        let mut layers = BTreeMap::new();
        gather(&file.root(), "", 0, &mut layers)?;
        let mut by_kind: BTreeMap<Kind, Vec<Found>> = BTreeMap::new();
        for found in layers.into_values() {
            if let Some(kind) = found.kind() {
                by_kind.entry(kind).or_default().push(found);
            }
        }
        for found in by_kind.values_mut() {
            found.sort_by(|a, b| a.order().cmp(&b.order()));
        }
        Ok(Self { by_kind })
    }

    fn of(&self, kind: Kind) -> &[Found] {
        self.by_kind.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The layers of a kind for the named layers of the network: by name, and the rest in counting order.
    fn matched(&self, kind: Kind, what: &str, names: &[String]) -> Result<Vec<Found>> {
        let found = self.of(kind);
        let by_name = |name: &String| found.iter().find(|layer| layer.name == *name);
        let named = names.iter().any(|name| by_name(name).is_some());
        let missing = || names.iter().find(|name| named && !name.contains("shortcut") && by_name(name).is_none());
        if found.len() != names.len() || missing().is_some() {
            let detail = missing().map_or(String::new(), |name| format!(": {name} is missing"));
            let counts = format!("it has {} {what}, an Xception has {}{detail}", found.len(), names.len());
            return Err(Error::Weights(format!(
                "this is not a whole Xception: {counts}; give a model that keras.applications.Xception is part of"
            )));
        }
        let mut rest = found.iter().filter(|layer| !names.contains(&layer.name));
        let matched = names.iter().map(|name| by_name(name).or_else(|| rest.next()).cloned());
        Ok(matched.flatten().collect())
    }
}

fn read(file: &File, config: &Config, source: &str) -> Result<Model> {
    let layers = Layers::gather(file)?;
    let preprocessing = match config.rescaling {
        Some((scale, offset)) => Preprocessing { scale, offset, ..Preprocessing::default() },
        None => Preprocessing::default(),
    };
    let (head, dense_layers) = head(file, config, layers.of(Kind::Dense))?;
    let meta = Meta {
        input_size: config.input_size.unwrap_or([SIDE; 2]),
        head,
        labels: Vec::new(),
        preprocessing,
        source: source.to_owned(),
    };
    let network = meta.network()?;
    let reader = Reader { file };
    let mut tensors = backbone(&reader, &network, &layers, config.epsilon.unwrap_or(EPSILON))?;
    let dense = network.layers.iter().filter(|layer| layer.operation == Operation::Dense);
    for (layer, found) in dense.zip(&dense_layers) {
        tensors.push(reader.array(layer, found, "kernel")?);
        // A layer may go without a bias.
        let bias = found.arrays.contains_key("bias").then(|| reader.array(layer, found, "bias"));
        tensors.push(bias.unwrap_or_else(|| Ok(vec![0.0; layer.output.len()]))?);
    }
    Ok(Model { meta, tensors })
}

/// The dense layers: as the config lists them, else chained by their shapes, ReLU between them.
fn head(file: &File, config: &Config, found: &[Found]) -> Result<(Vec<Dense>, Vec<Found>)> {
    let reader = Reader { file };
    let mut left: Vec<&Found> = found.iter().collect();
    let (mut head, mut layers) = (config.head.clone(), Vec::new());
    let mut inputs = 2048;
    while layers.len() < found.len() {
        let expected = config.head.get(layers.len());
        let fits = |layer: &&Found| reader.shape(&layer.arrays["kernel"]).is_ok_and(|shape| shape[..1] == [inputs]);
        let position = left.iter().position(|layer| expected.is_some_and(|dense| dense.name == layer.name));
        let Some(position) = position.or_else(|| left.iter().position(fits)) else { break };
        let layer = left.remove(position).clone();
        inputs = *reader.shape(&layer.arrays["kernel"])?.last().unwrap_or(&0);
        if expected.is_none() {
            head.iter_mut().for_each(|dense| dense.relu = true);
            head.push(Dense { name: layer.name.clone(), units: inputs, relu: false });
        }
        layers.push(layer);
    }
    if layers.len() != head.len() || !left.is_empty() {
        return Err(Error::Weights(format!(
            "its {} dense layers do not form the model's head of {}: each must take what the one before gives",
            found.len(),
            head.len()
        )));
    }
    Ok((head, layers))
}

/// The folded tensors of all convolutions.
fn backbone(reader: &Reader, network: &Network, layers: &Layers, epsilon: f64) -> Result<Vec<Vec<f32>>> {
    let is = |layer: &Layer, kinds: &[bool]| kinds.contains(&true) && !layer.parameters().is_empty();
    let separable = |layer: &Layer| layer.operation == Operation::SeparableConv;
    let conv = |layer: &Layer| matches!(layer.operation, Operation::Conv { .. } | Operation::Shortcut);
    let normed: Vec<&Layer> =
        network.layers.iter().filter(|layer| is(layer, &[separable(layer), conv(layer)])).collect();
    let names = |pick: &dyn Fn(&Layer) -> bool| -> Vec<String> {
        normed.iter().filter(|layer| pick(layer)).map(|layer| layer.name.clone()).collect()
    };
    let separable_convs = layers.matched(Kind::SeparableConv, "separable convolutions", &names(&separable))?;
    let convs = layers.matched(Kind::Conv, "other convolutions", &names(&conv))?;
    let mut norm_names = names(&|_| true);
    if layers.of(Kind::BatchNorm).iter().any(|found| found.name.starts_with("batchnormalization")) {
        // Keras 1: the shortcut's comes before the block's two.
        for at in 2..norm_names.len() {
            if norm_names[at].ends_with("shortcut") {
                norm_names[at - 2..=at].rotate_right(1);
            }
        }
    }
    let with_ending: Vec<String> = norm_names.iter().map(|name| format!("{name}_bn")).collect();
    let norms = layers.matched(Kind::BatchNorm, "batch norms", &with_ending)?;
    let norms: BTreeMap<&String, Found> = norm_names.iter().zip(norms).collect();

    let (mut separable_convs, mut convs) = (separable_convs.into_iter(), convs.into_iter());
    let mut tensors = Vec::new();
    for layer in normed {
        let norm = &norms[&layer.name];
        let read = |name| reader.array(layer, norm, name);
        let norm = BatchNorm {
            gamma: read("gamma")?,
            beta: read("beta")?,
            mean: read("moving_mean")?,
            variance: read("moving_variance")?,
            epsilon,
        };
        let (found, kernel) = if separable(layer) {
            let found = separable_convs.next().unwrap_or_default();
            tensors.push(reader.array(layer, &found, "depthwise_kernel")?);
            (found, "pointwise_kernel")
        } else {
            (convs.next().unwrap_or_default(), "kernel")
        };
        let mut weight = reader.array(layer, &found, kernel)?;
        let bias = norm.fold(&mut weight);
        tensors.extend([weight, bias]);
    }
    Ok(tensors)
}

struct Reader<'a> {
    file: &'a File,
}

impl Reader<'_> {
    fn shape(&self, path: &str) -> Result<Vec<usize>> {
        let shape = self.file.dataset(path).and_then(|dataset| dataset.shape()).map_err(damaged)?;
        Ok(shape.into_iter().map(|length| length as usize).collect())
    }

    /// One array of a layer, whose shape must be the network's.
    fn array(&self, layer: &Layer, found: &Found, name: &'static str) -> Result<Vec<f32>> {
        let parameter = layer.parameters().into_iter().find(|(parameter, _)| *parameter == name);
        let (Some(path), Some((_, shape))) = (found.arrays.get(name), parameter) else {
            return Err(Error::Weights(format!("{} ({}) has no array {name}", layer.name, found.name)));
        };
        let actual = self.shape(path)?;
        if actual != shape {
            return Err(Error::Weights(format!("{path} has the shape {actual:?} and must have {shape:?}")));
        }
        let values = self.file.dataset(path).and_then(|dataset| dataset.read_f32()).map_err(damaged)?;
        if values.len() != shape.iter().product::<usize>() || values.iter().any(|value| !value.is_finite()) {
            return Err(Error::Weights(format!("{path} holds a value that is not a finite number (NaN)")));
        }
        Ok(values)
    }
}
