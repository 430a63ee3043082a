//! Lowering of the layers of a backbone, and of those in front of it.

use super::{Binding, Lowering, pool};
use crate::network::Network;
use crate::network::activation::Function;
use crate::network::layer::{Layer, Operation, Section, Shape, Window};
use crate::ops::{Activation, Add, BiasedDepthwise, Conv, Depthwise, Op, Pointwise, Resize, Sepconv, Slice, Values};
use crate::tile::{Algorithm, Tile};

impl Lowering {
    /// A layer in front of the backbone, of it, or behind it.
    pub(super) fn lower(&mut self, network: &Network, index: usize, layer: &Layer) {
        let (input, output) = (layer.input, layer.output);
        let from = Binding::Slot(self.values[layer.from]);
        let label = layer.name.clone();
        let writes = match layer.operation {
            Operation::Resize(resize) => {
                let writes = self.allocate(output.stored());
                self.pass(label, Resize::new(input, resize), vec![from], writes);
                self.release(network, index, layer.from);
                writes
            }
            Operation::Conv(window)
                if window == Window::valid(1, 2) && layer.slice.is_none() && !network.is_readable(index) =>
            {
                self.shortcut = Some((self.tile(layer), vec![from, self.tensor(), self.tensor()]));
                self.values[layer.from]
            }
            Operation::Conv(window @ Window { stride: [stride, _], .. })
                if window == Window::valid(1, stride) && layer.add.is_none() && !layer.norm_of_sum =>
            {
                let tile = self.tile(layer);
                let [weight, bias] = [self.tensor(), self.tensor()];
                let (writes, slice) = self.result(network, index);
                let mut reads = vec![from, weight, bias, from];
                reads.extend(tile.map(|_| weight));
                let (add, relu_after) = (Add::Nothing, relu(layer.activation_after));
                self.pass(label, Pointwise { input, output, stride, add, relu_after, slice, tile }, reads, writes);
                self.release(network, index, layer.from);
                writes
            }
            Operation::Conv(window) if window.stride[0] == window.stride[1] && layer.add.is_none() => {
                let tile = self.tile(layer);
                let [weight, bias] = [self.tensor(), self.tensor()];
                let (writes, slice) = self.result(network, index);
                let mut reads = vec![from, weight, bias, from];
                reads.extend(tile.map(|_| weight));
                let relu_after = relu(layer.activation_after);
                self.pass(label, Conv { input, output, window, relu_after, slice, tile }, reads, writes);
                self.release(network, index, layer.from);
                writes
            }
            Operation::SeparableConv(window @ Window { stride: [stride, _], .. })
                if window == Window::padded(3, stride, 1) =>
            {
                self.separable(network, index, layer, stride)
            }
            Operation::MaxPool(Window { kernel: [3, 3], stride: [2, 2], padding: [[top, _], [left, _]] })
                if layer.is_joining_pool() =>
            {
                let shortcut = layer.add.unwrap_or_default();
                let input = network.layers[shortcut - 1].input;
                let (tile, mut reads) = self.shortcut.take().unwrap_or_default();
                reads.push(from);
                reads.extend(tile.map(|_| reads[1]));
                let writes = self.allocate(output.stored());
                let (add, relu_after) = (Add::MaxPool { padding: [top, left] }, relu(layer.activation_after));
                self.pass(
                    label,
                    Pointwise { input, output, stride: 2, add, relu_after, slice: None, tile },
                    reads,
                    writes,
                );
                [layer.from, shortcut].into_iter().for_each(|value| self.release(network, index, value));
                writes
            }
            _ if layer.operation.pool_window().is_some() && layer.section != Section::HEAD => {
                let (writes, slice) = self.result(network, index);
                self.pass(label, pool(layer, slice), vec![from], writes);
                self.release(network, index, layer.from);
                writes
            }
            // Its parts wrote it.
            Operation::Concat => self.concat.take().unwrap_or_default(),
            // Without the operation: printing floats is 5 % of the core's wasm.
            Operation::Conv(_) | Operation::SeparableConv(_) => {
                unreachable!("no kernel computes the layer {} of a table", layer.name)
            }
            _ => self.head(layer, from),
        };
        self.values.push(writes);
    }

    /// The slot that a layer writes, and its part of that.
    fn result(&mut self, network: &Network, index: usize) -> (usize, Option<Slice>) {
        let layer = &network.layers[index];
        let is_concat = |layer: &&Layer| layer.operation == Operation::Concat;
        let (Some(first), Some(concat)) = (layer.slice, network.layers[index..].iter().find(is_concat)) else {
            return (self.allocate(layer.output.stored()), None);
        };
        let slot = match self.concat {
            Some(slot) => slot,
            None => self.allocate(concat.output.stored()),
        };
        self.concat = Some(slot);
        (slot, Some(Slice { first, all: concat.output.channels }))
    }

    /// The tile of a product that is no separable convolution's in one pass, if it has one.
    fn tile(&self, layer: &Layer) -> Option<Tile> {
        match self.tuning.algorithm(layer, self.plan.batch) {
            Algorithm::Direct => None,
            Algorithm::Tiled(tile) | Algorithm::Fused(tile) => Some(tile),
        }
    }

    /// A separable convolution, in one pass or two.
    fn separable(&mut self, network: &Network, index: usize, layer: &Layer, stride: usize) -> usize {
        let (input, output, from) = (layer.input, layer.output, Binding::Slot(self.values[layer.from]));
        let (relu_before, relu_after) = (relu(layer.activation_before), relu(layer.activation_after));
        let window = self.tensor();
        let depthwise_bias = layer.has_depthwise_bias().then(|| self.tensor());
        let [weight, bias] = [self.tensor(), self.tensor()];
        let (add, added) = match layer.add {
            Some(value) if layer.norm_of_sum => (Add::Scaled, Some(Binding::Slot(self.values[value]))),
            Some(value) => (Add::Residual, Some(Binding::Slot(self.values[value]))),
            None => (Add::Nothing, None),
        };
        if let (Algorithm::Fused(tile), None) = (self.tuning.algorithm(layer, self.plan.batch), depthwise_bias) {
            let writes = self.allocate(output.stored());
            let reads = vec![from, weight, bias, added.unwrap_or(from), window];
            let op = Sepconv { input, output, relu_before, add, relu_after, tile };
            self.pass(layer.name.clone(), op, reads, writes);
            let last = [Some(layer.from), layer.add].into_iter().flatten();
            last.for_each(|value| self.release(network, index, value));
            return writes;
        }
        let tile = self.tile(layer);
        let shape = Shape { channels: input.channels, ..output };
        let mut between = self.allocate(shape.stored());
        let mut reads = vec![from, window];
        reads.extend(depthwise_bias);
        let op = if depthwise_bias.is_some() {
            let relu_after = layer.activation_between == Some(Function::Relu);
            Op::from(BiasedDepthwise { input, output: shape, stride, relu_before, relu_after })
        } else {
            Depthwise { shape: input, relu_before, rows: self.tuning.depthwise_rows() }.into()
        };
        self.pass(format!("{}.depthwise", layer.name), op, reads, between);
        self.release(network, index, layer.from);
        // ReLU goes with the depthwise half.
        if let Some(function) = layer.activation_between.filter(|function| *function != Function::Relu) {
            let (values, reads) = (Values { shape, is_vector: false }, vec![Binding::Slot(between)]);
            let writes = self.allocate(shape.stored());
            self.pass(format!("{}.activation", layer.name), Activation { values, function }, reads, writes);
            self.free.push(between);
            between = writes;
        }
        let writes = self.allocate(output.stored());
        let op = Pointwise { input: shape, output, stride: 1, add, relu_after, slice: None, tile };
        let columns = Binding::Slot(between);
        let mut reads = vec![columns, weight, bias, added.unwrap_or(columns)];
        reads.extend(tile.map(|_| weight));
        self.pass(format!("{}.pointwise", layer.name), op, reads, writes);
        self.free.push(between);
        layer.add.into_iter().for_each(|value| self.release(network, index, value));
        writes
    }
}

/// Whether an activation is ReLU, which kernels apply to values that they load or store; tables have no other one.
fn relu(activation: Option<Function>) -> bool {
    assert!(matches!(activation, None | Some(Function::Relu)), "no kernel applies a table's activation function");
    activation.is_some()
}
