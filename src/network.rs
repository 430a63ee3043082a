//! Xception as a table that reads like Figure 5 of the paper; everything else is derived from it.

use crate::error::{Error, Result};
use crate::layer::{Layer, Operation, Shape, Tensor, ValueId};
use Block::*;

/// The smallest side of an image the network takes; below it the last blocks have nothing to see.
pub const MIN_SIDE: usize = 71;

/// The largest side the network is planned for; a GPU's own limits usually end before.
pub const MAX_SIDE: usize = 4096;

/// The features that the backbone's mean gives.
pub const FEATURES: usize = 2048;

/// The most dense layers.
pub const MAX_DENSE: usize = 16;

/// The most units of a dense layer.
pub const MAX_UNITS: usize = 1 << 18;

/// The most bytes that all weights may take as f32, on every machine: the largest array of a 32-bit program, which WebAssembly is.
pub const MAX_WEIGHTS: u64 = i32::MAX as u64;

/// A row of the table: a convolution, or a block of separable convolutions.
enum Block {
    /// 3×3 convolution without padding and its ReLU: channels, stride.
    Conv(&'static str, usize, usize),
    /// Separable convolutions, then max pooling, around which a strided 1×1 shortcut leads.
    Downsample(&'static str, [Sep; 2]),
    /// Three ReLU + separable convolutions whose input is added to their output.
    Residual(&'static str, [Sep; 3]),
    /// A separable convolution with its ReLU after it.
    SepRelu(&'static str, usize),
}

/// A separable convolution inside a block, by its number of output channels.
enum Sep {
    /// Reads its input as it is.
    Plain(usize),
    /// Takes negative inputs as zero.
    Relu(usize),
}
use Sep::{Plain, Relu};

const TABLE: [Block; 16] = [
    // Entry flow
    Conv("block1_conv1", 32, 2),
    Conv("block1_conv2", 64, 1),
    Downsample("block2", [Plain(128), Relu(128)]),
    Downsample("block3", [Relu(256), Relu(256)]),
    Downsample("block4", [Relu(728), Relu(728)]),
    // Middle flow, eight times
    Residual("block5", [Relu(728), Relu(728), Relu(728)]),
    Residual("block6", [Relu(728), Relu(728), Relu(728)]),
    Residual("block7", [Relu(728), Relu(728), Relu(728)]),
    Residual("block8", [Relu(728), Relu(728), Relu(728)]),
    Residual("block9", [Relu(728), Relu(728), Relu(728)]),
    Residual("block10", [Relu(728), Relu(728), Relu(728)]),
    Residual("block11", [Relu(728), Relu(728), Relu(728)]),
    Residual("block12", [Relu(728), Relu(728), Relu(728)]),
    // Exit flow; the mean and the dense layers follow
    Downsample("block13", [Relu(728), Relu(1024)]),
    SepRelu("block14_sepconv1", 1536),
    SepRelu("block14_sepconv2", 2048),
];

/// Who trained the weights: frameworks differ in what they call the same network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Max pooling is padded as Keras does for "same": an odd length gets one on each side, an even one none before.
    #[default]
    Keras,
    /// Max pooling is padded by one on each side, as timm's `legacy_xception` does.
    Timm,
}

crate::names! { Preset { Keras = "keras", Timm = "timm" } }

/// A fully connected layer after the mean.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dense {
    /// The layer's name in the model it comes from, such as `predictions`.
    pub name: String,
    /// Outputs; the last layer's are the classes.
    pub units: usize,
    /// Whether a ReLU follows. The last layer gives logits, which softmax turns into probabilities.
    pub relu: bool,
}

/// The network for one input size and one head: its layers in the order in which they run.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The layers; layer `n` produces [`ValueId`] `n + 1`.
    pub layers: Vec<Layer>,
}

impl Network {
    /// The network for images of `[height, width]` pixels with `head` after the mean.
    ///
    /// # Errors
    /// [`Error::Weights`] where a side is outside [`MIN_SIDE`]..=[`MAX_SIDE`], the head is empty or has more than
    /// [`MAX_DENSE`] layers, two with one name, or one with no or more than [`MAX_UNITS`] units; [`Error::TooLarge`] where the
    /// weights are more than [`MAX_WEIGHTS`].
    pub fn new(size: [usize; 2], head: &[Dense], preset: Preset) -> Result<Self> {
        if head.is_empty() {
            return Err(Error::Weights(
                "there is no classification head (a \"notop\" file?): give a file of its Dense layers as the head"
                    .into(),
            ));
        }
        if let Some(dense) = head.iter().find(|dense| !(1..=MAX_UNITS).contains(&dense.units)) {
            return Err(Error::Weights(format!(
                "{} has {} units: 1 to {MAX_UNITS} are supported",
                dense.name, dense.units
            )));
        }
        if head.len() > MAX_DENSE {
            return Err(Error::Weights(format!("{} dense layers are more than the {MAX_DENSE} supported", head.len())));
        }
        if let Some(dense) = head.iter().find(|dense| head.iter().filter(|other| other.name == dense.name).count() > 1)
        {
            return Err(Error::Weights(format!("two dense layers have the name {}", dense.name)));
        }
        let backbone = Self::backbone(size, preset)?;
        let mut builder = Builder { layers: backbone.layers, image: Shape::new(size[0], size[1], 3), preset };
        for dense in head {
            let layer = builder.push(&dense.name, Operation::Dense, builder.last(), dense.units, false);
            layer.relu_after = dense.relu;
        }
        let network = Self { layers: builder.layers };
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

    /// The dense layers that make a head, by themselves.
    ///
    /// # Errors
    /// As [`Self::new`], but no layer at all is well.
    pub fn head(head: &[Dense]) -> Result<Vec<Layer>> {
        if head.is_empty() {
            return Ok(Vec::new());
        }
        let Self { mut layers } = Self::new([MIN_SIDE; 2], head, Preset::Keras)?;
        Ok(layers.split_off(layers.len() - head.len()))
    }

    /// The network up to the mean.
    ///
    /// # Errors
    /// [`Error::Weights`] where a side is outside [`MIN_SIDE`]..=[`MAX_SIDE`].
    pub fn backbone([height, width]: [usize; 2], preset: Preset) -> Result<Self> {
        if ![height, width].iter().all(|side| (MIN_SIDE..=MAX_SIDE).contains(side)) {
            return Err(Error::Weights(format!(
                "the input size {height}×{width} is not supported: each side must be {MIN_SIDE} to {MAX_SIDE} pixels"
            )));
        }
        let mut builder = Builder { layers: Vec::new(), image: Shape::new(height, width, 3), preset };
        for row in TABLE {
            builder.row(row);
        }
        let features = builder.channels();
        builder.push("avg_pool", Operation::Mean, builder.last(), features, false);
        Ok(Self { layers: builder.layers })
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

    /// The shape of the last activation, of which the mean is taken.
    pub fn features(&self) -> Shape {
        let mean = self.layers.iter().find(|layer| layer.operation == Operation::Mean);
        mean.map_or(Shape::new(0, 0, 0), |layer| layer.input)
    }

    /// The layers whose activations can be read, by name: all but the shortcuts, which are computed with the pooling they are
    /// added to.
    pub fn readable(&self) -> impl Iterator<Item = (&str, Shape)> {
        let layers = self.layers.iter().filter(|layer| layer.operation != Operation::Shortcut);
        layers.map(|layer| (&*layer.name, layer.output))
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output.channels)
    }
}

struct Builder {
    layers: Vec<Layer>,
    image: Shape,
    preset: Preset,
}

impl Builder {
    fn last(&self) -> ValueId {
        self.layers.len()
    }

    fn shape(&self, value: ValueId) -> Shape {
        if value == 0 { self.image } else { self.layers[value - 1].output }
    }

    fn channels(&self) -> usize {
        self.shape(self.last()).channels
    }

    fn push(
        &mut self,
        name: &str,
        operation: Operation,
        from: ValueId,
        channels: usize,
        relu_before: bool,
    ) -> &mut Layer {
        let input = self.shape(from);
        let side = |length: usize| match operation {
            Operation::Conv { stride } => (length - 3) / stride + 1,
            Operation::SeparableConv => length,
            Operation::Shortcut | Operation::MaxPool { .. } => length.div_ceil(2),
            Operation::Mean | Operation::Dense => 1,
        };
        let output = Shape::new(side(input.height), side(input.width), channels);
        let (name, index) = (name.to_owned(), self.layers.len());
        self.layers.push(Layer { name, operation, from, add: None, relu_before, relu_after: false, input, output });
        &mut self.layers[index]
    }

    /// The separable convolutions of a block, `block_sepconv1` and so on, each reading the one before.
    fn separable(&mut self, block: &str, seps: impl IntoIterator<Item = Sep>) {
        for (i, sep) in seps.into_iter().enumerate() {
            let (channels, relu) = match sep {
                Plain(channels) => (channels, false),
                Relu(channels) => (channels, true),
            };
            let name = format!("{block}_sepconv{}", i + 1);
            self.push(&name, Operation::SeparableConv, self.last(), channels, relu);
        }
    }

    fn row(&mut self, row: Block) {
        let from = self.last();
        match row {
            Conv(name, channels, stride) => {
                self.push(name, Operation::Conv { stride }, from, channels, false).relu_after = true;
            }
            Downsample(block, seps) => {
                self.separable(block, seps);
                let (main, channels) = (self.last(), self.channels());
                self.push(&format!("{block}_shortcut"), Operation::Shortcut, from, channels, false);
                let (shortcut, Shape { height, width, .. }) = (self.last(), self.shape(main));
                let padding = match self.preset {
                    Preset::Keras => [height % 2, width % 2],
                    Preset::Timm => [1, 1],
                };
                let pool = Operation::MaxPool { padding };
                self.push(&format!("{block}_pool"), pool, main, channels, false).add = Some(shortcut);
            }
            Residual(block, seps) => {
                self.separable(block, seps);
                let last = self.last() - 1;
                self.layers[last].add = Some(from);
            }
            SepRelu(name, channels) => {
                self.push(name, Operation::SeparableConv, from, channels, false).relu_after = true;
            }
        }
    }
}
