//! The graph in a Keras model's JSON: its layers, nested models taken apart, each with what it reads.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Result};

/// The most layers of a model: an Xception has 132.
const MAX_NODES: usize = 4096;

/// How deep models may lie in models.
const MAX_DEPTH: usize = 32;

/// A layer in the order of its graph.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The class, such as `Dense`; of a TensorFlow function its name, such as `nn.relu`.
    pub class: String,
    /// The layer's name, which only its model has once.
    pub name: String,
    /// The layer's options.
    pub config: Value,
    /// The arguments of its call, besides what it reads.
    pub call: Value,
    /// The layer's group in Keras 3's own files.
    pub group: String,
    /// The nodes that it reads.
    pub inputs: Vec<usize>,
}

/// A model's layers; each reads earlier ones.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    /// The nodes whose results the model returns.
    pub outputs: Vec<usize>,
    /// Whether the backbone is KerasHub's, of which a few nodes stand for all.
    pub is_hub: bool,
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Weights(format!("the model's config is damaged: {what}"))
}

impl Graph {
    /// Reads a model's JSON: `config.json`, or the `model_config` attribute of an `.h5` file.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is no JSON of layers that read one another.
    pub(super) fn parse(json: &Value) -> Result<Self> {
        let mut graph = Self::default();
        let hub = graph.hub(class(json), name(json), &json["config"], &[])?;
        graph.outputs = match hub {
            Some(output) => vec![output],
            None => graph.model(&json["config"], "", None, 0)?,
        };
        Ok(graph)
    }

    /// Which nodes one needs, itself included.
    pub(super) fn needed(&self, last: usize) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        needed[last] = true;
        for at in (0..=last).rev() {
            if needed[at] {
                self.nodes[at].inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        needed
    }

    /// Adds the layers of a model that reads `inputs`, or for the outermost one its own; the nodes that it returns.
    fn model(&mut self, config: &Value, path: &str, inputs: Option<Vec<usize>>, depth: usize) -> Result<Vec<usize>> {
        if depth > MAX_DEPTH {
            return Err(damaged("its models lie too deep in one another"));
        }
        // An old Sequential model is a bare list.
        let layers = config["layers"].as_array().or(config.as_array());
        let mut layers: Vec<(&Value, String)> = groups(layers.into_iter().flatten(), path);
        if layers.len() > MAX_NODES {
            return Err(damaged(format!("it has {} layers", layers.len())));
        }
        let sources = names(&config["input_layers"]);
        let mut values: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        // A Sequential model has no list of inputs: each layer reads the one before it.
        if sources.is_empty() && config["input_layers"].is_null() {
            let mut last = inputs;
            for (layer, group) in layers {
                if class(layer) != "InputLayer" || last.is_none() {
                    last = Some(self.layer(layer, &group, last.unwrap_or_default(), depth)?);
                }
            }
            return last.ok_or_else(|| damaged("a model without layers"));
        }
        for (place, (source, _)) in sources.iter().enumerate() {
            if let Some(&input) = inputs.as_ref().and_then(|inputs| inputs.get(place)) {
                values.insert(source, vec![input]);
            }
        }
        // Layers are listed in about the order of the graph.
        while !layers.is_empty() {
            let count = layers.len();
            let mut left = Vec::new();
            for (layer, group) in layers {
                let name = name(layer);
                if values.contains_key(name) {
                    continue;
                }
                let calls = layer["inbound_nodes"].as_array().map_or(&[][..], Vec::as_slice);
                if calls.len() > 1 {
                    return Err(Error::Weights(format!(
                        "{name} is used {} times in the model: an Xception classifier uses each layer once",
                        calls.len()
                    )));
                }
                let read: Option<Vec<usize>> = calls
                    .iter()
                    .flat_map(names)
                    .map(|(source, output)| values.get(source).and_then(|values| values.get(output)).copied())
                    .collect();
                match read {
                    Some(read) => {
                        let outputs = self.layer(layer, &group, read, depth)?;
                        values.insert(name, outputs);
                    }
                    None => left.push((layer, group)),
                }
            }
            layers = left;
            if layers.len() == count {
                return Err(damaged(format!("{} reads a layer that is not there", name(layers[0].0))));
            }
        }
        let outputs = names(&config["output_layers"]).into_iter();
        let node = |(source, output): (&str, usize)| values.get(source)?.get(output).copied();
        outputs.map(node).collect::<Option<_>>().ok_or_else(|| damaged("it returns a layer that is not there"))
    }

    /// Adds a layer that reads some nodes; the nodes that it returns.
    fn layer(&mut self, layer: &Value, group: &str, inputs: Vec<usize>, depth: usize) -> Result<Vec<usize>> {
        let config = &layer["config"];
        if config["layers"].is_array() || config.is_array() {
            return self.model(config, group, Some(inputs), depth + 1);
        }
        if self.nodes.len() == MAX_NODES {
            return Err(damaged("it has too many layers"));
        }
        let (class, name) = (class(layer), name(layer));
        if let Some(last) = self.hub(class, name, config, &inputs)? {
            return Ok(vec![last]);
        }
        let function = || config["function"].as_str().unwrap_or(class).to_owned();
        let wrapped = &config["layer"];
        if !wrapped.is_null() {
            return Err(Error::Weights(format!(
                "{name} ({class}) applies {} to each of several images: an Xception classifier reads one image",
                self::name(wrapped)
            )));
        }
        self.nodes.push(Node {
            class: if matches!(class, "TFOpLambda" | "SlicingOpLambda") { function() } else { class.to_owned() },
            name: name.to_owned(),
            config: config.clone(),
            call: layer["inbound_nodes"][0].clone(),
            group: group.to_owned(),
            inputs,
        });
        Ok(vec![self.nodes.len() - 1])
    }
}

fn class(layer: &Value) -> &str {
    layer["class_name"].as_str().unwrap_or_default()
}

fn name(layer: &Value) -> &str {
    layer["config"]["name"].as_str().or(layer["name"].as_str()).unwrap_or("a layer")
}

/// Layers with their groups in Keras 3's own files, which are named by class and count: `/layers/dense_1`.
fn groups<'a>(layers: impl Iterator<Item = &'a Value>, path: &str) -> Vec<(&'a Value, String)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let group = |layer: &'a Value| {
        let class = snake_case(class(layer));
        let count = counts.entry(class.clone()).or_default();
        let group = if *count == 0 { class } else { format!("{class}_{count}") };
        *count += 1;
        (layer, format!("{path}/layers/{group}"))
    };
    layers.map(group).collect()
}

/// As Keras makes it: `PReLU` is `p_re_lu`, `GlobalAveragePooling2D` is `global_average_pooling2d`.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut snake = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let (before, after) = (at.checked_sub(1).map(|at| letters[at]), letters.get(at + 1));
        let is_start = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase() || (after.is_some_and(char::is_ascii_lowercase) && before != '_')
            });
        if is_start {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The layers that a part of a config names, and which of their results: `["name", 0, 0]`, with more behind it or in other lists.
fn names(json: &Value) -> Vec<(&str, usize)> {
    match json {
        Value::Array(items) => match &items[..] {
            [Value::String(name), Value::Number(_), Value::Number(output), rest @ ..] => {
                let output = output.as_u64().and_then(|output| usize::try_from(output).ok()).unwrap_or_default();
                [(&**name, output)].into_iter().chain(rest.iter().flat_map(names)).collect()
            }
            items => items.iter().flat_map(names).collect(),
        },
        Value::Object(object) => object.values().flat_map(names).collect(),
        _ => Vec::new(),
    }
}
