//! Heads in PyTorch's files: linear layers and batch norms, known by their arrays alone.

use std::collections::BTreeSet;

use super::super::assumed::{Assumption, HEAD_EPSILON};
use super::super::counting;
use super::super::head::{Head, Prefix, Told, Trained, is_one_way};
use super::tensors::Tensors;
use super::{EPSILON, is_count, transposed};
use crate::error::{Error, Result};
use crate::network::Output;
use crate::network::activation::Function;

/// The most groups of tensors that are named as ignored.
const MAX_IGNORED: usize = 8;

/// A layer with arrays, by its name.
#[derive(Clone, Debug)]
struct Module {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Linear {
        inputs: usize,
        units: usize,
    },
    /// A batch norm of so many channels.
    Norm(usize),
}

impl Module {
    /// The name of the `Sequential` that it is part of, and its place there.
    fn place(&self) -> Option<(&str, usize)> {
        let (parent, place) = self.name.rsplit_once('.').unwrap_or(("", &self.name));
        Some((parent, place.parse().ok()?))
    }

    /// Whether there may be a layer without arrays between this one and another.
    fn is_apart(&self, next: &Self) -> bool {
        match (self.place(), next.place()) {
            (Some((parent, place)), Some((other, next))) if parent == other => place + 1 < next,
            _ => true,
        }
    }

    fn is_linear(&self) -> bool {
        matches!(self.kind, Kind::Linear { .. })
    }

    /// The numbers of its inputs and outputs.
    fn shape(&self) -> (usize, usize) {
        match self.kind {
            Kind::Linear { inputs, units } => (inputs, units),
            Kind::Norm(channels) => (channels, channels),
        }
    }
}

/// The linear layers of a whole model, beside or around its backbone, and the groups of tensors that are none of it.
pub(super) fn head_of(
    tensors: &Tensors,
    root: &str,
    used: BTreeSet<String>,
    prefix: &Prefix,
) -> Result<(Head, Vec<String>)> {
    let is_left = |name: &&str| !used.contains(*name) && !is_count(name);
    let features = prefix.pooled_len();
    let takes_features =
        |name: &&&str| tensors.get(name).is_some_and(|tensor| tensor.shape.len() == 2 && tensor.shape[1] == features);
    // Beside the backbone's layers, else around the backbone.
    let mut around = root;
    let arrays: Vec<&str> = loop {
        let arrays: Vec<&str> = tensors.names().filter(is_left).filter(|name| name.starts_with(around)).collect();
        if around.is_empty() || arrays.iter().any(|name| name.ends_with(".weight") && takes_features(&name)) {
            break arrays;
        }
        around = around.trim_end_matches('.').rsplit_once('.').map_or("", |(outer, _)| &around[..=outer.len()]);
    };
    let (head, of_head) = chain(tensors, &arrays, prefix, around)?;
    // Every array of the classifier must be known.
    let group = |name: &str| {
        let start = if name.starts_with(around) { around.len() } else { 0 };
        let end = name[start..].find('.').map_or(name.len(), |dot| start + dot);
        name[..end].to_owned()
    };
    let groups: BTreeSet<String> = of_head.iter().map(|name| group(name)).collect();
    let others: Vec<&str> = tensors.names().filter(is_left).filter(|name| !of_head.contains(*name)).collect();
    if let Some(name) = others.iter().find(|name| groups.contains(&group(name))) {
        return Err(Error::Weights(format!(
            "{name} is part of the classifier, and its place there is known to Python only"
        )));
    }
    let ignored: BTreeSet<String> = others.iter().map(|name| group(name)).collect();
    let more = ignored.len().saturating_sub(MAX_IGNORED);
    let mut ignored: Vec<String> = ignored.into_iter().take(MAX_IGNORED).collect();
    ignored.extend((more > 0).then(|| format!("{more} more")));
    Ok((head, ignored))
}

/// The layers of some arrays in counting order; batch norms are only those that lie beside a linear layer.
fn modules(tensors: &Tensors, arrays: &[&str]) -> Vec<Module> {
    let module = |name: &&str| {
        let (linear, norm) = (name.strip_suffix(".weight"), name.strip_suffix(".running_var"));
        let kind = match (&*tensors.get(name)?.shape, linear, norm) {
            (&[units, inputs], Some(_), _) => Kind::Linear { inputs, units },
            (&[channels], _, Some(_)) => Kind::Norm(channels),
            _ => return None,
        };
        Some(Module { name: linear.or(norm)?.to_owned(), kind })
    };
    let mut modules: Vec<Module> = arrays.iter().filter_map(module).collect();
    let parent = |module: &Module| module.name.rsplit_once('.').map(|(parent, _)| parent.to_owned());
    let parents: Vec<_> = modules.iter().filter(|module| module.is_linear()).map(parent).collect();
    modules.retain(|module| parents.contains(&parent(module)));
    modules.sort_by(|a, b| counting(&a.name).cmp(&counting(&b.name)));
    modules
}

/// Linear layers in the order in which their shapes follow one another from the features on; and whether that is the only one.
fn by_shapes(mut left: Vec<Module>, mut features: usize) -> Result<(Vec<Module>, bool)> {
    let (first, mut is_ordered) = (features, true);
    let mut ordered = Vec::new();
    while let Some(next) = left.iter().position(|module| module.shape().0 == features) {
        let shapes: Vec<_> = left.iter().map(Module::shape).collect();
        is_ordered &= is_one_way(&shapes, features);
        let module = left.remove(next);
        features = module.shape().1;
        ordered.push(module);
    }
    match left.first() {
        Some(Module { name, .. }) => {
            Err(Error::Weights(format!("{name} does not follow from the backbone's {first} features")))
        }
        None => Ok((ordered, is_ordered)),
    }
}

/// Checks that layers with a batch norm among them are those of one `Sequential`, whose numbers tell their order.
fn check_sequential(modules: &[Module], mut features: usize) -> Result<()> {
    let parent = |module: &Module| module.place().map(|(parent, _)| parent.to_owned());
    let first = modules.first().and_then(parent);
    for module in modules {
        if first.is_none() || parent(module) != first {
            return Err(Error::Weights(format!(
                "the classifier has batch norms, and {} is not numbered as in a Sequential: its place is known to Python only",
                module.name
            )));
        }
        let (inputs, outputs) = module.shape();
        if inputs != features {
            return Err(Error::Weights(format!(
                "{} reads {inputs} values, and the layer before it gives {features}",
                module.name
            )));
        }
        features = outputs;
    }
    Ok(())
}

/// The layers of some arrays, with a ReLU behind each linear layer but the last, where a `Sequential` has room for one; and the names of
/// the arrays.
pub(super) fn chain(
    tensors: &Tensors,
    arrays: &[&str],
    prefix: &Prefix,
    around: &str,
) -> Result<(Head, BTreeSet<String>)> {
    let features = prefix.pooled_len();
    let all = modules(tensors, arrays);
    let has_norms = !all.iter().all(Module::is_linear);
    let (modules, is_ordered) = if has_norms {
        check_sequential(&all, features)?;
        (all, true)
    } else {
        by_shapes(all, features)?
    };
    let (mut trained, mut used) = (prefix.pooled(), BTreeSet::new());
    // The linear layer whose ReLU is still to come.
    let mut open: Option<String> = None;
    for (at, module) in modules.iter().enumerate() {
        let is_apart = modules[..at].last().is_some_and(|before| before.is_apart(module));
        if is_apart
            && modules[at..].iter().any(Module::is_linear)
            && let Some(linear) = open.take()
        {
            trained.push(Trained::activation(format!("{linear}.activation"), Function::Relu));
        }
        let name = &module.name;
        let short = name.strip_prefix(around).unwrap_or(name);
        let mut array = |array: &str, shape: &[usize]| {
            let name = format!("{name}.{array}");
            let values = tensors.get(&name).map(|_| transposed(tensors, &name, shape)).transpose();
            used.insert(name);
            values
        };
        trained.push(match module.kind {
            Kind::Linear { inputs, units } => {
                open = Some(short.to_owned());
                let kernel = array("weight", &[units, inputs])?.unwrap_or_default();
                Trained::dense(short, units, kernel, array("bias", &[units])?.unwrap_or_default())
            }
            Kind::Norm(channels) => {
                let mut array = |name| array(name, &[channels]);
                let trained = [array("weight")?, array("bias")?];
                let statistics =
                    [array("running_mean")?.unwrap_or_default(), array("running_var")?.unwrap_or_default()];
                Trained::batch_norm(short, EPSILON, trained, statistics)
            }
        });
    }
    let told = Told {
        pooling: prefix.is_told(),
        order: is_ordered,
        hidden_activation: false,
        output: None,
        is_logits: true,
        single: Output::Sigmoid,
    };
    let mut head = Head::new(prefix.features(), trained, told)?;
    head.assumed.extend(has_norms.then(|| Assumption { name: HEAD_EPSILON.to_owned(), value: EPSILON.to_string() }));
    Ok((head, used))
}
