//! The backbone in a config, compared with the network's table: a model of the same arrays that are connected otherwise is another one.

use super::super::activation::{self, Named};
use super::super::graph::{Graph, Node};
use super::steps::{number, pair, windows};
use super::{EPSILON, is_idle, through, unsupported};
use crate::error::{Error, Result};
use crate::network::activation::Function;
use crate::network::layer::{Layer, Operation, ValueId, Window};
use crate::network::{Architecture, Network};

/// A size at which all layers have their usual windows.
const SIZE: [usize; 2] = [299; 2];

/// A layer with arrays, by its name, and by its group in Keras 3's own files.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Place {
    pub name: String,
    pub group: String,
}

/// The layers that have the arrays of a convolution of the table.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Places {
    /// The depthwise half, where it is a layer by itself.
    pub depthwise: Option<Place>,
    pub conv: Place,
    pub norm: Place,
}

/// Checks a layer of the backbone by itself; its batch norms have the same ε.
pub(super) fn check(node: &Node, epsilon: f64) -> Result<()> {
    match &*node.class {
        "Conv2D" | "SeparableConv2D" if !matches!(activation::argument(node, true)?, None | Some(Named::Linear)) => {
            unsupported(node, ", with an activation before its batch norm")
        }
        "BatchNormalization" if node.config["epsilon"].as_f64().unwrap_or(EPSILON) != epsilon => {
            unsupported(node, ", with another epsilon than the other batch norms")
        }
        "BatchNormalization" if node.config["center"] == false => unsupported(node, ", without a beta"),
        "Concatenate" if !matches!(node.config["axis"].as_i64(), None | Some(-1 | 3)) => {
            unsupported(node, ", along another axis than channels")
        }
        "Conv2D" | "SeparableConv2D" | "DepthwiseConv2D" | "MaxPooling2D" | "AveragePooling2D" | "Add"
        | "Concatenate" | "BatchNormalization" => Ok(()),
        _ if is_idle(node) || matches!(function(node), Some(Function::Relu | Function::Elu(_))) => Ok(()),
        _ => unsupported(node, ", in the backbone"),
    }
}

/// The function of an activation layer.
fn function(node: &Node) -> Option<Function> {
    match activation::layer(node, true) {
        Ok(Some(Named::Function(function))) => Some(function),
        _ => None,
    }
}

fn is_relu(node: &Node) -> bool {
    function(node) == Some(Function::Relu)
}

/// The depthwise layer whose values, through an activation function, a convolution reads: both are the halves of a separable one.
fn depthwise_half(nodes: &[Node], conv: &Node) -> Option<(usize, Option<Function>)> {
    let mut at = through(nodes, *conv.inputs.first()?);
    let mut between = function(&nodes[at]);
    if between.is_some() {
        at = through(nodes, *nodes[at].inputs.first()?);
    }
    match activation::argument(&nodes[at], true) {
        Ok(None | Some(Named::Linear)) => {}
        Ok(Some(Named::Function(function))) if between.is_none() => between = Some(function),
        // No network has two of them.
        _ => return None,
    }
    (conv.class == "Conv2D" && nodes[at].class == "DepthwiseConv2D").then_some((at, between))
}

/// Whether a layer ends a backbone: it is the last convolution of an Xception, or joins the branches of an Inception's block.
pub(super) fn ends(graph: &Graph, node: &Node) -> bool {
    let nodes = &graph.nodes;
    let is_branch = |&input: &usize| !nodes[through(nodes, input)].class.starts_with("Global");
    let has_convolution = |&input: &usize| needed(graph, input).any(|node| node.class == "Conv2D");
    node.class == "SeparableConv2D"
        || depthwise_half(nodes, node).is_some()
        || (node.class == "Concatenate"
            && node.inputs.iter().all(is_branch)
            && node.inputs.first().is_some_and(has_convolution))
}

/// The layers that one needs.
fn needed(graph: &Graph, last: usize) -> impl Iterator<Item = &Node> {
    graph.nodes.iter().zip(graph.needed(last)).filter_map(|(node, needed)| needed.then_some(node))
}

/// ε of the first batch norm that a layer needs.
pub(super) fn epsilon(graph: &Graph, last: usize) -> Option<f64> {
    let norm = needed(graph, last).find(|node| node.class == "BatchNormalization")?;
    Some(norm.config["epsilon"].as_f64().unwrap_or(EPSILON))
}

/// The network that a layer ends: Inception V3, Xception, or that with one of the changes that its paper compares.
pub(super) fn architecture(graph: &Graph, last: usize) -> Architecture {
    if graph.nodes[last].class == "Concatenate" {
        return Architecture::InceptionV3;
    }
    let nodes = || needed(graph, last);
    match nodes().find_map(|node| depthwise_half(&graph.nodes, node)) {
        Some((_, Some(Function::Relu))) => Architecture::XceptionReluBetween,
        Some((_, Some(Function::Elu(_)))) => Architecture::XceptionEluBetween,
        _ if graph.is_hub || nodes().any(|node| node.class == "Add") => Architecture::Xception,
        _ => Architecture::XceptionWithoutResiduals,
    }
}

/// Whether a layer has the options that the table's has.
fn fits(node: &Node, layer: &Layer) -> Result<bool> {
    let config = &node.config;
    let is_one = |option: &str| config[option].is_null() || pair(&config[option]) == Some([1; 2]);
    let (kernel, expected) = match layer.operation {
        // The pointwise half of one in two layers.
        Operation::SeparableConv(_) if node.class == "Conv2D" => ("kernel_size", Window::valid(1, 1)),
        Operation::MaxPool(window) | Operation::AveragePool(window) => ("pool_size", window),
        Operation::Conv(window) | Operation::SeparableConv(window) => ("kernel_size", window),
        _ => return Ok(false),
    };
    let (kernel, stride, is_same) = windows(node, kernel)?;
    let has_filters = node.class == "DepthwiseConv2D"
        || number(&config["filters"]).is_none_or(|filters| filters == layer.output.channels);
    let is_plain = ["dilation_rate", "groups", "depth_multiplier"].into_iter().all(is_one);
    let is_channels_last = config["data_format"] != "channels_first";
    Ok(Window::of(kernel, stride, is_same, layer.input) == expected && has_filters && is_plain && is_channels_last)
}

/// Keras's class of the layer that a table's is.
fn class(layer: &Layer) -> &'static str {
    match layer.operation {
        Operation::SeparableConv(_) => "SeparableConv2D",
        Operation::Conv(_) => "Conv2D",
        Operation::AveragePool(_) => "AveragePooling2D",
        _ => "MaxPooling2D",
    }
}

/// A part of a graph that is the table's; or else how it differs, and how many nodes fitted before.
type Matched<T> = std::result::Result<T, (usize, Error)>;

/// A table's layers with the nodes that compute them, from the last to the first.
struct Matching<'a> {
    nodes: &'a [Node],
    layers: &'a [Layer],
    /// The network's name in messages.
    name: &'static str,
    /// The node that gives each value, as far as it is known.
    values: Vec<Option<usize>>,
    /// The convolution and batch norm of each layer, and its depthwise half where that is a layer by itself.
    places: Vec<Option<Vec<usize>>>,
    /// How many nodes fitted so far.
    fitted: usize,
}

impl Matching<'_> {
    fn differs<T>(&self, at: usize, what: &str) -> Matched<T> {
        let Node { name, class, .. } = &self.nodes[at];
        let network = self.name;
        let error = format!(
            "the backbone is another network than {network}, though its layers are the same: {name} ({class}) {what}"
        );
        Err((self.fitted, Error::Weights(error)))
    }

    /// The only input of a node of some kind, through layers that do nothing.
    fn input(&mut self, at: usize, kind: &str, is_it: bool) -> Matched<usize> {
        match (&self.nodes[at].inputs[..], is_it) {
            (&[input], true) => {
                self.fitted += 1;
                Ok(through(self.nodes, input))
            }
            _ => self.differs(at, &format!("is where {kind} belongs")),
        }
    }

    /// Takes a node for the value of a layer, or the image, and so on with what it reads.
    fn value(&mut self, value: ValueId, at: usize) -> Matched<()> {
        let layers = self.layers;
        if let Some(known) = self.values[value] {
            let is_same = known == at;
            return if is_same {
                Ok(())
            } else {
                self.differs(at, &format!("is read instead of {}", self.nodes[known].name))
            };
        }
        let Some(layer) = value.checked_sub(1).map(|layer| &layers[layer]) else {
            return self.differs(at, "is read as the image");
        };
        if layer.operation == Operation::Concat {
            self.concat(value, at)?;
        } else {
            let mut from = at;
            if layer.activation_after.is_some() {
                from = self.input(from, "a ReLU", is_relu(&self.nodes[from]))?;
            }
            match layer.add {
                Some(add) => self.sum(value, add, from)?,
                None => self.layer(value, from)?,
            }
        }
        self.values[value] = Some(at);
        Ok(())
    }

    /// The parts of a concatenation, which may lie in several ones.
    fn concat(&mut self, value: ValueId, at: usize) -> Matched<()> {
        let layers = self.layers;
        let is_part = |layer: &usize| layers[*layer].slice.is_some();
        let first = layers[..value - 1].iter().rposition(|layer| layer.slice == Some(0)).unwrap_or_default();
        let expected: Vec<usize> = (first..value - 1).filter(is_part).collect();
        let mut parts = vec![at];
        // A hostile model may have endlessly many.
        while parts.len() <= expected.len()
            && let Some(place) = parts.iter().position(|&part| self.nodes[part].class == "Concatenate")
        {
            let inputs = &self.nodes[parts[place]].inputs;
            if inputs.is_empty() {
                return self.differs(parts[place], "joins nothing");
            }
            let inputs: Vec<usize> = inputs.iter().map(|&input| through(self.nodes, input)).collect();
            parts.splice(place..=place, inputs);
        }
        if parts.len() != expected.len() {
            return self.differs(at, &format!("joins {} branches instead of {}", parts.len(), expected.len()));
        }
        parts.into_iter().zip(expected).try_for_each(|(part, layer)| self.value(layer + 1, part))
    }

    /// The sum of a layer and an earlier value, in either order.
    fn sum(&mut self, value: ValueId, add: ValueId, at: usize) -> Matched<()> {
        let &[one, other] = &self.nodes[at].inputs[..] else {
            return self.differs(at, "is where a sum of two layers belongs");
        };
        if self.nodes[at].class != "Add" {
            return self.differs(at, "is where a sum belongs");
        }
        let [one, other] = [one, other].map(|input| through(self.nodes, input));
        let before = (self.values.clone(), self.places.clone(), self.fitted);
        let mut attempt = |added, main| self.value(add, added).and_then(|()| self.layer(value, main));
        let Err(first) = attempt(one, other) else { return Ok(()) };
        (self.values, self.places, self.fitted) = before;
        let mut attempt = |added, main| self.value(add, added).and_then(|()| self.layer(value, main));
        let Err(second) = attempt(other, one) else { return Ok(()) };
        Err(if first.0 > second.0 { first } else { second })
    }

    /// A layer without what is added to it and what follows that.
    fn layer(&mut self, value: ValueId, at: usize) -> Matched<()> {
        let layer = &self.layers[value - 1];
        let (nodes, mut from) = (self.nodes, at);
        if layer.batch_norm {
            from = self.input(from, "a BatchNormalization", nodes[from].class == "BatchNormalization")?;
        }
        let kind = class(layer);
        let half = depthwise_half(nodes, &nodes[from]).filter(|_| layer.is_separable());
        let mut next = self.input(from, kind, half.is_some() || nodes[from].class == kind)?;
        for conv in [from].into_iter().chain(half.map(|(half, _)| half)) {
            if !fits(&nodes[conv], layer).map_err(|error| (self.fitted, error))? {
                return self.differs(conv, &format!("has other options than {}", layer.name));
            }
        }
        if half.and_then(|(_, between)| between) != layer.activation_between {
            return self.differs(from, "has another activation function between its halves than other layers");
        }
        if let Some((half, _)) = half {
            next = self.input(half, "a DepthwiseConv2D", true)?;
        }
        if layer.batch_norm {
            let all: Vec<usize> = [from, at].into_iter().chain(half.map(|(half, _)| half)).collect();
            if self.places.iter().flatten().flatten().any(|used| all.contains(used)) {
                return self.differs(from, "is used twice");
            }
            self.places[value - 1] = Some(all);
        }
        let input = match layer.activation_before {
            Some(_) => self.input(next, "a ReLU", is_relu(&nodes[next]))?,
            None => next,
        };
        self.value(layer.from, input)
    }
}

/// The convolutions and batch norms between `image` and the last activation, `features`, in the order of the table.
///
/// # Errors
/// [`Error::Weights`] if they are connected otherwise than in the table, or have other windows.
pub(super) fn places(graph: &Graph, image: usize, features: usize, architecture: Architecture) -> Result<Vec<Places>> {
    let network = Network::backbone(SIZE, architecture)?;
    let (nodes, layers) = (&graph.nodes[..], &network.layers[..]);
    let name = match architecture {
        Architecture::InceptionV3 => "keras.applications.InceptionV3",
        _ => "keras.applications.Xception",
    };
    let mut values = vec![None; layers.len() + 1];
    values[0] = Some(through(nodes, image));
    let places = vec![None; layers.len()];
    let mut matching = Matching { nodes, layers, name, values, places, fitted: 0 };
    matching.value(layers.len(), features).map_err(|(_, error)| error)?;
    let place = |at: usize| Place { name: nodes[at].name.clone(), group: nodes[at].group.clone() };
    let places = |found: Vec<usize>| match found[..] {
        [conv, norm, ref depthwise @ ..] => {
            Some(Places { depthwise: depthwise.first().copied().map(place), conv: place(conv), norm: place(norm) })
        }
        _ => None,
    };
    Ok(matching.places.into_iter().flatten().filter_map(places).collect())
}
