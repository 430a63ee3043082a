//! The arrays of a file, gathered into layers, for every version of Keras.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use hdf5_pure::{DType, Dataset, File, Group};

use super::super::counting;
use super::super::fold::finite;
use super::shards::Shards;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::network::Architecture;
use crate::network::layer::Layer;
use crate::weights::Listed;

/// The longest path of a group. Links can make a small file endless.
const MAX_PATH: usize = 500;

/// How deep groups may lie: three levels for each model in a model. WebAssembly's stack is 1 MB.
const MAX_DEPTH: usize = 64;

/// The convolutions of an Inception V3.
const INCEPTION: usize = 94;

/// Those of an Xception, beside separable ones, without the shortcuts around its blocks.
const WITHOUT_SHORTCUTS: usize = 2;

/// The most that arrays may claim, times the file's length: weights hardly compress, pruned ones a few times.
pub(super) const MAX_RATIO: usize = 8;

pub(super) fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Weights(format!("the HDF5 file is damaged or cut short ({error}); fetch it again"))
}

/// The kinds of layers that hold weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Conv,
    SeparableConv,
    BatchNorm,
    Dense,
    Prelu,
    Normalization,
}

/// An array in a file: its path and shape.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub path: String,
    pub shape: Vec<usize>,
}

/// A layer found in a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The group it is.
    pub path: String,
    /// The last part of the path.
    pub name: String,
    /// Its arrays by the name they have today, such as `depthwise_kernel`.
    pub arrays: BTreeMap<&'static str, Array>,
}

impl Found {
    /// Names arrays that only have numbers, where their shapes tell what they are.
    fn infer(&mut self) {
        let shapes: Vec<&[usize]> = self.arrays.values().map(|array| &*array.shape).collect();
        if !self.arrays.keys().all(|name| name.starts_with('#')) {
            return;
        }
        let names: &[&str] = match shapes[..] {
            [&[_, units], &[biases]] if units == biases => &["kernel", "bias"],
            [&[_, _]] => &["kernel"],
            [&[a], &[b], &[c], &[d]] if [b, c, d] == [a; 3] => &["gamma", "beta", "moving_mean", "moving_variance"],
            [&[3, 3, inputs, 1], &[1, 1, read, _]] if inputs == read => &["depthwise_kernel", "pointwise_kernel"],
            [&[_, _, _, _]] => &["kernel"],
            _ => return,
        };
        self.arrays = names.iter().copied().zip(std::mem::take(&mut self.arrays).into_values()).collect();
    }

    fn kind(&self) -> Option<Kind> {
        let rank = |name| self.arrays.get(name).map_or(0, |array| array.shape.len());
        if rank("depthwise_kernel") > 0 {
            Some(Kind::SeparableConv)
        } else if rank("moving_variance") > 0 || rank("gamma") > 0 {
            Some(Kind::BatchNorm)
        } else if rank("alpha") > 0 {
            Some(Kind::Prelu)
        } else if rank("variance") > 0 {
            Some(Kind::Normalization)
        } else {
            match rank("kernel") {
                4 => Some(Kind::Conv),
                2 => Some(Kind::Dense),
                _ => None,
            }
        }
    }
}

/// The name that an array has in Keras today. `_W`, `_b` and `_running_std` (which holds the variance) are Keras 1's.
fn array_name(dataset: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 15] = [
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
        ("alpha", "alpha"),
        ("mean", "mean"),
        ("variance", "variance"),
    ];
    let name = dataset.trim_end_matches(":0");
    NAMES.iter().find(|(ending, _)| name.ends_with(ending)).map(|&(_, name)| name)
}

/// The name of array number `index` of a layer group such as `separable_conv2d_3` in Keras 3's own layout.
fn numbered_name(group: &str, index: &str) -> Option<&'static str> {
    let class = group.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let names: &[&str] = match class {
        "separable_conv2d" => &["depthwise_kernel", "pointwise_kernel", "bias"],
        "conv2d" => &["kernel", "bias"],
        "depthwise_conv2d" => &["depthwise_kernel", "bias"],
        "batch_normalization" => &["gamma", "beta", "moving_mean", "moving_variance"],
        "dense" => &["kernel", "bias"],
        "p_re_lu" => &["alpha"],
        "normalization" => &["mean", "variance"],
        "seed_generator" => return None,
        // A layer of a model's own class has the name of its attribute.
        _ => &["#0", "#1", "#2", "#3"],
    };
    names.get(index.parse::<usize>().ok()?).copied()
}

/// Whether an array is none of a model's weights: what layers count and random generators keep.
fn is_state(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with("seed_generator")) || path.trim_end_matches(":0").ends_with("count")
}

/// Gathers the layers below a group; `objects` counts groups and arrays.
fn gather(
    group: &Group,
    path: &str,
    objects: &mut usize,
    limits: &Limits,
    layers: &mut BTreeMap<String, Found>,
    unknown: &mut Vec<String>,
) -> Result<()> {
    if path.len() > MAX_PATH || path.matches('/').count() > MAX_DEPTH {
        return Err(damaged("its groups lie deeper than a model's"));
    }
    let (datasets, groups) = (group.datasets().map_err(damaged)?, group.groups().map_err(damaged)?);
    *objects += 1 + datasets.len() + groups.len();
    limits.check_tensors(*objects)?;
    let mut names = BTreeSet::new();
    if let Some(twice) = datasets.iter().chain(&groups).find(|name| !names.insert(*name)) {
        return Err(damaged(format!("{path} has {twice} twice")));
    }
    let (parent, own_name) = path.rsplit_once('/').unwrap_or(("", path));
    for dataset in datasets {
        let (layer, array) = if own_name == "vars" {
            (parent, numbered_name(parent.rsplit('/').next().unwrap_or_default(), &dataset))
        } else {
            (path, array_name(&dataset))
        };
        if let Some(array) = array {
            let shape = group.dataset(&dataset).and_then(|dataset| dataset.shape()).map_err(damaged)?;
            let shape =
                shape.into_iter().map(usize::try_from).map(|length| length.map_err(damaged)).collect::<Result<_>>()?;
            let found = layers.entry(layer.to_owned()).or_default();
            layer.clone_into(&mut found.path);
            layer.rsplit('/').next().unwrap_or_default().clone_into(&mut found.name);
            found.arrays.insert(array, Array { path: format!("{path}/{dataset}"), shape });
        } else {
            unknown.push(format!("{path}/{dataset}"));
        }
    }
    for name in groups {
        if !name.starts_with("optimizer") {
            let inner = group.group(&name).map_err(damaged)?;
            gather(&inner, &format!("{path}/{name}"), objects, limits, layers, unknown)?;
        }
    }
    Ok(())
}

/// How many values are in memory where an array of some shape is read, which may be in chunks of another; these must each be there once, as
/// readers disagree on the values else.
fn claim(dataset: &Dataset, shape: &[usize]) -> Result<u64> {
    let product = |lengths: &mut dyn Iterator<Item = u64>| lengths.fold(1, u64::saturating_mul);
    let values = product(&mut shape.iter().map(|&length| length as u64));
    let Some(chunk) = dataset.chunk_shape().map_err(damaged)? else { return Ok(values) };
    let chunks = dataset.chunks().map_err(damaged)?;
    let sides = || shape.iter().map(|&length| length as u64).zip(&chunk);
    let is_placed = |offset: &[u64]| {
        offset.len() == shape.len() && sides().zip(offset).all(|((length, side), &at)| at < length && at % side == 0)
    };
    let places: BTreeSet<&[u64]> = chunks.iter().map(|chunk| &chunk.offset[..]).collect();
    let count = (!chunk.contains(&0)).then(|| product(&mut sides().map(|(length, &side)| length.div_ceil(side))));
    if [chunks.len(), places.len()].map(|count| Some(count as u64)) != [count; 2] || !places.into_iter().all(is_placed)
    {
        return Err(damaged("the parts of an array are not each there once"));
    }
    Ok(values.max(product(&mut chunk.into_iter()).saturating_mul(chunks.len() as u64)))
}

/// A file's arrays.
enum Arrays {
    Hdf5(File),
    Shards(Shards),
}

/// All layers of a file by kind, each kind in counting order.
pub(super) struct Layers {
    arrays: Arrays,
    /// How many bytes its arrays may still claim.
    left: Cell<u64>,
    by_kind: BTreeMap<Kind, Vec<Found>>,
    /// Arrays of layers of no kind.
    unknown: Vec<String>,
}

impl Layers {
    /// The layers of a file of `length` bytes.
    pub(super) fn gather(file: File, length: usize, limits: &Limits) -> Result<Self> {
        let (mut layers, mut unknown) = (BTreeMap::new(), Vec::new());
        gather(&file.root(), "", &mut 0, limits, &mut layers, &mut unknown)?;
        Ok(Self::new(Arrays::Hdf5(file), length, layers, unknown))
    }

    /// The layers of a TensorFlow.js model.
    pub(super) fn of_shards(shards: Shards) -> Self {
        let (mut layers, mut unknown) = (BTreeMap::<String, Found>::new(), Vec::new());
        for (path, shape) in shards.arrays() {
            let (layer, array) = path.rsplit_once('/').unwrap_or(("", path));
            let Some(array) = array_name(array) else {
                unknown.push(path.to_owned());
                continue;
            };
            let found = layers.entry(format!("/{layer}")).or_default();
            found.path = format!("/{layer}");
            layer.rsplit('/').next().unwrap_or_default().clone_into(&mut found.name);
            found.arrays.insert(array, Array { path: path.to_owned(), shape: shape.to_vec() });
        }
        Self::new(Arrays::Shards(shards), 0, layers, unknown)
    }

    fn new(arrays: Arrays, length: usize, layers: BTreeMap<String, Found>, mut unknown: Vec<String>) -> Self {
        let mut by_kind: BTreeMap<Kind, Vec<Found>> = BTreeMap::new();
        for mut found in layers.into_values() {
            found.infer();
            match found.kind() {
                Some(kind) => by_kind.entry(kind).or_default().push(found),
                None => unknown.push(found.path),
            }
        }
        for found in by_kind.values_mut() {
            found.sort_by(|a, b| counting(&a.name).cmp(&counting(&b.name)));
        }
        unknown.retain(|path| !is_state(path));
        Self { arrays, left: Cell::new(MAX_RATIO as u64 * length as u64), by_kind, unknown }
    }

    pub(super) fn of(&self, kind: Kind) -> &[Found] {
        self.by_kind.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The backbone whose convolutions these are.
    pub(super) fn backbone(&self) -> Option<Architecture> {
        let convolutions = self.of(Kind::Conv).len();
        match self.of(Kind::SeparableConv).len() {
            0 => (convolutions == INCEPTION).then_some(Architecture::InceptionV3),
            _ if convolutions == WITHOUT_SHORTCUTS => Some(Architecture::XceptionWithoutResiduals),
            _ => Some(Architecture::Xception),
        }
    }

    /// The first array of a layer that is none of a classifier's.
    pub(super) fn unknown(&self) -> Option<&str> {
        self.unknown.first().map(String::as_str)
    }

    /// The number of a layer among those of its kind, by its group in Keras 3's own files, or else by its name.
    fn place(&self, kind: Kind, group: &str, name: &str) -> Option<usize> {
        let all = self.of(kind);
        let by_group = all.iter().position(|found| found.path == group);
        // Keras 3 numbers its groups (dense_1, …) regardless of the layers' names.
        let by_name = || all.iter().position(|found| found.name == name && !found.path.starts_with("/layers/"));
        by_group.or_else(by_name)
    }

    /// A layer, by its group in Keras 3's own files, or else by its name.
    pub(super) fn find(&self, kind: Kind, group: &str, name: &str) -> Option<&Found> {
        self.of(kind).get(self.place(kind, group, name)?)
    }

    /// Takes a layer out that [`Self::find`] finds.
    pub(super) fn take(&mut self, kind: Kind, group: &str, name: &str) -> Option<Found> {
        let place = self.place(kind, group, name)?;
        Some(self.by_kind.get_mut(&kind)?.remove(place))
    }

    /// The layers of a kind for the layers of the network: by name, and the rest in counting order.
    pub(super) fn matched(
        &self,
        kind: Kind,
        what: &str,
        names: &[Option<String>],
        network: &str,
    ) -> Result<Vec<Found>> {
        let found = self.of(kind);
        let by_name = |name: &String| found.iter().find(|layer| layer.name == *name);
        let named = names.iter().flatten().any(|name| by_name(name).is_some());
        let missing = || names.iter().flatten().find(|name| named && by_name(name).is_none());
        if found.len() != names.len() || missing().is_some() {
            let detail = missing().map_or(String::new(), |name| format!(": {name} is missing"));
            let counts = format!("it has {} {what}, an {network} has {}{detail}", found.len(), names.len());
            return Err(Error::Weights(format!(
                "this is not a whole {network}: {counts}; give a model that keras.applications.{network} is part of"
            )));
        }
        let mut rest = found.iter().filter(|layer| !names.contains(&Some(layer.name.clone())));
        let matched = names.iter().map(|name| name.as_ref().and_then(by_name).or_else(|| rest.next()).cloned());
        let twice = || Error::Weights(format!("this is not a whole {network}: two of its {what} have the same name"));
        matched.collect::<Option<_>>().ok_or_else(twice)
    }

    /// Takes out the first layer of a kind that passes a test.
    pub(super) fn take_if(&mut self, kind: Kind, test: impl Fn(&Found) -> bool) -> Option<Found> {
        let all = self.by_kind.get_mut(&kind)?;
        let place = all.iter().position(test)?;
        Some(all.remove(place))
    }

    /// One array of a layer of the network, whose shape must be the network's; none if there is none.
    pub(super) fn array_of(&self, layer: &Layer, found: &Found, name: &'static str) -> Result<Option<Vec<f32>>> {
        let parameter = layer.parameters().into_iter().find(|(parameter, _)| *parameter == name);
        let channels = if name == "depthwise_bias" { layer.input.channels } else { layer.output.channels };
        let shape = parameter.map_or_else(|| vec![channels], |(_, shape)| shape);
        match found.arrays.get(name) {
            Some(Array { path, shape: actual }) if *actual != shape => {
                Err(Error::Weights(format!("{path} has the shape {actual:?} and must have {shape:?}")))
            }
            Some(array) => self.array(array).map(Some),
            None => Ok(None),
        }
    }

    /// All arrays of known names: their paths, shapes and values.
    pub(super) fn all(&self) -> impl Iterator<Item = Listed> {
        let arrays = self.by_kind.values().flatten().flat_map(|found| found.arrays.values());
        arrays.map(|array| (array.path.clone(), array.shape.clone(), self.array(array)))
    }

    /// The values of an array.
    pub(super) fn array(&self, Array { path, shape }: &Array) -> Result<Vec<f32>> {
        let file = match &self.arrays {
            Arrays::Hdf5(file) => file,
            Arrays::Shards(shards) => return finite(path, shards.values(path).unwrap_or_default()),
        };
        let dataset = file.dataset(path).map_err(damaged)?;
        let size = match dataset.dtype().map_err(damaged)? {
            DType::F32 => 4,
            DType::F64 => 8,
            _ => return Err(Error::Weights(format!("{path} is not in float32: save the model in float32"))),
        };
        let bytes = claim(&dataset, shape)?.saturating_mul(size);
        let left = self.left.get().checked_sub(bytes).filter(|_| bytes <= isize::MAX as u64);
        self.left.set(left.ok_or_else(|| damaged("its arrays claim more than it holds"))?);
        let values = dataset.read_f32().map_err(damaged)?;
        if values.len() != shape.iter().product::<usize>() {
            return Err(damaged(format!("{path} is incomplete")));
        }
        finite(path, values)
    }
}
