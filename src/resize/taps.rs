//! Taps: for each pixel of the network's input, the pixels of the photo and their weights.

use std::f64::consts::PI;

use super::{Filter, Fit, Preprocessing};

/// Fractional bits of Pillow's weights, which leave 8 bits for a level and 2 for sums beyond the range of levels.
pub const PRECISION: u32 = 32 - 8 - 2;

/// One axis of a resize: `from..to` of the photo's `length` pixels becomes `outputs` pixels, of which `kept` from `skipped` on are
/// the network's input.
#[derive(Clone, Copy)]
struct Axis {
    length: usize,
    from: f64,
    to: f64,
    /// More than 32 bits hold, for a photo of one row.
    outputs: u64,
    skipped: u64,
    kept: usize,
}

/// For each output pixel along one axis: the first input pixel, how many follow, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    /// `(first, count)` for each output pixel.
    pub spans: Vec<(u32, u32)>,
    /// `stride` weights for each output pixel, of which `count` are used; they sum to 1, with [`PRECISION`] fractional bits. For
    /// [`Filter::TfBilinear`] instead the bits of one f32: the share of the last pixel, the first has the rest.
    pub weights: Vec<i32>,
    /// The most weights an output pixel has.
    pub stride: usize,
}

impl Taps {
    fn new(filter: Filter, axis: Axis) -> Self {
        match filter {
            Filter::Nearest => Self::nearest(axis),
            Filter::TfBilinear | Filter::TfNearest => Self::tensorflow(filter, axis),
            _ => Self::antialiased(filter, axis),
        }
    }

    /// Pillow's sum over the support of a filter, which widens by the scale where it shrinks.
    fn antialiased(filter: Filter, Axis { length, from, to, outputs, skipped, kept }: Axis) -> Self {
        // Pillow has the box in f32, and all that follows in f64. The operations are those of Pillow, in its order.
        let (from, to) = (from as f32, to as f32);
        let scale = f64::from(to - from) / outputs as f64;
        let widening = scale.max(1.0);
        let narrowing = 1.0 / widening;
        let support = widening
            * match filter {
                Filter::Box => 0.5,
                Filter::Bicubic => 2.0,
                Filter::Lanczos => 3.0,
                _ => 1.0,
            };
        let stride = (support.ceil() as usize * 2 + 1).min(length);
        let mut taps = Self { spans: Vec::with_capacity(kept), weights: vec![0; kept * stride], stride };
        let mut shares = Vec::with_capacity(stride);
        for (x, weights) in (skipped..).zip(taps.weights.chunks_exact_mut(stride)) {
            let centre = f64::from(from) + (x as f64 + 0.5) * scale;
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(length);
            shares.clear();
            shares.extend((first..end).map(|i| kernel(filter, (i as f64 - centre + 0.5) * narrowing)));
            let sum: f64 = shares.iter().sum();
            for (weight, share) in weights.iter_mut().zip(&shares) {
                let exact = share / sum * f64::from(1 << PRECISION);
                *weight = (exact + 0.5_f64.copysign(exact)) as i32;
            }
            taps.spans.push((first as u32, (end - first) as u32));
        }
        taps
    }

    /// Pillow's pixel at the place.
    fn nearest(Axis { length, from, to, outputs, skipped, kept }: Axis) -> Self {
        /// More outputs than an image of Pillow's has, whose places are still added up in little time.
        const MOST_ADDED: u64 = 1 << 24;
        let (from, to) = (from as f32, to as f32);
        let scale = f64::from(to - from) / outputs as f64;
        // Pillow adds up the scale, and its rounding errors with it.
        let begin = skipped.saturating_sub(MOST_ADDED);
        let mut at = f64::from(from) + scale * (begin as f64 + 0.5);
        (begin..skipped).for_each(|_| at += scale);
        let next = |_| {
            let first = (at as usize).min(length - 1);
            at += scale;
            (first as u32, 1)
        };
        Self { spans: (0..kept).map(next).collect(), weights: vec![1 << PRECISION; kept], stride: 1 }
    }

    /// TensorFlow's pixel at the place, or the two next to it: in f32, of a photo that is cropped to whole pixels before.
    fn tensorflow(filter: Filter, Axis { from, to, outputs, kept, .. }: Axis) -> Self {
        let length = to - from;
        let scale = length as f32 / outputs as f32;
        let last = length as u32 - 1;
        let from = from as u32;
        let mut taps = Self { spans: Vec::with_capacity(kept), weights: Vec::with_capacity(kept), stride: 1 };
        for x in 0..kept {
            let centre = (x as f32 + 0.5) * scale;
            let at = if filter == Filter::TfNearest { centre.floor() } else { centre - 0.5 };
            let (first, end) = ((at.floor() as u32).min(last), (at.ceil() as u32).min(last));
            taps.spans.push((from + first, end - first + 1));
            taps.weights.push(match filter {
                Filter::TfNearest => 1 << PRECISION,
                _ => (at - at.floor()).to_bits() as i32,
            });
        }
        taps
    }

    /// The input pixels that are read at all: first and one past the last.
    pub fn range(&self) -> (u32, u32) {
        let first = self.spans.iter().map(|span| span.0).min().unwrap_or(0);
        (first, self.spans.iter().map(|span| span.0 + span.1).max().unwrap_or(0))
    }
}

/// The sine of πx, by its series: the library's sine and cosine would be 7 KB of the core's wasm.
fn sin_pi(x: f64) -> f64 {
    let whole = x.round_ties_even();
    let angle = (x - whole) * PI;
    // Beyond these terms it is less than what f64 tells apart.
    let series = (1..=10).rev().fold(1.0, |series, n| 1.0 - angle * angle / f64::from(2 * n * (2 * n + 1)) * series);
    if whole as i32 % 2 == 0 { angle * series } else { -angle * series }
}

fn kernel(filter: Filter, x: f64) -> f64 {
    const A: f64 = -0.5;
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { sin_pi(x) / (x * PI) };
    match filter {
        Filter::Box => return f64::from(x > -0.5 && x <= 0.5),
        Filter::Lanczos if (-3.0..3.0).contains(&x) => return sinc(x) * sinc(x / 3.0),
        _ => {}
    }
    let x = x.abs();
    match filter {
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Filter::Bilinear if x < 1.0 => 1.0 - x,
        // The constants of the window are f32.
        Filter::Hamming if x < 1.0 => sinc(x) * (f64::from(0.54_f32) + f64::from(0.46_f32) * sin_pi(0.5 - x)),
        _ => 0.0,
    }
}

/// Height and width of the largest centre that has another aspect ratio, as Keras's `smart_resize` crops.
pub fn smart_crop(image: [usize; 2], size: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|axis| {
        // Keras divides in f32.
        let side = (image[1 - axis] as u64 * size[axis] as u64) as f32 / size[1 - axis] as f32;
        (side as usize).clamp(1, image[axis])
    })
}

/// How a photo of `width` × `height` becomes `[height, width]`, along x and y.
fn axes(preprocessing: Preprocessing, (width, height): (usize, usize), size: [usize; 2]) -> [Axis; 2] {
    let Preprocessing { filter, fit, crop, .. } = preprocessing;
    let [out_height, out_width] = size.map(|side| side as u64);
    let (w, h) = (width as u64, height as u64);
    let axis = |length: usize, kept: usize| Axis {
        length,
        from: 0.0,
        to: length as f64,
        outputs: kept as u64,
        skipped: 0,
        kept,
    };
    let mut axes = [axis(width, size[1]), axis(height, size[0])];
    if fit == Fit::Squash {
        return axes;
    }
    if matches!(filter, Filter::TfBilinear | Filter::TfNearest) {
        let [rows, columns] = smart_crop([height, width], size);
        for (axis, length) in axes.iter_mut().zip([columns, rows]) {
            axis.from = ((axis.length - length) / 2) as f64;
            axis.to = axis.from + length as f64;
        }
    } else if crop < 1.0 {
        let [across, down] = [out_width, out_height].map(|side| (side as f64 / crop) as u64);
        let resized = if across == down {
            [across.max(across * w / h), down.max(down * h / w)]
        } else {
            let ratio = (w as f64 / across as f64).min(h as f64 / down as f64);
            [w, h].map(|side| (side as f64 / ratio).round_ties_even() as u64)
        };
        for (axis, outputs) in axes.iter_mut().zip(resized) {
            let cropped = outputs - axis.kept as u64;
            axis.outputs = outputs;
            // Half of it, to the nearest even number where that is between two.
            axis.skipped = cropped / 2 + (cropped & (cropped / 2) & 1);
        }
    } else {
        let [w, h] = [w, h].map(|side| side as f64);
        let ratio = out_width as f64 / out_height as f64;
        let [crop_width, crop_height] = if w / h > ratio {
            [ratio * h, h]
        } else if w / h < ratio {
            [w, w / ratio]
        } else {
            [w, h]
        };
        for (axis, length) in axes.iter_mut().zip([crop_width, crop_height]) {
            axis.from = (axis.to - length) * 0.5;
            axis.to = axis.from + length;
        }
    }
    axes
}

/// The taps along x and y that bring a photo of `width` × `height` to `[height, width]`.
pub fn taps(preprocessing: Preprocessing, photo: (usize, usize), size: [usize; 2]) -> (Taps, Taps) {
    let [across, down] = axes(preprocessing, photo, size).map(|axis| Taps::new(preprocessing.filter, axis));
    (across, down)
}

/// The part of a photo of `width` × `height` that the network sees, in shares of its sides: x, y, width and height.
pub fn seen(preprocessing: Preprocessing, photo: (usize, usize), size: [usize; 2]) -> [f64; 4] {
    let share = |Axis { length, from, to, outputs, skipped, kept }: Axis| {
        let output = (to - from) / outputs as f64;
        [from + skipped as f64 * output, kept as f64 * output].map(|pixels| pixels / length as f64)
    };
    let [[x, width], [y, height]] = axes(preprocessing, photo, size).map(share);
    [x, y, width, height]
}
