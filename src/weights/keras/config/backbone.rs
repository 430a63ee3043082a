//! The backbone in a config, compared with the network's table: a model of the same arrays that are connected otherwise is another one.

use super::super::activation::{self, Named};
use super::super::graph::{Graph, Node};
use super::steps::{number, pair, windows};
use super::{EPSILON, is_idle, through, unsupported};
use crate::error::{Error, Result};
use crate::network::activation::Function;
use crate::network::layer::{Layer, Operation, Window};
use crate::network::{Architecture, Network};

/// A size at which all layers have their usual windows.
const SIZE: [usize; 2] = [299; 2];

/// A layer with arrays, by its name, and by its group in Keras 3's own files.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Place {
    pub name: String,
    pub group: String,
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
        "Conv2D" | "SeparableConv2D" | "MaxPooling2D" | "Add" | "BatchNormalization" => Ok(()),
        _ if is_idle(node) || is_relu(node) => Ok(()),
        _ => unsupported(node, ", in the backbone"),
    }
}

fn is_relu(node: &Node) -> bool {
    matches!(activation::layer(node, true), Ok(Some(Named::Function(Function::Relu))))
}

/// Whether a layer has the options that the table's has.
fn fits(node: &Node, layer: &Layer) -> Result<bool> {
    let config = &node.config;
    let is_one = |option: &str| config[option].is_null() || pair(&config[option]) == Some([1; 2]);
    let (kernel, expected) = match layer.operation {
        Operation::MaxPool(window) => ("pool_size", window),
        Operation::Conv(window) | Operation::SeparableConv(window) => ("kernel_size", window),
        _ => return Ok(false),
    };
    let (kernel, stride, is_same) = windows(node, kernel)?;
    let has_filters = number(&config["filters"]).is_none_or(|filters| filters == layer.output.channels);
    let is_plain = ["dilation_rate", "groups", "depth_multiplier"].into_iter().all(is_one);
    let is_channels_last = config["data_format"] != "channels_first";
    Ok(Window::of(kernel, stride, is_same, layer.input) == expected && has_filters && is_plain && is_channels_last)
}

/// A graph by what reads each of its layers.
struct Readers<'a> {
    nodes: &'a [Node],
    readers: Vec<Vec<usize>>,
}

impl<'a> Readers<'a> {
    /// Of the layers that `last` needs; those that do nothing are left out.
    fn new(graph: &'a Graph, last: usize) -> Self {
        let mut all = Self { nodes: &graph.nodes, readers: vec![Vec::new(); graph.nodes.len()] };
        let needed = graph.needed(last);
        for at in (0..=last).filter(|&at| needed[at] && !is_idle(&graph.nodes[at])) {
            for &input in &graph.nodes[at].inputs {
                let from = through(all.nodes, input);
                all.readers[from].push(at);
            }
        }
        all
    }

    /// The only reader of some kind.
    fn next(&self, at: usize, kind: &str, is_it: impl Fn(&Node) -> bool) -> Result<usize> {
        let mut readers = self.readers[at].iter().copied().filter(|&reader| is_it(&self.nodes[reader]));
        match (readers.next(), readers.next()) {
            (Some(reader), None) => Ok(reader),
            (reader, _) => {
                let what = if reader.is_some() { "several layers" } else { "no layer" };
                Err(another(&self.nodes[at], &format!("is followed by {what} of the kind {kind}")))
            }
        }
    }
}

fn another(node: &Node, what: &str) -> Error {
    Error::Weights(format!(
        "the backbone is another network than keras.applications.Xception, though its layers are the same: {} ({}) {what}",
        node.name, node.class
    ))
}

/// The convolutions and batch norms between `image` and the last activation, `features`, in the order of the table.
///
/// # Errors
/// [`Error::Weights`] if they are connected otherwise than in the table, or have other windows.
pub(super) fn places(graph: &Graph, image: usize, features: usize) -> Result<Vec<[Place; 2]>> {
    let graph = Readers::new(graph, features);
    let nodes = graph.nodes;
    let place = |at: usize| Place { name: nodes[at].name.clone(), group: nodes[at].group.clone() };
    let mut values = vec![through(nodes, image)];
    let mut places = Vec::new();
    for layer in &Network::backbone(SIZE, Architecture::Xception)?.layers {
        let class = match layer.operation {
            Operation::SeparableConv(_) => "SeparableConv2D",
            Operation::Conv(_) => "Conv2D",
            _ => "MaxPooling2D",
        };
        let of = |class: &'static str| move |node: &Node| node.class == class;
        let mut at = values[layer.from];
        if layer.activation_before.is_some() {
            at = graph.next(at, "ReLU", is_relu)?;
        }
        at = graph.next(at, class, of(class))?;
        if !fits(&nodes[at], layer)? {
            return Err(another(&nodes[at], &format!("has other options than {}", layer.name)));
        }
        if layer.batch_norm {
            let norm = graph.next(at, "BatchNormalization", of("BatchNormalization"))?;
            places.push([place(at), place(norm)]);
            at = norm;
        }
        if let Some(add) = layer.add {
            let sum = graph.next(at, "Add", of("Add"))?;
            let [added, value] = [values[add], at];
            let inputs: Vec<usize> = nodes[sum].inputs.iter().map(|&input| through(nodes, input)).collect();
            if inputs != [added, value] && inputs != [value, added] {
                return Err(another(&nodes[sum], "adds other layers"));
            }
            at = sum;
        }
        if layer.activation_after.is_some() {
            at = graph.next(at, "ReLU", is_relu)?;
        }
        values.push(at);
    }
    match values.last() {
        Some(&last) if last == features => Ok(places),
        _ => Err(another(&nodes[features], "is not the last one")),
    }
}
