//! Pooling by windows backwards.
//!
//! `output[i, j, c] = Σ gradient[y, x, first + c] / n` over the windows that `[i, j]` lies in; n are a window's pixels as
//! [`Pool`] counts them, or for the maximum those that have it, and other pixels have no share

use super::buffer::{at, for_each};
use super::{Buffer, Operation, Pool, Pooling, Slice, Work, flag};
use crate::network::layer::{Shape, Window};
use crate::shader::{self, Constants, Kernel};

/// Pooling backwards: reads a gradient, which is f32, and the input; writes the input's gradient, or adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGradient {
    /// The pooling; that over all pixels has one window. Its slice is that of the gradient which is read.
    pub pool: Pool,
    /// Whether the result is added to what is there.
    pub adds: bool,
}

impl Operation for PoolGradient {
    fn kernel(&self) -> &'static Kernel {
        &shader::POOL_GRADIENT
    }

    fn reads(&self) -> Vec<Buffer> {
        let gradient = Buffer::result(self.pool.output_shape(), self.pool.slice);
        vec![Buffer { always_f32: true, ..gradient }, Buffer::activation(self.pool.input)]
    }

    fn output(&self) -> Buffer {
        Buffer::gradient(self.pool.input)
    }

    fn constants(&self, batch: usize) -> Constants {
        let mut constants = self.pool.constants(batch);
        constants.push(flag("ADD", self.adds));
        constants
    }

    fn work(&self, images: usize) -> Work {
        let Shape { height, width, channels } = self.pool.input;
        Work { extent: [channels, height * width, images], invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let (input, output) = (self.pool.input, self.pool.output_shape());
        if !self.adds {
            out.fill(0.0);
        }
        for_each(output, |y, x, c| {
            let pixels = self.pool.pixels(y, x);
            let value = |&(i, j): &(usize, usize)| reads[1][at(input, i, j, c)];
            let most = pixels.iter().map(value).fold(f32::NEG_INFINITY, f32::max);
            let has_share = |pixel: &&_| self.pool.pooling != Pooling::Max || value(pixel) == most;
            let shares: Vec<_> = pixels.iter().filter(has_share).collect();
            let count = if self.pool.pooling == Pooling::PaddedMean { self.pool.window.pixels() } else { shares.len() };
            let gradient = reads[0][Slice::at(self.pool.slice, output, [y, x, c])] / count as f32;
            shares.into_iter().for_each(|&(i, j)| out[at(input, i, j, c)] += gradient);
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-5, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases: Vec<Self> = Vec::new();
        for (place, pool) in Pool::cases().into_iter().enumerate() {
            let slice = (place % 3 == 0).then_some(Slice { first: 4, all: pool.input.channels + 8 });
            cases.push(Self { pool: Pool { slice: pool.slice.or(slice), ..pool }, adds: place % 2 == 1 });
        }
        let input = Shape::new(6, 7, 64);
        let window = Window { kernel: [6, 7], stride: [1, 1], padding: [[0; 2]; 2] };
        let slice = Some(Slice { first: 64, all: 128 });
        let poolings = [Pooling::Mean, Pooling::Max];
        cases.extend(poolings.map(|pooling| Self { pool: Pool { input, window, pooling, slice }, adds: true }));
        cases
    }
}
