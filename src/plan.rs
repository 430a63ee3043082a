//! The network as a fixed list of passes over a few buffers. No GPU in it.
//!
//! A layer becomes one pass, a separable convolution two. Buffers ("slots") are shared by liveness: as
//! soon as the last reader of an activation has run, its slot is free for the next one.

use crate::kernel::Op;
use crate::layer::{Layer, Operation};
use crate::network::Network;

/// How many classes the GPU ranks itself; whoever asks for more gets all probabilities and a sort.
pub const TOP: usize = 10;

/// A buffer that a pass binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An activation, by its number in [`Plan::slots`].
    Slot(usize),
    /// Weights, by their number in [`Plan::tensors`].
    Tensor(usize),
}

/// One dispatch of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The layer's name; `.depthwise` or `.pointwise` follows for the halves of a separable convolution.
    pub label: String,
    /// What it computes.
    pub op: Op,
    /// What it reads, in the order of [`Op`].
    pub reads: Vec<Binding>,
    /// The slot it writes.
    pub writes: usize,
}

/// Folded weights as a file and a GPU buffer hold them: f32, little-endian, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `layer.weight`, `layer.bias`, or with `depthwise`/`pointwise` between.
    pub name: String,
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Everything that runs for one photo, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The passes.
    pub passes: Vec<Pass>,
    /// Sizes of the activation buffers, in 4-byte values.
    pub slots: Vec<usize>,
    /// The weights.
    pub tensors: Vec<Tensor>,
    /// The slot that takes the normalised image: `[height, width, 4]`, the fourth channel zero.
    pub image: usize,
    /// The slot with the mean of the last activation, the embedding: `[2048]`.
    pub embedding: usize,
    /// The slot with the logits: `[classes]`.
    pub logits: usize,
    /// The slot with the answer: [`Op::SoftmaxTopk`] tells its layout.
    pub answer: usize,
    /// How many classes are ranked: [`TOP`], or all where there are fewer.
    pub top: usize,
}

impl Plan {
    /// Lowers a network to passes and slots.
    pub fn new(network: &Network) -> Self {
        let tensors = network.tensors().into_iter().map(|(name, shape)| Tensor { name, shape }).collect();
        let mut lowering = Lowering { plan: Self { tensors, ..Self::default() }, ..Lowering::default() };
        let image = network.layers[0].input.stored();
        lowering.plan.image = lowering.allocate(image);
        lowering.values.push(lowering.plan.image);
        for (index, layer) in network.layers.iter().enumerate() {
            lowering.layer(layer);
            lowering.release(network, index);
        }
        let classes = network.classes();
        let Lowering { mut plan, .. } = lowering;
        plan.top = classes.min(TOP);
        plan.answer = plan.slots.len();
        let op = Op::SoftmaxTopk { classes, top: plan.top };
        let reads = vec![Binding::Slot(plan.logits)];
        plan.passes.push(Pass { label: "softmax_topk".to_owned(), op, reads, writes: plan.answer });
        plan.slots.push(op.output_len());
        plan
    }

    /// Bytes of all activation buffers.
    pub fn activation_bytes(&self) -> u64 {
        self.slots.iter().map(|&len| 4 * len as u64).sum()
    }

    /// Bytes of all weights.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| 4 * tensor.len() as u64).sum()
    }
}

#[derive(Default)]
struct Lowering {
    plan: Plan,
    /// The slot of each value produced so far.
    values: Vec<usize>,
    free: Vec<usize>,
    next_tensor: usize,
}

impl Lowering {
    /// The free slot that fits best; else the largest free one, grown; else a new one.
    fn allocate(&mut self, len: usize) -> usize {
        let slots = &mut self.plan.slots;
        let best = self.free.iter().enumerate().min_by_key(|&(_, &slot)| {
            let fits = slots[slot] >= len;
            (!fits, if fits { slots[slot] } else { usize::MAX - slots[slot] })
        });
        let Some((position, _)) = best else { return self.fresh(len) };
        let slot = self.free.swap_remove(position);
        slots[slot] = slots[slot].max(len);
        slot
    }

    /// A new slot. The mean and the dense layers have their own, so that they can be read after the last pass.
    fn fresh(&mut self, len: usize) -> usize {
        self.plan.slots.push(len);
        self.plan.slots.len() - 1
    }

    fn tensor(&mut self) -> Binding {
        self.next_tensor += 1;
        Binding::Tensor(self.next_tensor - 1)
    }

    fn pass(&mut self, label: String, op: Op, reads: Vec<Binding>, writes: usize) {
        self.plan.passes.push(Pass { label, op, reads, writes });
    }

    fn layer(&mut self, layer: &Layer) {
        let (input, output) = (layer.input, layer.output);
        let from = Binding::Slot(self.values[layer.from]);
        let add = layer.add.map(|value| Binding::Slot(self.values[value]));
        let (label, relu_after) = (layer.name.clone(), layer.relu_after);
        let writes = match layer.operation {
            Operation::Conv { stride } => {
                let reads = vec![from, self.tensor(), self.tensor()];
                let writes = self.allocate(output.stored());
                self.pass(label, Op::Conv { input, output, stride }, reads, writes);
                writes
            }
            Operation::SeparableConv => {
                let between = self.allocate(input.stored());
                let op = Op::Depthwise { shape: input, relu_before: layer.relu_before };
                let reads = vec![from, self.tensor()];
                self.pass(format!("{label}.depthwise"), op, reads, between);
                let writes = self.allocate(output.stored());
                let op = Op::Pointwise { input, output, stride: 1, add: add.is_some(), relu_after };
                let between = Binding::Slot(between);
                let reads = vec![between, self.tensor(), self.tensor(), add.unwrap_or(between)];
                self.pass(format!("{label}.pointwise"), op, reads, writes);
                if let Binding::Slot(slot) = between {
                    self.free.push(slot);
                }
                writes
            }
            Operation::Shortcut => {
                let writes = self.allocate(output.stored());
                let reads = vec![from, self.tensor(), self.tensor(), from];
                self.pass(label, Op::Pointwise { input, output, stride: 2, add: false, relu_after }, reads, writes);
                writes
            }
            Operation::MaxPool { before } => {
                let writes = self.allocate(output.stored());
                self.pass(
                    label,
                    Op::MaxPoolAdd { input, output, before },
                    [Some(from), add].into_iter().flatten().collect(),
                    writes,
                );
                writes
            }
            Operation::Mean => {
                self.plan.embedding = self.fresh(output.len());
                self.pass(label, Op::Mean { input }, vec![from], self.plan.embedding);
                self.plan.embedding
            }
            Operation::Dense => {
                self.plan.logits = self.fresh(output.len());
                let op = Op::Dense { inputs: input.len(), outputs: output.len(), relu_after };
                let reads = vec![from, self.tensor(), self.tensor()];
                self.pass(label, op, reads, self.plan.logits);
                self.plan.logits
            }
        };
        self.values.push(writes);
    }

    /// Frees the slots of the values that layer `index` was the last to read.
    fn release(&mut self, network: &Network, index: usize) {
        let reads = |layer: &Layer, value| layer.from == value || layer.add == Some(value);
        for value in 0..=index {
            let later = network.layers[index + 1..].iter().any(|layer| reads(layer, value));
            let kept = |layer: &Layer| matches!(layer.operation, Operation::Mean | Operation::Dense);
            let pinned = value > 0 && kept(&network.layers[value - 1]);
            if reads(&network.layers[index], value) && !later && !pinned {
                self.free.push(self.values[value]);
            }
        }
    }
}
