//! A network: a list of layers, from which everything else is derived. `xception.rs`, `aligned.rs` and `inception_v3.rs` have the tables
//! of backbones, `head.rs` what follows them; `builder.rs` makes layers.

pub mod activation;
mod aligned;
mod architecture;
mod builder;
pub mod head;
mod inception_v3;
pub mod layer;
mod xception;

pub use architecture::Architecture;
#[cfg(not(target_arch = "wasm32"))]
pub use architecture::Published;
pub use head::{HeadLayer, Output};
pub use xception::{FEATURES, MIN_SIDE};

use crate::error::{Error, Result};
use builder::Builder;
use layer::{Layer, Resize, Section, Shape, Tensor};

/// The largest side the network is planned for; a GPU's own limits usually end before.
pub const MAX_SIDE: usize = 4096;

/// The most layers in front of the backbone.
const MAX_FRONT: usize = 8;

/// The most bytes that all weights may take as f32, on every machine: the largest array of a 32-bit program, which WebAssembly is.
pub const MAX_WEIGHTS: u64 = i32::MAX as u64;

/// A layer in front of the backbone, which reads the image or the layer before it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FrontLayer {
    /// The layer's name in the model it comes from, such as `resizing`.
    pub name: String,
    /// Its operation.
    pub resize: Resize,
}

impl FrontLayer {
    /// Height and width of what some layers make of an image's.
    pub fn output(front: &[Self], image: [usize; 2]) -> [usize; 2] {
        front.last().map_or(image, |layer| layer.resize.size)
    }
}

/// The network for one input size and one head: its layers in the order in which they run.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The layers; layer `n` produces [`ValueId`](layer::ValueId) `n + 1`.
    pub layers: Vec<Layer>,
    /// The kind of the last layer's values.
    pub output: Output,
}

impl Network {
    /// The network for images of `[height, width]` pixels with `head` behind the backbone.
    ///
    /// # Errors
    /// [`Error::Weights`] if a side is outside [`Architecture::min_side`]..=[`MAX_SIDE`], the head's layers do not follow one another
    /// ([`head::layers`]), or do not end in the values of `output`; [`Error::TooLarge`] if the weights are more than [`MAX_WEIGHTS`].
    pub fn new(size: [usize; 2], head: &[HeadLayer], output: Output, architecture: Architecture) -> Result<Self> {
        let mut network = Self::backbone(size, architecture)?;
        let head = head::layers(network.features(), head)?;
        let backbone = network.layers.len();
        network.layers.extend(head.into_iter().map(|layer| Layer { from: backbone + layer.from, ..layer }));
        network.output = output;
        if output != Output::Features && !network.layers[backbone..].iter().any(|layer| layer.operation.makes_vector())
        {
            return Err(Error::Weights(
                "there is no classification head (a \"notop\" file?): give a file of its Dense layers as the head"
                    .into(),
            ));
        }
        if output == Output::Softmax && network.outputs() == 1 {
            return Err(Error::Weights("the softmax of its single output is 1 for any photo".to_owned()));
        }
        let mut all = 0;
        for Tensor { name, shape, .. } in network.tensors() {
            let bytes = shape.iter().fold(4, |bytes, &length| bytes * length as u64);
            all += bytes;
            if all > MAX_WEIGHTS {
                return Err(Error::TooLarge(format!(
                    "{name} has {bytes} bytes as f32, with which the weights are more than the {MAX_WEIGHTS} that are supported"
                )));
            }
        }
        Ok(network)
    }

    /// The network up to its last activation.
    ///
    /// # Errors
    /// [`Error::Weights`] if a side is outside [`Architecture::min_side`]..=[`MAX_SIDE`].
    pub fn backbone([height, width]: [usize; 2], architecture: Architecture) -> Result<Self> {
        let least = architecture.min_side();
        if ![height, width].iter().all(|side| (least..=MAX_SIDE).contains(side)) {
            return Err(Error::Weights(format!(
                "the input size {height}×{width} is not supported: each side must be {least} to {MAX_SIDE} pixels"
            )));
        }
        let mut builder = Builder::new(Shape::new(height, width, 3));
        match architecture {
            _ if architecture.is_xception() => xception::backbone(&mut builder, architecture),
            Architecture::InceptionV3 | Architecture::TorchInceptionV3 => {
                inception_v3::backbone(&mut builder, architecture);
            }
            _ => aligned::backbone(&mut builder, architecture),
        }
        Ok(Self { layers: builder.layers, output: Output::Features })
    }

    /// This network behind layers that resize images of `[height, width]` pixels to its own input.
    ///
    /// # Errors
    /// [`Error::Weights`] if there are too many of them, or a side is 0 or above [`MAX_SIDE`].
    pub fn behind(mut self, [height, width]: [usize; 2], front: &[FrontLayer]) -> Result<Self> {
        let mut sides = front.iter().flat_map(|layer| layer.resize.size).chain([height, width]);
        if front.len() > MAX_FRONT || !sides.all(|side| (1..=MAX_SIDE).contains(&side)) {
            return Err(Error::Weights(format!("images of {height}×{width} cannot be resized as the model has it")));
        }
        let mut builder = Builder::new(Shape::new(height, width, 3));
        builder.section = Section::FRONT;
        front.iter().for_each(|layer| builder.resize(&layer.name, layer.resize));
        for layer in &mut self.layers {
            layer.from += front.len();
            layer.add = layer.add.map(|value| value + front.len());
        }
        self.layers.splice(..0, builder.layers);
        Ok(self)
    }

    /// The number of parameters a training framework counts, batch norm's statistics included.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.layers.iter().flat_map(Layer::parameters);
        parameters.map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Multiply-accumulates for one image.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(Layer::macs).sum()
    }

    /// The folded tensors of all layers, in file order.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.layers.iter().flat_map(Layer::tensors).collect()
    }

    /// The shape of the backbone's last activation.
    pub fn features(&self) -> Shape {
        let last = self.layers.iter().rfind(|layer| layer.section != Section::HEAD);
        last.map_or(Shape::new(0, 0, 0), |layer| layer.output)
    }

    /// The layers whose activations can be read, by name: all but the shortcuts, which are computed with the pooling they are
    /// added to, and the parts of a concatenation.
    pub fn readable(&self) -> impl Iterator<Item = (&str, Shape)> {
        let readable = self.layers.iter().enumerate().filter(|&(index, _)| self.is_readable(index));
        readable.map(|(_, layer)| (&*layer.name, layer.output))
    }

    /// Whether the activations of a layer can be read.
    pub fn is_readable(&self, layer: usize) -> bool {
        self.layers[layer].slice.is_none()
            && !self.layers.iter().any(|pool| pool.is_joining_pool() && pool.add == Some(layer + 1))
    }

    /// The section of a layer; that of the head for none.
    pub fn section(&self, layer: Option<usize>) -> Section {
        layer.and_then(|layer| self.layers.get(layer)).map_or(Section::HEAD, |layer| layer.section)
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output.len())
    }

    /// The number of classes; 0 if the outputs are numbers or features.
    pub fn classes(&self) -> usize {
        self.output.classes(self.outputs())
    }
}
