//! A plan's passes on the CPU, strip by strip: a product's operand is made for some pixels, and used while it is in the cache.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use rten_simd::SimdOp;

use super::buffer::Buffer;
use super::gemm::{Gemm, MR};
use super::im2col::{BiasedDepthwise, Depthwise, Pool, strided, windows};
use super::threads::{Lost, ThreadTeam};
use super::weights::{PackedWeights, Tensor};
use crate::backend::HostRunner;
use crate::network::layer::{Shape, Window};
use crate::ops::{
    self, Add, ClassMap, Conv, Dense, DenseTransposed, GlobalAveragePool, Op, Pointwise, Pooling, Sepconv, Slice,
};
use crate::plan::{Binding, Pass, Plan};

/// The most pixels of a strip: its operand should fit a core's second-level cache.
const STRIP: usize = 64;

/// The most pixels of a strip if panels are expanded to f32 for each strip.
const LONG_STRIP: usize = 192;

/// Whether there can be other threads. What only they need is left out of modules without them.
const SHARED_MEMORY: bool = cfg!(any(not(target_arch = "wasm32"), target_feature = "atomics"));

/// A plan, its weights and activations, and the threads that compute it.
#[derive(Debug)]
pub struct Runner {
    /// Shared with a thread during a pass, and for ever if that is lost: changes make a copy then.
    state: Arc<State>,
    /// The thread team this runner belongs to, if any, and how many of its threads compute.
    team: Option<(Arc<ThreadTeam>, usize)>,
    scratch: Scratch,
}

/// A plan, run for one image at a time, its weights and activations.
#[derive(Clone, Debug)]
struct State {
    plan: Plan,
    weights: Arc<[Tensor]>,
    slots: Vec<Buffer>,
}

/// The buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    left: Buffer,
    pooled: Buffer,
    panel: Buffer,
    /// The result of a pass that writes a part of the channels.
    part: Buffer,
}

impl State {
    /// The activation that a pass reads at an index; nothing where weights are.
    fn slot(&self, pass: &Pass, index: usize) -> &[f32] {
        match pass.reads.get(index) {
            Some(&Binding::Slot(slot)) => &self.slots[slot],
            _ => &[],
        }
    }

    fn tensor(&self, read: &Binding) -> Option<&Tensor> {
        match *read {
            Binding::Tensor(tensor) | Binding::Rows { tensor, .. } => self.weights.get(tensor),
            Binding::Slot(_) => None,
        }
    }

    /// The weights that a pass reads at an index; nothing where a matrix or an activation is.
    fn weights(&self, pass: &Pass, index: usize) -> &[f32] {
        match pass.reads.get(index).and_then(|read| self.tensor(read)) {
            Some(Tensor::Values(values, _)) => values,
            _ => &[],
        }
    }

    fn matrix(&self, pass: &Pass) -> Option<&PackedWeights> {
        pass.reads.iter().find_map(|read| match self.tensor(read) {
            Some(Tensor::Matrix(matrix)) => Some(matrix),
            _ => None,
        })
    }

    /// Computes some pixels of a product or a pooling that a pass is, into their part of the result.
    fn strip(&self, pass: &Pass, op: Op, pixels: Range<usize>, out: &mut [f32], scratch: &mut Scratch) {
        let (input, added) = (self.slot(pass, 0), self.slot(pass, 3));
        let (bias, filter) = (self.weights(pass, 2), self.weights(pass, 4));
        let Some(right) = self.matrix(pass) else {
            if let Op::Pool(op) = op {
                Pool { op, input, pixels, out }.dispatch();
            }
            return;
        };
        let Scratch { left, pooled, panel, .. } = scratch;
        left.resize(pixels.len().next_multiple_of(MR) * right.depth);
        let (add, relu, slice) = match op {
            Op::Conv(conv) => {
                windows(input, conv, pixels.clone(), left);
                (Add::Nothing, conv.relu_after, conv.slice)
            }
            Op::Pointwise(Pointwise { input: shape, output, stride, add, relu_after, slice, .. }) => {
                strided(input, shape, output.width, stride, pixels.clone(), left);
                if let Add::MaxPool { padding } = add {
                    pooled.resize(out.len());
                    let padding = padding.map(|before| [before, 1]);
                    let (input, slice) = (Shape { channels: output.channels, ..shape }, None);
                    let window = Window { padding, ..Window::valid(3, 2) };
                    let op = ops::Pool { input, window, pooling: Pooling::Max, slice };
                    Pool { op, input: added, pixels: pixels.clone(), out: pooled }.dispatch();
                }
                (add, relu_after, slice)
            }
            Op::Sepconv(Sepconv { input: shape, relu_before: relu, add, relu_after, .. }) => {
                Depthwise { input, shape, filter, relu, pixels: pixels.clone(), out: left }.dispatch();
                (add, relu_after, None)
            }
            _ => return,
        };
        let residual = || &added[pixels.start * right.columns..][..out.len()];
        let added = match add {
            Add::Nothing => None,
            Add::Residual => Some(residual()),
            Add::Scaled => {
                pooled.resize(out.len());
                let factors = &bias[right.columns..][..right.columns];
                let rows = pooled.chunks_exact_mut(right.columns).zip(residual().chunks_exact(right.columns));
                for (row, added) in rows {
                    row.iter_mut().zip(added).zip(factors).for_each(|((value, added), factor)| *value = added * factor);
                }
                Some(&pooled[..])
            }
            Add::MaxPool { .. } => Some(&pooled[..out.len()]),
        };
        let place = Slice::of(slice, right.columns);
        Gemm { left, right, bias, added, relu, out, place, room: panel }.dispatch();
    }
}

impl Runner {
    /// Makes room for a plan's activations. `team` is a thread team and how many of its threads compute, the caller's included.
    pub fn new(plan: Plan, weights: Arc<[Tensor]>, team: Option<(Arc<ThreadTeam>, usize)>) -> Self {
        let state = Arc::new(State { plan: Plan::default(), weights, slots: Vec::new() });
        let mut runner = Self { state, team, scratch: Scratch::default() };
        runner.extend(plan);
        runner
    }

    /// The number of threads that compute.
    pub fn threads(&self) -> usize {
        self.team.as_ref().map_or(1, |(team, threads)| team.threads().min(*threads))
    }

    fn pass(&self, index: usize, out: &mut Buffer, scratch: &mut Scratch) -> Result<(), Lost> {
        let state = &*self.state;
        let pass = &state.plan.passes[index];
        let op = pass.op;
        if matches!(op, Op::Conv(_) | Op::Pointwise(_) | Op::Sepconv(_) | Op::Pool(_)) {
            return self.strips(index, out, scratch);
        }
        let out = &mut out[..op.output_len()];
        let (slot, values) = (|index| state.slot(pass, index), |index| state.weights(pass, index));
        match op {
            // The first part computes a dense layer as a whole: the limit of bindings is the GPU's.
            Op::Dense(Dense { first: 1.., .. }) | Op::DenseTransposed(DenseTransposed(Dense { first: 1.., .. })) => {}
            Op::Dense(Dense { relu_after: relu, inputs, .. }) => {
                let Some(right) = state.matrix(pass) else { return Ok(()) };
                let mut left = Buffer::new(MR * right.depth);
                left[..inputs].copy_from_slice(&slot(0)[..inputs]);
                let (bias, room) = (values(2), &mut Buffer::default());
                let out = &mut out[..right.columns];
                let place = [0, right.columns];
                Gemm { left: &left, right, bias, added: None, relu, out, place, room }.dispatch();
            }
            Op::DenseTransposed(DenseTransposed(Dense { inputs, all, relu_after, .. })) => {
                let Some(right) = state.matrix(pass) else { return Ok(()) };
                let passes = |n: usize| !relu_after || slot(1)[n] > 0.0;
                let gradient: Vec<f32> = (0..all).map(|n| if passes(n) { slot(0)[n] } else { 0.0 }).collect();
                right.backwards(&gradient, &mut out[..inputs]);
            }
            Op::BiasedDepthwise(op) => {
                BiasedDepthwise { op, input: slot(0), filter: values(1), bias: values(2), out }.dispatch();
            }
            Op::GlobalAveragePool(GlobalAveragePool { input, slice }) => {
                mean(slot(0), input, &mut out[slice.first..][..input.channels]);
            }
            Op::ClassMap(ClassMap { input, is_shared: true }) => class_map(slot(0), slot(1), input, out),
            _ => {
                let values = |index| if slot(index).is_empty() { values(index) } else { slot(index) };
                op.without_kernel(&(0..pass.reads.len()).map(values).collect::<Vec<_>>(), out);
            }
        }
        Ok(())
    }

    /// Computes a product or a pooling strip by strip, on the team's threads.
    fn strips(&self, index: usize, out: &mut Buffer, scratch: &mut Scratch) -> Result<(), Lost> {
        let state = &self.state;
        let pass = &state.plan.passes[index];
        let mut whole = pass.op;
        let (output, slice) = match &mut whole {
            Op::Conv(Conv { output, slice, .. }) | Op::Pointwise(Pointwise { output, slice, .. }) => {
                (*output, slice.take())
            }
            Op::Sepconv(Sepconv { output, .. }) => (*output, None),
            Op::Pool(pool) => (pool.output_shape(), pool.slice.take()),
            _ => return Ok(()),
        };
        let (pixels, channels) = (output.pixels(), output.channels);
        let most = if state.matrix(pass).is_none_or(PackedWeights::is_ready) { STRIP } else { LONG_STRIP };
        let Some((team, threads)) = self.team.as_ref().filter(|_| SHARED_MEMORY) else {
            let [_, all] = Slice::of(slice, channels);
            let length = pixels.div_ceil(pixels.div_ceil(most)).next_multiple_of(MR);
            for (strip, out) in out[..pixels * all].chunks_mut(length * all).enumerate() {
                let pixels = strip * length..pixels.min((strip + 1) * length);
                state.strip(pass, pass.op, pixels, out, scratch);
            }
            return Ok(());
        };
        // The other channels are there already, and a thread that is lost would keep them: a part is computed apart.
        let mut result = mem::take(if slice.is_none() { &mut *out } else { &mut scratch.part });
        if slice.is_some() {
            result.resize(pixels * channels);
        }
        let state = state.clone();
        let work = move |pixels: Range<usize>, out: &mut [f32], scratch: &mut Scratch| {
            state.strip(&state.plan.passes[index], whole, pixels, out, scratch);
        };
        let (most, size) = (most.next_multiple_of(MR), [pixels, channels]);
        let result = team.run(*threads, most, (result, size), scratch, Box::new(work))?;
        let Some(Slice { first, all }) = slice else {
            *out = result;
            return Ok(());
        };
        for (out, part) in out.chunks_exact_mut(all).zip(result.chunks_exact(channels)) {
            out[first..][..channels].copy_from_slice(part);
        }
        scratch.part = result;
        Ok(())
    }
}

impl HostRunner for Runner {
    fn slot(&self, slot: usize) -> &[f32] {
        &self.state.slots[slot]
    }

    fn slot_mut(&mut self, slot: usize) -> &mut [f32] {
        &mut Arc::make_mut(&mut self.state).slots[slot]
    }

    fn run(&mut self, passes: Range<usize>) {
        let mut scratch = mem::take(&mut self.scratch);
        for index in passes {
            let state = Arc::make_mut(&mut self.state);
            let writes = state.plan.passes[index].writes;
            // Nothing reads what it writes.
            let mut out = mem::take(&mut state.slots[writes]);
            let len = out.len();
            if self.pass(index, &mut out, &mut scratch) == Err(Lost) {
                self.team = None;
                out.resize(len);
                // A single thread cannot be lost.
                let _ = self.pass(index, &mut out, &mut scratch);
            }
            Arc::make_mut(&mut self.state).slots[writes] = out;
        }
        self.scratch = scratch;
    }

    fn extend(&mut self, plan: Plan) {
        let state = Arc::make_mut(&mut self.state);
        let new = plan.slots.iter().skip(state.slots.len());
        state.slots.extend(new.map(|slot| Buffer::new(slot.len / plan.batch)));
        state.plan = plan;
    }

    fn weight_bytes(&self) -> u64 {
        self.state.weights.iter().map(|tensor| tensor.bytes() as u64).sum()
    }
}

/// The mean of each channel.
fn mean(input: &[f32], shape: Shape, out: &mut [f32]) {
    let (channels, pixels) = (shape.channels, shape.pixels());
    out.fill(0.0);
    for pixel in input.chunks_exact(channels).take(pixels) {
        out.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
    }
    out.iter_mut().for_each(|sum| *sum /= pixels as f32);
}

/// The channels of each pixel, weighted and added up.
fn class_map(input: &[f32], weights: &[f32], shape: Shape, out: &mut [f32]) {
    for (pixel, out) in input.chunks_exact(shape.channels).zip(out) {
        *out = pixel.iter().zip(weights).map(|(value, weight)| value * weight).sum();
    }
}
