//! Which pixels of a photo make which pixel of the network's input, with which weight: as PIL does it.
//!
//! PIL widens a filter's support by the scale when it shrinks an image, so that every pixel counts. The taps
//! are computed here in f64; the GPU (`shaders/resize_*.wgsl`) and [`resize`] apply the same ones.
//! Source: Pillow, `src/libImaging/Resample.c` and `Geometry.c`, by behaviour.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How pixels between pixels are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Filter {
    /// The pixel at the place, as Keras's `load_img` does by default.
    Nearest,
    /// A triangle, two pixels wide or two output pixels when shrinking.
    #[default]
    Bilinear,
    /// Keys's cubic with a = −0.5, four pixels wide or four output pixels when shrinking.
    Bicubic,
}

/// How a photo of another aspect ratio becomes the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Fit {
    /// All of it, its aspect ratio given up.
    #[default]
    Squash,
    /// Its centre: as large as the aspect ratio allows, times [`Preprocessing::crop`].
    Crop,
}

crate::names! { Filter { Nearest = "nearest", Bilinear = "bilinear", Bicubic = "bicubic" } }
crate::names! { Fit { Squash = "squash", Crop = "crop" } }

/// Preprocessing of a photo: resize, then `value · scale + offset` on values 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The resampling filter.
    pub filter: Filter,
    /// What happens to other aspect ratios.
    pub fit: Fit,
    /// The share of the largest possible centre that [`Fit::Crop`] keeps, 0 to 1: timm's `crop_pct`.
    #[serde(default = "whole")]
    pub crop: f32,
    /// Factor on values 0 to 255.
    pub scale: f32,
    /// Added after the factor.
    pub offset: f32,
}

fn whole() -> f32 {
    1.0
}

impl Preprocessing {
    /// The same for photos that are to be fitted so.
    #[must_use]
    pub fn fitted(self, fit: Option<Fit>) -> Self {
        Self { fit: fit.unwrap_or(self.fit), ..self }
    }

    /// Writes resized pixels `[pixels][3]` as the network's input: `[pixels][4]`, the fourth channel zero.
    pub fn normalise(&self, pixels: &[u8], input: &mut [f32]) {
        for (rgb, out) in pixels.chunks_exact(3).zip(input.chunks_exact_mut(4)) {
            for (value, out) in rgb.iter().zip(&mut *out) {
                *out = f32::from(*value) * self.scale + self.offset;
            }
            out[3] = 0.0;
        }
    }
}

impl Default for Preprocessing {
    /// Bilinear, squashed, to −1…1.
    fn default() -> Self {
        Self { filter: Filter::default(), fit: Fit::default(), crop: whole(), scale: 1.0 / 127.5, offset: -1.0 }
    }
}

/// Pixels of a photo: RGBA, 8 bits each, row by row, alpha not premultiplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgba {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Rgba {
    /// # Errors
    /// [`Error::Argument`] where a side is 0 or `data` is not `width · height · 4` bytes.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<Self> {
        if width == 0 || height == 0 || data.len() as u64 != 4 * width as u64 * height as u64 {
            return Err(Error::Argument(format!(
                "{} bytes are no image of {width}×{height} RGBA pixels: {} are needed, and each side at least 1",
                data.len(),
                4 * width as u64 * height as u64
            )));
        }
        Ok(Self { width, height, data })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels: `[height][width][4]`.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels, to keep.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}

/// For each output pixel along one axis: the first input pixel, how many follow, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    /// `(first, count)` for each output pixel.
    pub spans: Vec<(u32, u32)>,
    /// `stride` weights for each output pixel, of which `count` are used; they sum to 1.
    pub weights: Vec<f32>,
    /// The most weights an output pixel has.
    pub stride: usize,
}

impl Taps {
    /// The taps that resample `from..to` of an axis of `length` pixels to `outputs` pixels.
    pub fn new(filter: Filter, length: usize, (from, to): (f64, f64), outputs: usize) -> Self {
        let scale = (to - from) / outputs as f64;
        if filter == Filter::Nearest {
            // PIL adds up the scale, and its rounding errors with it.
            let mut at = from + scale * 0.5;
            let spans = (0..outputs).map(|_| {
                let first = (at as usize).min(length - 1);
                at += scale;
                (first as u32, 1)
            });
            return Self { spans: spans.collect(), weights: vec![1.0; outputs], stride: 1 };
        }
        let widening = scale.max(1.0);
        let support = widening * if filter == Filter::Bicubic { 2.0 } else { 1.0 };
        let stride = (support.ceil() as usize * 2 + 1).min(length);
        let mut taps = Self { spans: Vec::with_capacity(outputs), weights: vec![0.0; outputs * stride], stride };
        for (x, weights) in taps.weights.chunks_exact_mut(stride).enumerate() {
            let centre = from + (x as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(length);
            let weight = |i: usize| kernel(filter, (i as f64 - centre + 0.5) / widening);
            let sum: f64 = (first..end).map(weight).sum();
            for (out, i) in weights.iter_mut().zip(first..end) {
                *out = (weight(i) / sum) as f32;
            }
            taps.spans.push((first as u32, (end - first) as u32));
        }
        taps
    }

    /// The input pixels that are read at all: first and one past the last.
    pub fn range(&self) -> (u32, u32) {
        let first = self.spans.iter().map(|span| span.0).min().unwrap_or(0);
        (first, self.spans.iter().map(|span| span.0 + span.1).max().unwrap_or(0))
    }
}

fn kernel(filter: Filter, x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    match filter {
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Filter::Bilinear if x < 1.0 => 1.0 - x,
        _ => 0.0,
    }
}

/// The taps along x and y that bring a photo of `width` × `height` to `[height, width]`.
pub fn taps(
    Preprocessing { filter, fit, crop, .. }: Preprocessing,
    (width, height): (usize, usize),
    [out_height, out_width]: [usize; 2],
) -> (Taps, Taps) {
    let (w, h) = (width as f64, height as f64);
    let (mut crop_width, mut crop_height) = (w, h);
    if fit == Fit::Crop {
        let ratio = out_width as f64 / out_height as f64;
        if w / h >= ratio {
            crop_width = ratio * h;
        } else {
            crop_height = w / ratio;
        }
        crop_width *= f64::from(crop);
        crop_height *= f64::from(crop);
    }
    let (left, top) = ((w - crop_width) * 0.5, (h - crop_height) * 0.5);
    (
        Taps::new(filter, width, (left, left + crop_width), out_width),
        Taps::new(filter, height, (top, top + crop_height), out_height),
    )
}

/// Resizes on the CPU to 8-bit RGB: `[height][width][3]`. Transparency is composited on white.
pub fn resize(photo: &Rgba, preprocessing: Preprocessing, size: [usize; 2]) -> Vec<u8> {
    let mut resizer = Resizer::new(preprocessing, [photo.width, photo.height], size);
    resizer.push(&photo.data);
    resizer.finish()
}

/// The same for a photo whose rows come by and by, so that it need not be in memory as a whole.
#[derive(Debug)]
pub struct Resizer {
    width: usize,
    across: Taps,
    down: Taps,
    /// Rows of the photo that have come.
    came: usize,
    /// Those of them that are needed, resized along x: `[rows][width][4]`.
    rows: Vec<u8>,
    pitch: usize,
    /// Room for a row of the photo without transparency.
    opaque: Vec<[u8; 4]>,
}

impl Resizer {
    /// For a photo of some width and height, to `[height, width]`.
    pub fn new(preprocessing: Preprocessing, [width, height]: [usize; 2], size: [usize; 2]) -> Self {
        let (across, down) = taps(preprocessing, (width, height), size);
        Self { width, across, down, came: 0, rows: Vec::new(), pitch: 4 * size[1], opaque: Vec::new() }
    }

    /// Takes the next rows, RGBA.
    pub fn push(&mut self, rows: &[u8]) {
        let (first_row, end_row) = self.down.range();
        for line in rows.chunks_exact(4 * self.width) {
            self.came += 1;
            if !(first_row + 1..=end_row).contains(&(self.came as u32)) {
                continue;
            }
            let pixels = on_white(line, &mut self.opaque);
            let across = &self.across;
            for (&(first, count), weights) in across.spans.iter().zip(across.weights.chunks_exact(across.stride)) {
                // With all four channels it is a vector.
                let mut sums = [0.0; 4];
                for (pixel, weight) in pixels[first as usize..][..count as usize].iter().zip(weights) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += weight * f32::from(value));
                }
                self.rows.extend(sums.map(round));
            }
        }
    }

    /// Whether rows are missing.
    pub fn is_short(&self) -> bool {
        (self.came as u32) < self.down.range().1
    }

    /// The resized photo; rows that are missing are black.
    pub fn finish(mut self) -> Vec<u8> {
        let Self { ref down, pitch, .. } = self;
        let (first_row, end_row) = down.range();
        self.rows.resize((end_row - first_row) as usize * pitch, 0);
        let mut output = Vec::with_capacity(down.spans.len() * pitch / 4 * 3);
        let mut sums = vec![0.0; pitch];
        for (&(first, count), weights) in down.spans.iter().zip(down.weights.chunks_exact(down.stride)) {
            sums.fill(0.0);
            let rows = self.rows[(first - first_row) as usize * pitch..].chunks_exact(pitch).take(count as usize);
            for (row, weight) in rows.zip(weights) {
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * f32::from(value));
            }
            output.extend(sums.chunks_exact(4).flat_map(|pixel| &pixel[..3]).map(|&sum| round(sum)));
        }
        output
    }
}

/// A row of RGBA pixels, composited on white where it is transparent.
fn on_white<'a>(line: &'a [u8], room: &'a mut Vec<[u8; 4]>) -> &'a [[u8; 4]] {
    let (pixels, _) = line.as_chunks();
    if pixels.iter().fold(255, |alpha, pixel| alpha & pixel[3]) == 255 {
        return pixels;
    }
    let composite = |pixel: &[u8; 4]| {
        let alpha = f32::from(pixel[3]) / 255.0;
        pixel.map(|value| round(f32::from(value) * alpha + 255.0 * (1.0 - alpha)))
    };
    room.clear();
    room.extend(pixels.iter().map(composite));
    room
}

/// The nearest whole number from 0 to 255.
fn round(sum: f32) -> u8 {
    (sum + 0.5) as u8
}
