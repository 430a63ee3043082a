//! The network as a fixed list of passes over a few buffers. No GPU in it.
//!
//! A layer becomes one pass, a separable convolution one or two, as the device's [`Tuning`] has it; a shortcut, the
//! pooling around which it leads and their sum are one. Several images at once lie one behind the other in each buffer.
//! Buffers ("slots") are shared by liveness: as soon as the last reader of an activation has run, its slot is free
//! for the next one.

mod backbone;
mod head;

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::network::head::Output;
use crate::network::layer::{Layer, Operation, Section, Shape, Tensor, ValueId};
use crate::ops::{Op, Pool, Pooling, Slice};
use crate::shader::PipelineDescriptor;
use crate::tile::{Algorithm, ProblemSize, Tile, Tuning};

/// Classes that the GPU ranks itself; for more of them all probabilities are read and sorted.
pub const TOP: usize = 10;

/// The most photos at once: enough to keep any GPU busy. The CPU takes them one after the other.
pub const BATCH: usize = 32;

/// The largest binding that every WebGPU device grants, in bytes.
pub const MAX_BINDING: usize = 128 << 20;

/// A buffer that a pass binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An activation, by its number in [`Plan::slots`].
    Slot(usize),
    /// Weights, by their number in [`Plan::tensors`].
    Tensor(usize),
    /// Some rows of weights that are larger than [`MAX_BINDING`].
    Rows {
        /// The tensor's number.
        tensor: usize,
        /// The first row.
        first: usize,
        /// How many.
        count: usize,
    },
}

/// One dispatch of one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// The layer's name; `.depthwise` or `.pointwise` follows for the halves of a separable convolution in two passes.
    pub label: String,
    /// The number of its layer; none of what is no layer, such as softmax.
    pub layer: Option<usize>,
    /// The operation.
    pub op: Op,
    /// The bindings that it reads, in the order of [`Op`].
    pub reads: Vec<Binding>,
    /// The slot it writes.
    pub writes: usize,
}

/// An activation buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its length in values.
    pub len: usize,
    /// How they are stored.
    pub dtype: Dtype,
}

impl Slot {
    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.len as u64 * self.dtype.size() as u64
    }
}

/// Everything that runs for one photo, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The passes.
    pub passes: Vec<Pass>,
    /// The activation buffers.
    pub slots: Vec<Slot>,
    /// The weights.
    pub tensors: Vec<Tensor>,
    /// How many images it can compute at once.
    pub batch: usize,
    /// How weights and activations are stored; vectors, which follow the pooling, are always f32.
    pub storage: Dtype,
    /// The slot that takes the normalised image: `[height, width, 4]`, the fourth channel zero.
    pub image: usize,
    /// The slot with the backbone's last activation.
    pub features: usize,
    /// The shape of that.
    pub features_shape: Shape,
    /// The number of layers up to it.
    pub backbone: usize,
    /// The slot with the embedding, the first vector: what pooling or Flatten gives. Without one the last activation.
    pub embedding: usize,
    /// The slot with the last layer's values, such as logits: `[outputs]`, padded to whole `vec4`s.
    pub logits: usize,
    /// The kind of these values.
    pub output: Output,
    /// The number of outputs.
    pub outputs: usize,
    /// The slot with the answer: after softmax as [`crate::ops::SoftmaxTopk`] has it, else `[outputs]`.
    pub answer: usize,
    /// How many classes are ranked after softmax: [`TOP`], or all where there are fewer. Else 0.
    pub top: usize,
}

impl Plan {
    /// Lowers a network to passes and slots for up to `batch` images at once, with weights and activations stored as
    /// `storage` (f32 or f16).
    pub fn new(network: &Network, storage: Dtype, tuning: &Tuning, batch: usize) -> Self {
        let (tensors, output, outputs) = (network.tensors(), network.output, network.outputs());
        let plan = Self { tensors, batch, storage, output, outputs, ..Self::default() };
        let tuning = tuning.clone();
        let mut lowering = Lowering { plan, tuning, ..Lowering::default() };
        let image = network.layers[0].input.stored();
        lowering.plan.image = lowering.allocate(image);
        lowering.values.push(lowering.plan.image);
        for (index, layer) in network.layers.iter().enumerate() {
            lowering.layer = Some(index);
            lowering.lower(network, index, layer);
            if layer.section != Section::HEAD {
                lowering.plan.backbone = index + 1;
                lowering.plan.features_shape = layer.output;
                lowering.plan.features = lowering.values[index + 1];
            }
        }
        lowering.layer = None;
        lowering.answer();
        lowering.plan
    }

    /// The passes of one separable convolution by some algorithm, on a slot of its own, to be timed. There is no answer.
    pub fn of_layer(layer: &Layer, algorithm: Algorithm, storage: Dtype, batch: usize) -> Self {
        let add = layer.add.filter(|_| layer.input == layer.output).map(|_| 0);
        let network = Network { layers: vec![Layer { from: 0, add, ..layer.clone() }], output: Output::Features };
        let mut tuning = Tuning::default();
        ProblemSize::of(layer, batch).into_iter().for_each(|size| tuning.insert(size, algorithm));
        Self::new(&network, storage, &tuning, batch)
    }

    /// The pipelines of some passes, each made once, and which of them each pass has.
    pub fn pipelines(&self, passes: &[Pass]) -> (Vec<PipelineDescriptor>, Vec<usize>) {
        let mut pipelines: Vec<PipelineDescriptor> = Vec::new();
        let mut of_pass = Vec::new();
        for &Pass { ref label, op, .. } in passes {
            let (kernel, precision) = (op.kernel(), op.precision(self.storage));
            let (constants, _) = kernel.split(op.constants(self.batch));
            let is_it = |other: &PipelineDescriptor| {
                (other.kernel.name, other.precision, &other.constants) == (kernel.name, precision, &constants)
            };
            of_pass.push(pipelines.iter().position(is_it).unwrap_or(pipelines.len()));
            if of_pass.last() == Some(&pipelines.len()) {
                pipelines.push(PipelineDescriptor { label: label.clone(), kernel, precision, constants });
            }
        }
        (pipelines, of_pass)
    }

    /// The number of the last pass that writes the embedding, and the embedding's length.
    pub fn embedding_pass(&self) -> (usize, usize) {
        let pass = self.passes.iter().rposition(|pass| pass.writes == self.embedding).unwrap_or_default();
        (pass, self.passes.get(pass).map_or(0, |pass| pass.op.output().len()))
    }

    /// The values of an answer for one image: all of them, and before them ranked classes after softmax.
    pub fn answer_len(&self) -> usize {
        2 * self.top + self.outputs
    }

    /// The number of the last pass of a layer whose result can be read, and that result's shape; none of shortcuts, which are
    /// computed with the pooling they are added to.
    ///
    /// # Errors
    /// [`Error::Argument`] if no layer has that name.
    pub fn pass_of(&self, network: &Network, layer: &str) -> Result<(usize, Shape)> {
        let is_it = |&(index, other): &(usize, &Layer)| other.name == layer && network.is_readable(index);
        let number = network.layers.iter().enumerate().find(is_it).map(|(index, _)| index);
        // A concatenation's last part has the last of its passes.
        let pass = self.passes.iter().rposition(|pass| pass.layer.is_some() && pass.layer <= number);
        let unknown = || Error::Argument(format!("{layer:?} is no layer whose activations can be read"));
        Ok((pass.ok_or_else(unknown)?, network.layers[number.ok_or_else(unknown)?].output))
    }

    /// Bytes that a pass reads and writes for some images, each counted once.
    pub fn traffic(&self, pass: &Pass, images: usize) -> u64 {
        let weights = |read: &Binding| match *read {
            Binding::Slot(_) => 0,
            Binding::Tensor(tensor) => self.tensors[tensor].bytes(self.storage),
            Binding::Rows { tensor, count, .. } => {
                self.tensors[tensor].bytes(self.storage) / self.tensors[tensor].shape[0] * count
            }
        };
        let dtype = self.slots[pass.writes].dtype;
        let activations = pass.op.activations() * (images * dtype.size()) as u64;
        activations + pass.reads.iter().map(weights).sum::<usize>() as u64
    }

    /// How many images could be computed at once where a buffer can be bound up to `max_binding` bytes, but no more than
    /// [`BATCH`].
    pub fn max_batch(&self, max_binding: u64) -> usize {
        let largest = self.slots.iter().map(Slot::bytes).max().unwrap_or_default() / self.batch as u64;
        (max_binding / largest.max(1)).clamp(1, BATCH as u64) as usize
    }

    /// Bytes of all activation buffers.
    pub fn activation_bytes(&self) -> u64 {
        self.slots.iter().map(Slot::bytes).sum()
    }

    /// Bytes of all weights.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes(self.storage) as u64).sum()
    }
}

#[derive(Default)]
struct Lowering {
    plan: Plan,
    tuning: Tuning,
    /// The slot of each value produced so far. A shortcut's is that of its input, until the pooling computes both.
    values: Vec<usize>,
    free: Vec<usize>,
    /// The shortcut that the next pooling will compute too: its tile, and what it reads.
    shortcut: Option<(Option<Tile>, Vec<Binding>)>,
    /// The slot of the concatenation whose parts are computed.
    concat: Option<usize>,
    next_tensor: usize,
    /// The number of the layer at hand.
    layer: Option<usize>,
    /// Whether values are a vector by now.
    is_vector: bool,
}

impl Lowering {
    /// The free slot that fits `len` values for each image best; else the largest free one, grown; else a new one.
    fn allocate(&mut self, len: usize) -> usize {
        // A length beyond 32 bits is refused when the buffers are made.
        let len = len.saturating_mul(self.plan.batch);
        let slots = &mut self.plan.slots;
        let best = self.free.iter().enumerate().min_by_key(|&(_, &slot)| {
            let held = slots[slot].len;
            (held < len, if held < len { usize::MAX - held } else { held })
        });
        let Some((position, _)) = best else {
            slots.push(Slot { len, dtype: self.plan.storage });
            return slots.len() - 1;
        };
        let slot = self.free.swap_remove(position);
        slots[slot].len = slots[slot].len.max(len);
        slot
    }

    /// A slot of f32 of its own, as vectors and the answer have: it can be read after the last pass.
    fn fresh(&mut self, len: usize) -> usize {
        self.plan.slots.push(Slot { len: len * self.plan.batch, dtype: Dtype::F32 });
        self.plan.slots.len() - 1
    }

    fn tensor(&mut self) -> Binding {
        self.next_tensor += 1;
        Binding::Tensor(self.next_tensor - 1)
    }

    fn pass(&mut self, label: String, op: impl Into<Op>, reads: Vec<Binding>, writes: usize) {
        self.plan.passes.push(Pass { label, layer: self.layer, op: op.into(), reads, writes });
    }

    /// Frees the slot of a value that layer `index` was the last to read.
    fn release(&mut self, network: &Network, index: usize, value: ValueId) {
        let reads = |layer: &Layer| layer.from == value || layer.add == Some(value);
        if !network.layers[index + 1..].iter().any(reads) {
            self.free.push(self.values[value]);
        }
    }
}

/// The operation of a pooling layer.
fn pool(layer: &Layer, slice: Option<Slice>) -> Pool {
    let (window, pooling) = match layer.operation {
        Operation::AveragePool(window) => (window, Pooling::Mean),
        Operation::PaddedAveragePool(window) => (window, Pooling::PaddedMean),
        Operation::MaxPool(window) => (window, Pooling::Max),
        _ => unreachable!(),
    };
    Pool { input: layer.input, window, pooling, slice }
}
