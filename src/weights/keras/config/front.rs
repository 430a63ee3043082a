//! Layers in front of the backbone that resize images.

use serde_json::Value;

use super::super::graph::Node;
use super::steps::{number, pair};
use super::{Config, unsupported};
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
pub(super) fn resizing(node: &Node) -> Result<Option<Resizing>> {
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
