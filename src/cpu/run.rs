//! A plan's passes on the CPU, strip by strip: what a product reads is made for some pixels, and used while it is in the cache.

use std::ops::Range;

use rten_simd::SimdOp;

use super::buffer::Buffer;
use super::product::{Product, ROWS};
use super::rows::{Depthwise, MaxPool, strided, windows};
use super::weights::{Panels, Weights};
use crate::kernel::{Add, Op};
use crate::layer::Shape;
use crate::plan::{Binding, Pass, Plan};

/// Pixels of a strip at most: what a product reads of them should fit a core's second cache.
const STRIP: usize = 64;

/// The same where panels have to be brought to f32 for each strip.
const LONG_STRIP: usize = 192;

/// A plan and what it works on.
#[derive(Debug)]
pub struct Runner {
    /// What runs, for one image.
    pub plan: Plan,
    weights: Vec<Weights>,
    slots: Vec<Buffer>,
    /// Whose member this is, if of any.
    pub team: Option<Team>,
}

/// Takes an activation of which the values of this range are there, and fills in so many of the others' on both sides.
pub type Exchange = Box<dyn Fn(&mut [f32], Range<usize>, usize)>;

/// Rows of the others that a member needs beside its own: a window's one, and those by which the shares of two sizes differ, one of
/// which is half the other.
const MARGIN: usize = 6;

/// Several runners of the same plan and weights, in memories of their own, such as a browser's workers.
pub struct Team {
    /// Which of them this is.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// How it comes to what the others computed.
    pub exchange: Exchange,
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team").field("index", &self.index).field("count", &self.count).finish_non_exhaustive()
    }
}

/// What one thread works with.
#[derive(Default)]
struct Scratch {
    left: Buffer,
    pooled: Buffer,
    panel: Buffer,
}

/// A product, whose left side is made strip by strip.
struct Work<'a> {
    op: Op,
    input: &'a [f32],
    window: &'a [f32],
    right: &'a Panels,
    bias: &'a [f32],
    added: &'a [f32],
}

impl Runner {
    /// Room for a plan's activations.
    pub fn new(plan: Plan, weights: Vec<Weights>) -> Self {
        let slots = plan.slots.iter().map(|slot| Buffer::new(slot.len)).collect();
        Self { plan, weights, slots, team: None }
    }

    /// The values of a slot.
    pub fn slot(&self, slot: usize) -> &[f32] {
        &self.slots[slot]
    }

    /// The values of a slot, to be written.
    pub fn slot_mut(&mut self, slot: usize) -> &mut [f32] {
        &mut self.slots[slot]
    }

    /// Bytes of weights and of activations.
    pub fn bytes(&self) -> u64 {
        let weights = self.weights.iter().map(|weights| match weights {
            Weights::Values(values, _) => 4 * values.len(),
            Weights::Matrix(panels) => panels.bytes(),
        });
        weights.sum::<usize>() as u64 + self.plan.activation_bytes()
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.team.as_ref().map_or(threads(), |team| team.count)
    }

    /// Runs some of the passes.
    pub fn run(&mut self, passes: Range<usize>) {
        for index in passes.clone() {
            let Pass { op, ref reads, writes, .. } = self.plan.passes[index];
            // Nothing reads what it writes.
            let mut out = std::mem::take(&mut self.slots[writes]);
            // What is read as a whole is needed as a whole.
            let whole = index + 1 == passes.end || matches!(self.plan.passes[index + 1].op, Op::Mean { .. });
            self.pass(op, reads, &mut out[..op.output_len()], whole);
            self.slots[writes] = out;
        }
    }

    fn pass(&self, op: Op, reads: &[Binding], out: &mut [f32], whole: bool) {
        let slot = |index: usize| match reads.get(index) {
            Some(&Binding::Slot(slot)) => &self.slots[slot][..],
            _ => &[],
        };
        let weights = |read: &Binding| match *read {
            Binding::Tensor(tensor) | Binding::Rows { tensor, .. } => self.weights.get(tensor),
            Binding::Slot(_) => None,
        };
        let values = |index: usize| match reads.get(index).and_then(weights) {
            Some(Weights::Values(values, _)) => &values[..],
            _ => &[],
        };
        let matrix = |read: &Binding| match weights(read) {
            Some(Weights::Matrix(panels)) => Some(panels),
            _ => None,
        };
        let Some(matrix) = reads.iter().find_map(matrix) else {
            return match op {
                Op::Mean { input } => mean(slot(0), input, out),
                Op::ClassMap { input } => class_map(slot(0), slot(1), input, out),
                // Whoever wants probabilities has logits.
                _ => {}
            };
        };
        match op {
            Op::Conv { output, .. } | Op::Pointwise { output, .. } | Op::Sepconv { output, .. } => {
                let (bias, added, window) = (values(2), slot(3), values(4));
                let work = Work { op, input: slot(0), window, right: matrix, bias, added };
                work.all(self.team.as_ref(), output, out, whole);
            }
            // A layer that has parts, because GPUs bind so much and no more, is computed whole by its first.
            Op::Dense { relu_after: relu, inputs, first: 0, .. } => {
                let mut left = Buffer::new(ROWS * matrix.depth);
                left[..inputs].copy_from_slice(&slot(0)[..inputs]);
                let (bias, room) = (values(2), &mut Buffer::default());
                let out = &mut out[..matrix.columns];
                Product { left: &left, right: matrix, bias, added: None, relu, out, room }.dispatch();
            }
            Op::DenseTransposed { inputs, all, relu_after, first: 0, .. } => {
                let passes = |n: usize| !relu_after || slot(1)[n] > 0.0;
                let gradient: Vec<f32> = (0..all).map(|n| if passes(n) { slot(0)[n] } else { 0.0 }).collect();
                matrix.backwards(&gradient, &mut out[..inputs]);
            }
            _ => {}
        }
    }
}

impl Work<'_> {
    /// Computes the whole result: by strips, natively on as many threads as rayon has; of a team's member its share alone, which it
    /// exchanges for what it needs of the others'.
    fn all(&self, team: Option<&Team>, output: Shape, out: &mut [f32], whole: bool) {
        let Shape { channels, width, .. } = output;
        let (index, count) = team.map_or((0, 1), |team| (team.index, team.count));
        let share = output.pixels().div_ceil(count).next_multiple_of(ROWS);
        let (begin, end) = (output.pixels().min(index * share), output.pixels().min((index + 1) * share));
        let most = if self.right.is_ready() { STRIP } else { LONG_STRIP };
        let strips = share.div_ceil(most).next_multiple_of(threads());
        let strip = share.div_ceil(strips).next_multiple_of(ROWS);
        let compute = |scratch: &mut Scratch, (index, out): (usize, &mut [f32])| {
            let first = begin + index * strip;
            self.strip(first..end.min(first + strip), out, scratch);
        };
        let own = &mut out[begin * channels..end * channels];
        #[cfg(not(target_arch = "wasm32"))]
        {
            use rayon::prelude::*;
            own.par_chunks_mut(strip * channels).enumerate().for_each_init(Scratch::default, compute);
        }
        #[cfg(target_arch = "wasm32")]
        {
            let mut scratch = Scratch::default();
            own.chunks_mut(strip * channels).enumerate().for_each(|part| compute(&mut scratch, part));
        }
        if let Some(team) = team {
            let margin = if whole { out.len() } else { MARGIN * width * channels };
            (team.exchange)(out, begin * channels..end * channels, margin);
        }
    }

    fn strip(&self, pixels: Range<usize>, out: &mut [f32], scratch: &mut Scratch) {
        let Self { op, input, window, right, bias, added } = *self;
        let Scratch { left, pooled, panel } = scratch;
        left.resize(pixels.len().next_multiple_of(ROWS) * right.depth);
        let (add, relu) = match op {
            Op::Conv { input: shape, output, stride } => {
                windows(input, shape, output, stride, pixels.clone(), left);
                (Add::Nothing, true)
            }
            Op::Pointwise { input: shape, output, stride, add, relu_after, .. } => {
                strided(input, shape, output.width, stride, pixels.clone(), left);
                if let Add::MaxPool { before } = add {
                    pooled.resize(out.len());
                    let (shape, columns) = (Shape { channels: output.channels, ..shape }, output.width);
                    MaxPool { input: added, shape, columns, before, pixels: pixels.clone(), out: pooled }.dispatch();
                }
                (add, relu_after)
            }
            Op::Sepconv { input: shape, relu_before: relu, add, relu_after, .. } => {
                Depthwise { input, shape, window, relu, pixels: pixels.clone(), out: left }.dispatch();
                (add, relu_after)
            }
            _ => return,
        };
        let added = match add {
            Add::Nothing => None,
            Add::Residual => Some(&added[pixels.start * right.columns..][..out.len()]),
            Add::MaxPool { .. } => Some(&pooled[..out.len()]),
        };
        Product { left, right, bias, added, relu, out, room: panel }.dispatch();
    }
}

/// How many threads share this memory.
fn threads() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_num_threads();
    #[cfg(target_arch = "wasm32")]
    return 1;
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
