//! Layers one after the other, with their shapes. Nothing here knows which network they make.

use super::layer::{Layer, Operation, Resize, Section, Shape, ValueId, Window};

/// Layers as they are added. Each method adds one.
pub struct Builder {
    pub layers: Vec<Layer>,
    /// The flow and block of the next layers.
    pub section: Section,
    image: Shape,
}

impl Builder {
    /// No layers yet, and an image.
    pub fn new(image: Shape) -> Self {
        Self { layers: Vec::new(), section: Section::HEAD, image }
    }

    /// The last activation.
    pub fn last(&self) -> ValueId {
        self.layers.len()
    }

    /// The shape of an activation.
    pub fn shape(&self, value: ValueId) -> Shape {
        if value == 0 { self.image } else { self.layers[value - 1].output }
    }

    // Once in the CPU's modules, which are optimized for speed.
    #[inline(never)]
    fn push(&mut self, name: &str, operation: Operation, from: ValueId, channels: usize) -> &mut Layer {
        let input = self.shape(from);
        let index = self.layers.len();
        self.layers.push(Layer {
            name: name.to_owned(),
            section: self.section,
            operation,
            batch_norm: matches!(operation, Operation::Conv(_) | Operation::SeparableConv(_)),
            norm_of_sum: false,
            has_gamma: true,
            depthwise_norm: false,
            from,
            add: None,
            activation_before: None,
            activation_between: None,
            activation_after: None,
            slice: None,
            input,
            output: operation.output(input, channels),
        });
        &mut self.layers[index]
    }

    /// Resizing of the image.
    pub fn resize(&mut self, name: &str, resize: Resize) {
        self.push(name, Operation::Resize(resize), self.last(), 0);
    }

    /// Convolution of an activation, with batch norm.
    pub fn conv(&mut self, name: &str, from: ValueId, channels: usize, window: Window) -> &mut Layer {
        self.push(name, Operation::Conv(window), from, channels)
    }

    /// Separable convolution of an activation, with batch norm.
    pub fn separable_conv(&mut self, name: &str, from: ValueId, channels: usize, window: Window) -> &mut Layer {
        self.push(name, Operation::SeparableConv(window), from, channels)
    }

    /// Max pooling of an activation.
    pub fn max_pool(&mut self, name: &str, from: ValueId, window: Window) -> &mut Layer {
        self.push(name, Operation::MaxPool(window), from, 0)
    }

    /// Average pooling of an activation; `is_counted` is whether padding counts as zeros.
    pub fn average_pool(&mut self, name: &str, from: ValueId, window: Window, is_counted: bool) -> &mut Layer {
        let operation = if is_counted { Operation::PaddedAveragePool(window) } else { Operation::AveragePool(window) };
        self.push(name, operation, from, 0)
    }

    /// The channels of the last layers' results, `parts`, one behind the other; nothing else may read these.
    pub fn concat(&mut self, name: &str, parts: &[ValueId]) {
        let mut channels = 0;
        for &part in parts {
            self.layers[part - 1].slice = Some(channels);
            channels += self.layers[part - 1].output.channels;
        }
        self.push(name, Operation::Concat, self.last(), channels);
    }

    /// A layer of a head; `units` are those of a dense one.
    pub fn head_layer(&mut self, name: &str, operation: Operation, units: usize) -> &mut Layer {
        self.push(name, operation, self.last(), units)
    }
}
