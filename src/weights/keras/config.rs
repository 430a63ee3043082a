//! A Keras model's own JSON as a chain: steps on pixel values → backbone → layers behind it → output.
//!
//! Layers that are none of these are refused by name: a model without them would answer wrongly.

mod backbone;
mod front;
mod steps;

use serde_json::Value;

pub(super) use backbone::{Place, Places};
use front::Resizing;
use steps::{kind_of, output_of, step};
pub(super) use steps::{normalization, number};

use super::activation;
use super::graph::{Graph, Node};
use crate::error::{Error, Result};
use crate::network::activation::Function;
use crate::network::head::MAX_LAYERS;
use crate::network::layer::GlobalPool;
use crate::network::{Architecture, Output};

/// The contents of the config; a model without one has [`Config::default`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Config {
    /// Height and width of the image input, where they are fixed.
    pub input_size: Option<[usize; 2]>,
    /// Steps on pixel values, where there are any: photos then go in as 0 to 255.
    pub pixels: Vec<PixelStep>,
    /// The layers that resize images.
    resizings: Vec<Resizing>,
    /// The backbone's convolutions and their batch norms, in the order of the network's table; none of KerasHub's, which has the
    /// table's names.
    pub places: Vec<Places>,
    /// The layers behind the backbone, without a final softmax or sigmoid.
    pub head: Vec<Step>,
    /// The kind of the last values: by the final activation, else by the loss that the model was compiled with.
    pub output: Option<Output>,
    /// Whether the model ends in logits, which it leaves as they are.
    pub is_logits: bool,
    /// ε of the backbone's batch norms.
    pub epsilon: Option<f64>,
    /// Whether there is a config at all.
    pub is_there: bool,
    /// The backbone, if it has one.
    pub backbone: Option<Architecture>,
}

/// A step on the values of pixels; arrays are by channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PixelStep {
    /// `x · factor + offset`
    Affine([f64; 3], [f64; 3]),
    /// RGB becomes BGR.
    Reverse,
    /// By mean and variance that lie in the file, under this name and in this group of Keras 3's own files.
    Normalization { name: String, group: String, is_inverse: bool },
}

/// A layer behind the backbone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub name: String,
    /// Its group in Keras 3's own files.
    pub group: String,
    pub kind: StepKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum StepKind {
    Pool { is_mean: bool, kernel: [usize; 2], stride: [usize; 2], is_same: bool },
    GlobalPool(GlobalPool),
    Flatten,
    Dense { units: usize, bias: bool },
    BatchNorm { epsilon: f64, scale: bool, center: bool },
    Prelu { is_shared: bool },
    Activation(Function),
    Softmax,
}

/// Layers without effect at inference, beside those whose name begins with `Random`.
const IDLE: [&str; 14] = [
    "Dropout",
    "SpatialDropout2D",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
    "StopGradient",
    "Cast",
    "cast",
    "RandAugment",
    "AugMix",
    "MixUp",
    "CutMix",
];

/// ε of a batch norm that does not tell: Keras's default.
pub(super) const EPSILON: f64 = 1e-3;

fn unsupported<T>(node: &Node, what: &str) -> Result<T> {
    let Node { name, class, .. } = node;
    Err(Error::Weights(format!(
        "{name} ({class}{what}) is not part of an Xception classifier: save the model without it, or with layers that \
         docs/models.md lists"
    )))
}

fn is_idle(node: &Node) -> bool {
    let class = &*node.class;
    (class.starts_with("Random") && class != "RandomCrop") || IDLE.contains(&class)
}

/// The layer whose values one has that may do nothing.
fn through(nodes: &[Node], mut at: usize) -> usize {
    while let ([next], true) = (&nodes[at].inputs[..], is_idle(&nodes[at])) {
        at = *next;
    }
    at
}

impl Config {
    /// Reads a model's `config.json`, or the attributes `model_config` and `training_config` of an `.h5` file; a model without
    /// separable convolutions is read as a head alone.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is no JSON, or has a layer that an Xception classifier has not.
    pub(super) fn parse(json: &str, training: Option<&str>) -> Result<Self> {
        let read = |json: &str| -> Result<Value> {
            serde_json::from_str(json)
                .map_err(|error| Error::Weights(format!("the model's config is damaged: {error}")))
        };
        let json = read(json)?;
        let compiled = training.map(read).transpose()?.unwrap_or_else(|| json["compile_config"].clone());
        let is_keras3 = json.to_string().contains("\"batch_shape\"");
        let is_known = json["class_name"].as_str().is_some_and(|class| class.ends_with("XceptionImageClassifier"));
        // A model of a class of its own, whose weights alone tell what it is.
        if !is_known && !json["config"].is_array() && json["config"]["layers"].is_null() {
            return Ok(Self::default());
        }
        let graph = Graph::parse(&json)?;
        let nodes = &graph.nodes;
        let &[output] = &graph.outputs[..] else {
            let names: Vec<&str> = graph.outputs.iter().map(|&output| &*nodes[output].name).collect();
            return Err(Error::Weights(format!(
                "the model returns {} results ({}): save a model of one of them",
                names.len(),
                names.join(", ")
            )));
        };
        let mut config = Self { is_there: true, ..Self::default() };
        if let Some(features) = config.behind_backbone(&graph, output, is_keras3)? {
            let image = config.front_of_backbone(&graph, features)?;
            if !graph.is_hub {
                config.places = backbone::places(&graph, image, features, config.backbone.unwrap_or_default())?;
            }
        }
        config.end(&compiled["loss"])?;
        Ok(config)
    }

    /// Reads the layers from the output back to the backbone; its last activation, if there is one.
    fn behind_backbone(&mut self, graph: &Graph, output: usize, is_keras3: bool) -> Result<Option<usize>> {
        let nodes = &graph.nodes;
        let mut at = output;
        // From the last layer to the first.
        let mut steps: Vec<(usize, StepKind)> = Vec::new();
        let last = loop {
            let node = &nodes[at];
            if steps.len() > MAX_LAYERS {
                return unsupported(node, &format!(", before {MAX_LAYERS} others"));
            }
            if backbone::ends(graph, node) {
                break Some(at);
            }
            if node.class == "InputLayer" {
                break None;
            }
            if node.inputs.len() > 1 {
                let (pool, next) = Self::both_pools(graph, node)?;
                steps.push((at, StepKind::GlobalPool(pool)));
                at = next;
                continue;
            }
            if !is_idle(node) {
                if node.class == "Dense" {
                    steps.extend(kind_of(activation::argument(node, is_keras3)?).map(|kind| (at, kind)));
                }
                steps.extend(step(node, is_keras3)?.map(|kind| (at, kind)));
            }
            match node.inputs.first() {
                Some(&next) => at = next,
                None => break None,
            }
        };
        let features = match last {
            None => None,
            Some(last) if nodes[last].class == "Concatenate" => {
                self.epsilon = backbone::epsilon(graph, last);
                Some(last)
            }
            // The last separable convolution has its batch norm and ReLU behind it.
            Some(last) => match [steps.pop(), steps.pop()] {
                [
                    Some((_, StepKind::BatchNorm { epsilon, .. })),
                    Some((relu, StepKind::Activation(Function::Relu))),
                ] => {
                    self.epsilon = Some(epsilon);
                    Some(relu)
                }
                _ => return unsupported(&nodes[last], ", which ends the backbone without its batch norm and ReLU"),
            },
        };
        let step = |(at, kind): (usize, StepKind)| {
            let Node { name, group, .. } = &nodes[at];
            Step { name: name.clone(), group: group.clone(), kind }
        };
        self.head = steps.into_iter().rev().map(step).collect();
        self.backbone = last.map(|last| backbone::architecture(graph, last));
        Ok(features)
    }

    /// The two poolings that a layer puts one behind the other, and what both read.
    fn both_pools(graph: &Graph, node: &Node) -> Result<(GlobalPool, usize)> {
        let nodes = &graph.nodes;
        let pools: Vec<&Node> = node.inputs.iter().map(|&input| &nodes[through(nodes, input)]).collect();
        let is_mean = |pool: &Node| match &*pool.class {
            "GlobalAveragePooling2D" => Some(true),
            "GlobalMaxPooling2D" => Some(false),
            _ => None,
        };
        let axis = node.config["axis"].as_i64().unwrap_or(-1);
        let ([one, other], "Concatenate", -1 | 1) = (&pools[..], &*node.class, axis) else {
            return unsupported(node, &format!(", which reads {} layers", node.inputs.len()));
        };
        let (Some(first), Some(second)) = (is_mean(one), is_mean(other)) else {
            return unsupported(node, ", which joins something else than the two global poolings");
        };
        let sources = [one, other].map(|pool| pool.inputs.first().map(|&input| through(nodes, input)));
        let [Some(source), Some(same)] = sources else { return unsupported(node, ", whose poolings read nothing") };
        if source != same || first == second {
            return unsupported(node, ", which joins other things than the two global poolings of the backbone");
        }
        Ok((if first { GlobalPool::AverageMax } else { GlobalPool::MaxAverage }, source))
    }

    /// Takes a final softmax or sigmoid from the head; without one the loss tells what the values are.
    fn end(&mut self, loss: &Value) -> Result<()> {
        let is_final = |step: &Step| matches!(step.kind, StepKind::Softmax | StepKind::Activation(Function::Sigmoid));
        let ended = self.head.pop_if(|step| is_final(step));
        if let Some(step) = self.head.iter().find(|step| step.kind == StepKind::Softmax) {
            return Err(Error::Weights(format!(
                "{} is a softmax with layers behind it: only a model's last layer may be one",
                step.name
            )));
        }
        let units = self.head.iter().rev().find_map(|step| match step.kind {
            StepKind::Dense { units, .. } => Some(units),
            _ => None,
        });
        self.output = match ended.map(|step| step.kind) {
            Some(StepKind::Softmax) if units == Some(1) => {
                let name = self.head.last().map_or("the model", |step| &step.name);
                return Err(Error::Weights(format!(
                    "{name} ends in a softmax of its single output, which is 1 for any photo: train it with a sigmoid, or \
                     with an output for each class"
                )));
            }
            Some(StepKind::Softmax) => Some(Output::Softmax),
            Some(_) => Some(Output::Sigmoid),
            None if units.is_none() => Some(Output::Features),
            None if self
                .head
                .last()
                .is_some_and(|step| !matches!(step.kind, StepKind::Dense { .. } | StepKind::BatchNorm { .. })) =>
            {
                Some(Output::Linear)
            }
            None => {
                self.is_logits = true;
                // The softmax of a single logit tells nothing.
                output_of(loss).filter(|&output| output != Output::Softmax || units != Some(1))
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
