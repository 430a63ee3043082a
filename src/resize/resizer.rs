//! Resizing on the CPU.

use super::taps::{PRECISION, Taps, taps};
use super::{Filter, Preprocessing, Rgba};

/// Resizes on the CPU to levels of RGB, 0 to 255: `[height][width][3]`. Transparency is composited on white, in 8 bits. The
/// levels are whole numbers, but for [`Filter::TfBilinear`].
pub fn resize(photo: &Rgba, preprocessing: Preprocessing, size: [usize; 2]) -> Vec<f32> {
    let mut resizer = Resizer::new(preprocessing, [photo.width(), photo.height()], size);
    resizer.push(photo.data());
    resizer.finish()
}

/// A resizer for photos that arrive row by row, so that none is in memory as a whole.
#[derive(Debug)]
pub struct Resizer {
    filter: Filter,
    width: usize,
    across: Taps,
    down: Taps,
    /// The number of rows so far.
    came: usize,
    /// The needed rows, resized along x: `[rows][width][4]`. For [`Filter::TfBilinear`] the two pixels between which
    /// each one lies: `[rows][width][2][4]`.
    rows: Vec<u8>,
    pitch: usize,
    /// Room for a row of the photo without transparency.
    opaque: Vec<[u8; 4]>,
}

impl Resizer {
    /// A resizer of photos of some width and height to `[height, width]`.
    pub fn new(preprocessing: Preprocessing, [width, height]: [usize; 2], size: [usize; 2]) -> Self {
        let (across, down) = taps(preprocessing, (width, height), size);
        let filter = preprocessing.filter;
        let pitch = size[1] * if filter == Filter::TfBilinear { 8 } else { 4 };
        Self { filter, width, across, down, came: 0, rows: Vec::new(), pitch, opaque: Vec::new() }
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
                let pixels = &pixels[first as usize..][..count as usize];
                if self.filter == Filter::TfBilinear {
                    self.rows.extend([pixels[0], pixels[count as usize - 1]].as_flattened());
                    continue;
                }
                // With all four channels it is a vector.
                let mut sums = [HALF; 4];
                for (pixel, weight) in pixels.iter().zip(weights) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += weight * i32::from(value));
                }
                self.rows.extend(sums.map(level));
            }
        }
    }

    /// Whether rows are missing.
    pub fn is_short(&self) -> bool {
        (self.came as u32) < self.down.range().1
    }

    /// The resized photo, as [`resize`] returns it; missing rows are black.
    pub fn finish(mut self) -> Vec<f32> {
        let (first_row, end_row) = self.down.range();
        self.rows.resize((end_row - first_row) as usize * self.pitch, 0);
        let mut output = Vec::with_capacity(3 * self.across.spans.len() * self.down.spans.len());
        let mut sums = vec![0; self.pitch];
        for (&(first, count), weights) in self.down.spans.iter().zip(self.down.weights.chunks_exact(self.down.stride)) {
            let rows = &self.rows[(first - first_row) as usize * self.pitch..][..count as usize * self.pitch];
            if self.filter == Filter::TfBilinear {
                let (top, bottom) = (&rows[..self.pitch], &rows[rows.len() - self.pitch..]);
                self.interpolate([top, bottom], f32::from_bits(weights[0] as u32), &mut output);
                continue;
            }
            sums.fill(HALF);
            for (row, weight) in rows.chunks_exact(self.pitch).zip(weights) {
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * i32::from(value));
            }
            output.extend(sums.chunks_exact(4).flat_map(|pixel| &pixel[..3]).map(|&sum| f32::from(level(sum))));
        }
        output
    }

    /// A row of TensorFlow's between two rows of pairs, `share` of the way from the first to the second.
    fn interpolate(&self, rows: [&[u8]; 2], share: f32, output: &mut Vec<f32>) {
        let [top, bottom] = rows.map(|row| row.as_chunks::<8>().0);
        for ((top, bottom), &across) in top.iter().zip(bottom).zip(&self.across.weights) {
            let between = |pair: &[u8; 8], c: usize| {
                let [left, right] = [pair[c], pair[4 + c]].map(f32::from);
                left + (right - left) * f32::from_bits(across as u32)
            };
            output.extend([0, 1, 2].map(|c| {
                let (top, bottom) = (between(top, c), between(bottom, c));
                top + (bottom - top) * share
            }));
        }
    }
}

/// A row of RGBA pixels, composited on white where it is transparent.
fn on_white<'a>(line: &'a [u8], room: &'a mut Vec<[u8; 4]>) -> &'a [[u8; 4]] {
    let (pixels, _) = line.as_chunks();
    if pixels.iter().fold(255, |alpha, pixel| alpha & pixel[3]) == 255 {
        return pixels;
    }
    // To the nearest level: no quotient is half of an odd number.
    let composite = |pixel: &[u8; 4]| {
        let alpha = u32::from(pixel[3]);
        pixel.map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
    };
    room.clear();
    room.extend(pixels.iter().map(composite));
    room
}

/// Half a level, with which sums begin so that they are rounded.
const HALF: i32 = 1 << (PRECISION - 1);

/// A sum as a level.
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
