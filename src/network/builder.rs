//! Layers one after the other, with their shapes. Nothing here knows which network they make.

use super::layer::{Layer, Operation, Section, Shape, ValueId};

/// Layers as they are added. Each method adds one, which reads the last activation unless it says otherwise.
pub struct Builder {
    pub layers: Vec<Layer>,
    /// Where the next ones are.
    pub section: Section,
    image: Shape,
}

impl Builder {
    /// No layers yet, and an image.
    pub fn new(image: Shape) -> Self {
        Self { layers: Vec::new(), section: Section::HEAD, image }
    }

    /// Goes on behind some layers.
    pub fn after(layers: Vec<Layer>) -> Self {
        let image = layers.first().map_or(Shape::new(0, 0, 0), |layer| layer.input);
        Self { layers, section: Section::HEAD, image }
    }

    /// The last activation.
    pub fn last(&self) -> ValueId {
        self.layers.len()
    }

    /// The shape of an activation.
    pub fn shape(&self, value: ValueId) -> Shape {
        if value == 0 { self.image } else { self.layers[value - 1].output }
    }

    fn push(&mut self, name: &str, operation: Operation, from: ValueId, channels: usize) -> &mut Layer {
        let input = self.shape(from);
        let side = |length: usize| match operation {
            Operation::Conv { stride } => (length - 3) / stride + 1,
            Operation::SeparableConv => length,
            Operation::Shortcut | Operation::MaxPool { .. } => length.div_ceil(2),
            Operation::Mean | Operation::Dense => 1,
        };
        let output = Shape::new(side(input.height), side(input.width), channels);
        let (name, index) = (name.to_owned(), self.layers.len());
        let (add, relu_before, relu_after) = (None, false, false);
        let section = self.section;
        self.layers.push(Layer { name, section, operation, from, add, relu_before, relu_after, input, output });
        &mut self.layers[index]
    }

    /// 3×3 convolution without padding.
    pub fn conv(&mut self, name: &str, channels: usize, stride: usize) -> &mut Layer {
        self.push(name, Operation::Conv { stride }, self.last(), channels)
    }

    /// Depthwise 3×3 and pointwise convolution.
    pub fn separable_conv(&mut self, name: &str, channels: usize) -> &mut Layer {
        self.push(name, Operation::SeparableConv, self.last(), channels)
    }

    /// 1×1 convolution with stride 2 of an earlier activation.
    pub fn shortcut(&mut self, name: &str, from: ValueId, channels: usize) -> &mut Layer {
        self.push(name, Operation::Shortcut, from, channels)
    }

    /// 3×3 max pooling with stride 2 of an earlier activation.
    pub fn max_pool(&mut self, name: &str, from: ValueId, padding: [usize; 2]) -> &mut Layer {
        let channels = self.shape(from).channels;
        self.push(name, Operation::MaxPool { padding }, from, channels)
    }

    /// Mean over all pixels.
    pub fn mean(&mut self, name: &str) -> &mut Layer {
        let channels = self.shape(self.last()).channels;
        self.push(name, Operation::Mean, self.last(), channels)
    }

    /// Fully connected layer.
    pub fn dense(&mut self, name: &str, units: usize) -> &mut Layer {
        self.push(name, Operation::Dense, self.last(), units)
    }
}
