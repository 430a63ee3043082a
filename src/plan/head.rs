//! Lowering of the layers behind the backbone.

use super::{Binding, Lowering, MAX_BINDING, TOP, pool};
use crate::network::activation::Function;
use crate::network::head::{MAX_INPUTS, Output};
use crate::network::layer::{Layer, Operation};
use crate::ops::{
    Activation, Dense, Flatten, GlobalAveragePool, GlobalMaxPool, Op, Prelu, ScaleShift, Slice, SoftmaxTopk, Values,
};

impl Lowering {
    /// A layer behind the backbone, whose activations all stay.
    pub(super) fn head(&mut self, layer: &Layer, from: Binding) -> usize {
        let Layer { input, output, operation, activation_after, .. } = *layer;
        let label = || layer.name.clone();
        self.is_vector |= layer.operation.makes_vector();
        let values = Values { shape: output, is_vector: self.is_vector };
        let writes = match operation {
            Operation::Activation => None,
            _ if self.is_vector => Some(self.fresh(output.stored())),
            _ => Some(self.allocate(output.stored())),
        };
        if let Some(writes) = writes {
            if layer.operation.makes_vector() {
                self.plan.embedding = writes;
            }
            match operation {
                Operation::GlobalPool(pool) => {
                    let parts = pool.parts();
                    for (part, &is_mean) in parts.iter().enumerate() {
                        let slice = Slice { first: part * input.channels, all: output.channels };
                        let (name, op) = if is_mean {
                            ("average", Op::from(GlobalAveragePool { input, slice }))
                        } else {
                            ("max", Op::from(GlobalMaxPool { input, slice }))
                        };
                        let label = if parts.len() == 1 { label() } else { format!("{}.{name}", layer.name) };
                        self.pass(label, op, vec![from], writes);
                    }
                }
                Operation::Flatten => self.pass(label(), Flatten { input }, vec![from], writes),
                _ if operation.pool_window().is_some() => {
                    self.pass(label(), pool(layer, None), vec![from], writes);
                }
                Operation::ScaleShift => {
                    let reads = vec![from, self.tensor(), self.tensor()];
                    self.pass(label(), ScaleShift { values }, reads, writes);
                }
                Operation::Prelu { is_shared } => {
                    let reads = vec![from, self.tensor()];
                    self.pass(label(), Prelu { values, is_shared }, reads, writes);
                }
                _ => self.dense(layer, from, writes),
            }
        }
        match activation_after {
            // The kernel of dense layers has a ReLU.
            Some(function) if operation != Operation::Dense || function != Function::Relu => {
                let result = if self.is_vector { self.fresh(output.stored()) } else { self.allocate(output.stored()) };
                let label = if writes.is_some() { format!("{}.activation", layer.name) } else { label() };
                let from = writes.map_or(from, Binding::Slot);
                self.pass(label, Activation { values, function }, vec![from], result);
                result
            }
            // A layer of no function is none.
            _ => writes.unwrap_or(self.values[layer.from]),
        }
    }

    /// The passes from the last layer's values to the output.
    pub(super) fn answer(&mut self) {
        let outputs = self.plan.outputs;
        self.plan.logits = self.values.last().copied().unwrap_or_default();
        if !self.is_vector {
            self.plan.embedding = self.plan.logits;
        }
        let (label, op) = match self.plan.output {
            Output::Softmax => {
                self.plan.top = outputs.min(TOP);
                ("softmax_topk", Op::from(SoftmaxTopk { classes: outputs, top: self.plan.top }))
            }
            Output::Sigmoid => {
                ("sigmoid", Activation { values: Values::vector(outputs), function: Function::Sigmoid }.into())
            }
            Output::Linear | Output::Features => {
                self.plan.answer = self.plan.logits;
                return;
            }
        };
        self.plan.answer = self.fresh(op.output_len());
        self.pass(label.to_owned(), op, vec![Binding::Slot(self.plan.logits)], self.plan.answer);
    }

    /// A dense layer: one pass, or where its weights exceed a binding several, each for some of the outputs.
    fn dense(&mut self, layer: &Layer, from: Binding, writes: usize) {
        let (weight, bias) = (self.next_tensor, self.next_tensor + 1);
        self.next_tensor += 2;
        let (inputs, outputs) = (layer.input.len(), layer.output.len());
        let row = self.plan.tensors[weight].bytes(self.plan.storage) / outputs;
        // Multiples of 64 rows begin where a binding may; one of them always fits.
        const { assert!(MAX_BINDING >= 64 * 4 * MAX_INPUTS) };
        let most = (MAX_BINDING / row / 64 * 64).min(outputs);
        for first in (0..outputs).step_by(most) {
            let count = most.min(outputs - first);
            let rows = Binding::Rows { tensor: weight, first, count };
            let (label, rows) = match count {
                _ if count == outputs => (layer.name.clone(), Binding::Tensor(weight)),
                _ => (format!("{}[{first}..{}]", layer.name, first + count), rows),
            };
            let relu_after = layer.activation_after == Some(Function::Relu);
            let op = Dense { inputs, first, outputs: count, all: outputs, relu_after };
            self.pass(label, op, vec![from, rows, Binding::Tensor(bias)], writes);
        }
    }
}
