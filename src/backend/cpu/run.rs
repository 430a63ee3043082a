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

/// A plan, its weights and activations, and the threads that compute it.
#[derive(Debug)]
pub struct Runner {
    /// The plan, run for one image at a time.
    plan: Plan,
    weights: Arc<[Tensor]>,
    slots: Vec<Buffer>,
    /// The thread team this runner belongs to, if any, and how many of its threads compute.
    team: Option<(Arc<ThreadTeam>, usize)>,
    scratch: Scratch,
}

/// The buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    left: Buffer,
    pooled: Buffer,
    panel: Buffer,
}

/// A product, whose left side is made strip by strip; or a pooling.
#[derive(Clone, Copy)]
struct Work<'a> {
    op: Op,
    input: &'a [f32],
    filter: &'a [f32],
    /// None of a pooling.
    right: Option<&'a PackedWeights>,
    bias: &'a [f32],
    added: &'a [f32],
    /// The first channel that is written, and the number of all.
    place: [usize; 2],
}

impl Runner {
    /// Makes room for a plan's activations. `team` is a thread team and how many of its threads compute, the caller's included.
    pub fn new(plan: Plan, weights: Arc<[Tensor]>, team: Option<(Arc<ThreadTeam>, usize)>) -> Self {
        let mut runner = Self { plan: Plan::default(), weights, slots: Vec::new(), team, scratch: Scratch::default() };
        runner.extend(plan);
        runner
    }

    /// The number of threads that compute.
    pub fn threads(&self) -> usize {
        self.team.as_ref().map_or(1, |(team, threads)| team.threads().min(*threads))
    }
    fn pass(&self, index: usize, out: &mut [f32], scratch: &mut Scratch) -> Result<(), Lost> {
        let Pass { op, ref reads, .. } = self.plan.passes[index];
        let out = &mut out[..op.output_len()];
        let slot = |index: usize| match reads.get(index) {
            Some(&Binding::Slot(slot)) => &self.slots[slot][..],
            _ => &[],
        };
        let weights = |read: &Binding| match *read {
            Binding::Tensor(tensor) | Binding::Rows { tensor, .. } => self.weights.get(tensor),
            Binding::Slot(_) => None,
        };
        let values = |index: usize| match reads.get(index).and_then(weights) {
            Some(Tensor::Values(values, _)) => &values[..],
            _ => &[],
        };
        let matrix = |read: &Binding| match weights(read) {
            Some(Tensor::Matrix(panels)) => Some(panels),
            _ => None,
        };
        let matrix = || reads.iter().find_map(matrix);
        let strips = match op {
            Op::Conv(Conv { output, slice, .. }) | Op::Pointwise(Pointwise { output, slice, .. }) => {
                Some((output, slice))
            }
            Op::Sepconv(Sepconv { output, .. }) => Some((output, None)),
            Op::Pool(pool) => Some((pool.output_shape(), pool.slice)),
            _ => None,
        };
        if let Some((output, slice)) = strips {
            let (bias, added, filter) = (values(2), slot(3), values(4));
            let place = Slice::of(slice, output.channels);
            let work = Work { op, input: slot(0), filter, right: matrix(), bias, added, place };
            return work.all(self.team.as_ref(), output.pixels(), out, scratch);
        }
        match op {
            // The first part computes a dense layer as a whole: the limit of bindings is the GPU's.
            Op::Dense(Dense { first: 1.., .. }) | Op::DenseTransposed(DenseTransposed(Dense { first: 1.., .. })) => {}
            Op::Dense(Dense { relu_after: relu, inputs, .. }) => {
                let Some(right) = matrix() else { return Ok(()) };
                let mut left = Buffer::new(MR * right.depth);
                left[..inputs].copy_from_slice(&slot(0)[..inputs]);
                let (bias, room) = (values(2), &mut Buffer::default());
                let out = &mut out[..right.columns];
                let place = [0, right.columns];
                Gemm { left: &left, right, bias, added: None, relu, out, place, room }.dispatch();
            }
            Op::DenseTransposed(DenseTransposed(Dense { inputs, all, relu_after, .. })) => {
                let Some(right) = matrix() else { return Ok(()) };
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
                let values = |index: usize| if slot(index).is_empty() { values(index) } else { slot(index) };
                op.without_kernel(&(0..reads.len()).map(values).collect::<Vec<_>>(), out);
            }
        }
        Ok(())
    }
}

impl HostRunner for Runner {
    fn slot(&self, slot: usize) -> &[f32] {
        &self.slots[slot]
    }

    fn slot_mut(&mut self, slot: usize) -> &mut [f32] {
        &mut self.slots[slot]
    }

    fn run(&mut self, passes: Range<usize>) {
        let mut scratch = mem::take(&mut self.scratch);
        for index in passes {
            let writes = self.plan.passes[index].writes;
            // Nothing reads what it writes.
            let mut out = mem::take(&mut self.slots[writes]);
            if self.pass(index, &mut out, &mut scratch) == Err(Lost) {
                // The lost thread may still use the old buffers, which are leaked.
                self.team = None;
                let slots = self.slots.clone();
                mem::forget((mem::replace(&mut self.slots, slots), self.weights.clone()));
                let room = Buffer::new(out.len());
                mem::forget(mem::replace(&mut out, room));
                // A single thread cannot be lost.
                let _ = self.pass(index, &mut out, &mut scratch);
            }
            self.slots[writes] = out;
        }
        self.scratch = scratch;
    }

    fn extend(&mut self, plan: Plan) {
        let new = plan.slots.iter().skip(self.slots.len());
        self.slots.extend(new.map(|slot| Buffer::new(slot.len / plan.batch)));
        self.plan = plan;
    }

    fn weight_bytes(&self) -> u64 {
        self.weights.iter().map(|tensor| tensor.bytes() as u64).sum()
    }
}

impl<'a> Work<'a> {
    /// Computes the whole result strip by strip, on the threads of a team.
    #[allow(unsafe_code, reason = "what a lost thread may still use is forgotten by the caller")]
    fn all(
        self,
        team: Option<&(Arc<ThreadTeam>, usize)>,
        pixels: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Lost> {
        let [_, channels] = self.place;
        let most = if self.right.is_none_or(PackedWeights::is_ready) { STRIP } else { LONG_STRIP };
        let Some((team, threads)) = team else {
            let strip = pixels.div_ceil(pixels.div_ceil(most)).next_multiple_of(MR);
            for (index, out) in out.chunks_mut(strip * channels).enumerate() {
                self.strip(index * strip..pixels.min((index + 1) * strip), out, scratch);
            }
            return Ok(());
        };
        let strip =
            move |pixels: Range<usize>, out: &mut [f32], scratch: &mut Scratch| self.strip(pixels, out, scratch);
        let most = most.next_multiple_of(MR);
        // SAFETY: `Runner::run` forgets what was lost.
        unsafe { team.run(*threads, most, (&mut out[..pixels * channels], channels), scratch, Box::new(strip)) }
    }

    fn strip(&self, pixels: Range<usize>, out: &mut [f32], scratch: &mut Scratch) {
        let Self { op, input, filter, right, bias, added, place } = *self;
        let Some(right) = right else {
            if let Op::Pool(op) = op {
                Pool { op, input, pixels, out }.dispatch();
            }
            return;
        };
        let Scratch { left, pooled, panel } = scratch;
        left.resize(pixels.len().next_multiple_of(MR) * right.depth);
        let (add, relu) = match op {
            Op::Conv(conv) => {
                windows(input, conv, pixels.clone(), left);
                (Add::Nothing, conv.relu_after)
            }
            Op::Pointwise(Pointwise { input: shape, output, stride, add, relu_after, .. }) => {
                strided(input, shape, output.width, stride, pixels.clone(), left);
                if let Add::MaxPool { padding } = add {
                    pooled.resize(out.len());
                    let padding = padding.map(|before| [before, 1]);
                    let (input, slice) = (Shape { channels: output.channels, ..shape }, None);
                    let window = Window { padding, ..Window::valid(3, 2) };
                    let op = ops::Pool { input, window, pooling: Pooling::Max, slice };
                    Pool { op, input: added, pixels: pixels.clone(), out: pooled }.dispatch();
                }
                (add, relu_after)
            }
            Op::Sepconv(Sepconv { input: shape, relu_before: relu, add, relu_after, .. }) => {
                Depthwise { input, shape, filter, relu, pixels: pixels.clone(), out: left }.dispatch();
                (add, relu_after)
            }
            _ => return,
        };
        let part = |added: &'a [f32]| &added[pixels.start * right.columns..][..out.len()];
        let added = match add {
            Add::Nothing => None,
            Add::Residual => Some(part(added)),
            Add::Scaled => {
                pooled.resize(out.len());
                let factors = &bias[right.columns..][..right.columns];
                for (row, added) in pooled.chunks_exact_mut(right.columns).zip(part(added).chunks_exact(right.columns))
                {
                    row.iter_mut().zip(added).zip(factors).for_each(|((value, added), factor)| *value = added * factor);
                }
                Some(&pooled[..])
            }
            Add::MaxPool { .. } => Some(&pooled[..out.len()]),
        };
        Gemm { left, right, bias, added, relu, out, place, room: panel }.dispatch();
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
