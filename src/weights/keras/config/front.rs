//! Layers in front of the backbone: steps on pixel values, and resizing.

use serde_json::Value;

use super::super::graph::{Graph, Node};
use super::steps::{number, pair, pixel_step, size};
use super::{Config, EPSILON, PixelStep, backbone, is_idle, unsupported};
use crate::error::{Error, Result};
use crate::network::FrontLayer;
use crate::network::layer::{Part, Resize};
use crate::resize::{Filter, Fit};

/// A layer that resizes images.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resizing {
    name: String,
    target: Target,
    part: Part,
    is_nearest: bool,
}

/// Height and width of a resized image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Size([usize; 2]),
    /// Those of the image, this many times.
    Times([usize; 2]),
}

/// How a photo becomes the backbone's input.
pub(in super::super) struct Front {
    /// Height and width of the network's input, where they are known.
    pub size: Option<[usize; 2]>,
    /// The first resizing, where the model takes photos of any size.
    pub photo: Option<(Filter, Fit)>,
    /// The others.
    pub layers: Vec<FrontLayer>,
}

/// A layer that resizes images; none of another kind.
fn resizing(node: &Node) -> Result<Option<Resizing>> {
    let config = &node.config;
    let (target, part) = match &*node.class {
        "Resizing" | "CenterCrop" => {
            let [Some(height), Some(width)] = [&config["height"], &config["width"]].map(number) else {
                return unsupported(node, ", without a size");
            };
            let part = match () {
                () if node.class == "CenterCrop" => Part::Centre,
                () if config["crop_to_aspect_ratio"] == true => Part::Aspect,
                () => Part::Whole,
            };
            (Target::Size([height, width]), part)
        }
        "UpSampling2D" => {
            let Some(times) = pair(&config["size"]) else { return unsupported(node, ", without a size") };
            (Target::Times(times), Part::Whole)
        }
        _ => return Ok(None),
    };
    if config["pad_to_aspect_ratio"] == true {
        return unsupported(node, ", which pads images");
    }
    if config["data_format"] == "channels_first" {
        return unsupported(node, ", with channels first");
    }
    let is_nearest = match (&config["interpolation"], config["antialias"] == true) {
        (Value::String(name), false) if name == "nearest" => true,
        (Value::String(name), false) if name == "bilinear" => false,
        (Value::Null, false) => node.class == "UpSampling2D",
        _ => return unsupported(node, ", which interpolates by another filter than bilinear or nearest"),
    };
    Ok(Some(Resizing { name: node.name.clone(), target, part, is_nearest }))
}

impl Config {
    /// Reads the layers in front of the backbone that ends in `features`, and checks that the others are a backbone's; the node that its
    /// first convolution reads.
    pub(super) fn front_of_backbone(&mut self, graph: &Graph, features: usize) -> Result<usize> {
        let nodes = &graph.nodes;
        let needed = graph.needed(features);
        let is_first =
            |&at: &usize| needed[at] && matches!(&*nodes[at].class, "Conv2D" | "SeparableConv2D" | "DepthwiseConv2D");
        let first = (0..=features).find(is_first).unwrap_or(features);
        let Some(&image) = nodes[first].inputs.first() else {
            return unsupported(&nodes[first], ", which reads no image");
        };
        let mut at = Some(image);
        let mut in_front = vec![false; nodes.len()];
        let (mut steps, mut resizings) = (Vec::new(), Vec::new());
        while let Some(here) = at {
            let node = &nodes[here];
            in_front[here] = true;
            at = match &node.inputs[..] {
                [] => {
                    self.input_size = size(&node.config);
                    None
                }
                [next] if is_idle(node) => Some(*next),
                [next] => {
                    match (resizing(node)?, pixel_step(node)) {
                        (Some(resizing), _) => resizings.push(resizing),
                        (None, Some(step)) => steps.push(step),
                        (None, None) => return unsupported(node, ", in front of the backbone"),
                    }
                    Some(*next)
                }
                inputs => {
                    // Keras 3 takes RGB apart to make it BGR.
                    let channel = |&input: &usize| -> Option<(i64, usize)> {
                        in_front[input] = true;
                        let node = &nodes[input];
                        let index =
                            [&node.call["args"][1][1], &node.call["args"][1][0]].into_iter().find_map(Value::as_i64);
                        Some((index.filter(|_| node.class == "GetItem")?, *node.inputs.first()?))
                    };
                    let channels: Option<Vec<_>> = inputs.iter().map(channel).collect();
                    let (Some([(2, next), (1, _), (0, _)]), "Stack") = (channels.as_deref(), &*node.class) else {
                        return unsupported(node, &format!(", which reads {} layers", inputs.len()));
                    };
                    steps.push(PixelStep::Reverse);
                    Some(*next)
                }
            };
        }
        self.pixels = steps.into_iter().rev().collect();
        self.resizings = resizings.into_iter().rev().collect();
        for node in (0..=features).filter(|&at| needed[at] && !in_front[at]).map(|at| &nodes[at]) {
            backbone::check(node, self.epsilon.unwrap_or(EPSILON))?;
        }
        Ok(image)
    }

    /// How a photo becomes the backbone's input; `size` is that of the network's input, where the caller tells it.
    ///
    /// # Errors
    /// [`Error::Weights`] if it depends on a size that is not known.
    pub(in super::super) fn front(&self, size: Option<[usize; 2]>) -> Result<Front> {
        let mut image = size.or(self.input_size);
        let mut front = Front { size: image, photo: None, layers: Vec::new() };
        for &Resizing { ref name, target, part, is_nearest } in &self.resizings {
            let unknown = || {
                Error::Weights(format!(
                    "{name} resizes images of any size by what they are: give the size of its images (--size, inputSize)"
                ))
            };
            let size = match target {
                Target::Size(size) => size,
                Target::Times(times) => {
                    let image = image.ok_or_else(unknown)?;
                    [0, 1].map(|axis| image[axis].saturating_mul(times[axis]))
                }
            };
            match image {
                Some(image) if image == size => {}
                Some(_) => {
                    let resize = Resize { size, part, is_nearest };
                    front.layers.push(FrontLayer { name: name.clone(), resize });
                }
                None if part == Part::Centre => return Err(unknown()),
                None => {
                    let fit = if part == Part::Aspect { Fit::Crop } else { Fit::Squash };
                    front.photo = Some((if is_nearest { Filter::TfNearest } else { Filter::TfBilinear }, fit));
                    front.size = Some(size);
                }
            }
            image = Some(size);
        }
        Ok(front)
    }
}
