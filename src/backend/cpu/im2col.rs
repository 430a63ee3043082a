//! Operands of products for some pixels of the result at a time, a row for each pixel.

use std::ops::Range;

use rten_simd::isa::GenericIsa;
use rten_simd::ops::{BitOps, IntOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};

use crate::network::layer::{Shape, Window};
use crate::ops::{self, Conv, Pooling, Slice};

/// `max(x, 0)`, by the sign bit: what is written as a comparison also looks for NaN, which takes several instructions in wasm.
#[inline(always)]
pub fn rectify<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let ops = isa.i32();
    let bits: I::I32 = x.reinterpret_cast();
    ops.and(bits, ops.not(ops.shift_right::<31>(bits))).reinterpret_cast()
}

/// Whether pixels have fewer channels than a vector: such an operation takes vectors of four, of which all are multiples.
#[inline(always)]
fn is_narrow<I: Isa>(isa: I, channels: usize) -> bool {
    let lanes = isa.f32().len();
    lanes > 4 && channels < lanes
}

/// Depthwise 3×3, padded with zeros to the same size: `[pixels][channels]`.
pub struct Depthwise<'a> {
    /// The activation: `[height][width][channels]`.
    pub input: &'a [f32],
    /// Its shape.
    pub shape: Shape,
    /// `[3][3][channels]`.
    pub filter: &'a [f32],
    /// Whether negative inputs are taken as zero.
    pub relu: bool,
    /// Which pixels of the result, row by row.
    pub pixels: Range<usize>,
    /// The result.
    pub out: &'a mut [f32],
}

impl SimdOp for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        if is_narrow(isa, self.shape.channels) {
            return self.eval(GenericIsa::new());
        }
        let Self { input, shape: Shape { height, width, channels }, filter, relu, pixels, out } = self;
        let ops = isa.f32();
        let lanes = ops.len();
        assert!(channels >= lanes && input.len() >= height * width * channels && filter.len() == 9 * channels);
        assert!(pixels.end <= height * width && out.len() >= pixels.len() * channels);
        let mut pixel = pixels.start;
        while pixel < pixels.end {
            let (y, from) = (pixel / width, pixel % width);
            let to = width.min(from + pixels.end - pixel);
            let out = &mut out[(pixel - pixels.start) * channels..][..(to - from) * channels];
            for block in (0..channels).step_by(lanes) {
                // The last vector may overlap the one before.
                let channel = block.min(channels - lanes);
                // A row outside the image is one inside, times zero.
                let rows: [usize; 3] = std::array::from_fn(|i| (y + i).clamp(1, height) - 1);
                let mut weights = [[ops.zero(); 3]; 3];
                for (i, weights) in weights.iter_mut().enumerate() {
                    if !(1..=height).contains(&(y + i)) {
                        continue;
                    }
                    for (j, weight) in weights.iter_mut().enumerate() {
                        *weight = ops.load(&filter[(3 * i + j) * channels + channel..]);
                    }
                }
                // Each column of the image adds to three results, of which the first is then complete.
                let [mut first, mut second] = [ops.zero(); 2];
                for x in from..to + 2 {
                    let mut sums = [ops.zero(); 3];
                    if (1..=width).contains(&x) {
                        let mut column = [ops.zero(); 3];
                        for (value, row) in column.iter_mut().zip(rows) {
                            let at = (row * width + x - 1) * channels + channel;
                            *value = ops.load(&input[at..at + lanes]);
                            if relu {
                                *value = rectify(isa, *value);
                            }
                        }
                        for (j, sum) in sums.iter_mut().enumerate() {
                            let first = ops.mul(column[0], weights[0][j]);
                            *sum = ops.mul_add(column[2], weights[2][j], ops.mul_add(column[1], weights[1][j], first));
                        }
                    }
                    if x >= from + 2 {
                        let at = (x - 2 - from) * channels + channel;
                        ops.store(ops.add(first, sums[2]), &mut out[at..at + lanes]);
                    }
                    (first, second) = (ops.add(second, sums[1]), sums[0]);
                }
            }
            pixel += to - from;
        }
    }
}

/// Pooling by windows.
pub struct Pool<'a> {
    /// Shapes and options; the slice is that of a pixel of the result.
    pub op: ops::Pool,
    /// The activation: `[height][width][channels]`.
    pub input: &'a [f32],
    /// Which pixels of the result, row by row.
    pub pixels: Range<usize>,
    /// The result.
    pub out: &'a mut [f32],
}

impl SimdOp for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        if is_narrow(isa, self.op.input.channels) {
            return self.eval(GenericIsa::new());
        }
        let Self { op, input, pixels, out } = self;
        let Window { kernel, stride, padding } = op.window;
        let Shape { height, width, channels } = op.input;
        let [first, all] = Slice::of(op.slice, channels);
        let columns = op.output_shape().width;
        let ops = isa.f32();
        let lanes = ops.len();
        assert!(channels >= lanes && input.len() >= height * width * channels);
        for (pixel, out) in pixels.zip(out.chunks_exact_mut(all)) {
            let [mut from, mut to] = [[0; 2]; 2];
            for (axis, (place, length)) in [(pixel / columns, height), (pixel % columns, width)].into_iter().enumerate()
            {
                let start = place * stride[axis];
                from[axis] = start.saturating_sub(padding[axis][0]);
                to[axis] = (start + kernel[axis]).saturating_sub(padding[axis][0]).min(length);
            }
            let inside = (to[0] - from[0]) * (to[1] - from[1]);
            let count = if op.pooling == Pooling::PaddedMean { op.window.pixels() } else { inside };
            let factor = ops.splat(1.0 / count as f32);
            for block in (0..channels).step_by(lanes) {
                // The last vector may overlap the one before.
                let channel = block.min(channels - lanes);
                let is_max = op.pooling == Pooling::Max;
                let mut result = if is_max { ops.splat(f32::NEG_INFINITY) } else { ops.zero() };
                for y in from[0]..to[0] {
                    for x in from[1]..to[1] {
                        let value = ops.load(&input[(y * width + x) * channels + channel..]);
                        if is_max {
                            // `max` also looks for NaN, which takes several instructions in wasm.
                            result = ops.select(value, result, ops.gt(value, result));
                        } else {
                            result = ops.add(result, value);
                        }
                    }
                }
                if !is_max {
                    result = ops.mul(result, factor);
                }
                ops.store(result, &mut out[first + channel..]);
            }
        }
    }
}

/// Depthwise 3×3 with any stride, and with a bias: the whole result.
pub struct BiasedDepthwise<'a> {
    /// Shapes and options.
    pub op: ops::BiasedDepthwise,
    /// The activation: `[height][width][channels]`.
    pub input: &'a [f32],
    /// `[3][3][channels]`.
    pub filter: &'a [f32],
    /// `[channels]`.
    pub bias: &'a [f32],
    /// The result.
    pub out: &'a mut [f32],
}

impl SimdOp for BiasedDepthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        if is_narrow(isa, self.op.input.channels) {
            return self.eval(GenericIsa::new());
        }
        let Self { op, input, filter, bias, out } = self;
        let ops::BiasedDepthwise { input: Shape { height, width, channels }, output, stride, .. } = op;
        let ops = isa.f32();
        let lanes = ops.len();
        assert!(channels >= lanes);
        for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
            let (top, left) = (pixel / output.width * stride, pixel % output.width * stride);
            for block in (0..channels).step_by(lanes) {
                // The last vector may overlap the one before.
                let channel = block.min(channels - lanes);
                let mut sum = ops.load(&bias[channel..]);
                for y in top.max(1)..(top + 3).min(height + 1) {
                    for x in left.max(1)..(left + 3).min(width + 1) {
                        let mut value = ops.load(&input[((y - 1) * width + x - 1) * channels + channel..]);
                        if op.relu_before {
                            value = rectify(isa, value);
                        }
                        let tap = 3 * (y - top) + x - left;
                        sum = ops.mul_add(value, ops.load(&filter[tap * channels + channel..]), sum);
                    }
                }
                if op.relu_after {
                    sum = rectify(isa, sum);
                }
                ops.store(sum, &mut out[channel..]);
            }
        }
    }
}

/// The windows of a convolution: `[pixels][height][width][channels]`. Pixels of the input are stored as whole `vec4`s.
pub fn windows(input: &[f32], conv: Conv, pixels: Range<usize>, out: &mut [f32]) {
    let Conv { input: shape, output, window: Window { kernel: [rows, columns], stride, padding }, .. } = conv;
    let (channels, stored) = (shape.channels, shape.channels.next_multiple_of(4));
    let [[top, _], [left, _]] = padding;
    for (pixel, out) in pixels.zip(out.chunks_exact_mut(rows * columns * channels)) {
        let (y, x) = (pixel / output.width * stride[0], pixel % output.width * stride[1]);
        // The columns inside.
        let first = left.saturating_sub(x);
        let end = (shape.width + left).saturating_sub(x).min(columns);
        for (i, out) in out.chunks_exact_mut(columns * channels).enumerate() {
            out.fill(0.0);
            if (top..shape.height + top).contains(&(y + i)) && first < end {
                let row = ((y + i - top) * shape.width + x + first - left) * stored;
                let row = input[row..].chunks_exact(stored).take(end - first);
                for (out, pixel) in out[first * channels..].chunks_exact_mut(channels).zip(row) {
                    out.copy_from_slice(&pixel[..channels]);
                }
            }
        }
    }
}

/// Every `stride`th pixel along rows and columns: `[pixels][channels]`.
pub fn strided(input: &[f32], shape: Shape, columns: usize, stride: usize, pixels: Range<usize>, out: &mut [f32]) {
    let channels = shape.channels;
    for (pixel, out) in pixels.zip(out.chunks_exact_mut(channels)) {
        let from = pixel / columns * stride * shape.width + pixel % columns * stride;
        out.copy_from_slice(&input[from * channels..][..channels]);
    }
}
