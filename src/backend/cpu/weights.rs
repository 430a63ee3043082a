//! Weights in the layout of the CPU's kernels, in the dtype of the file.

use bytemuck::cast_slice;
use rten_simd::ops::{BitOps, Extend, IntOps, NumOps, ToFloat};
use rten_simd::{Isa, Simd, SimdOp};

use super::buffer::Buffer;
use crate::dtype::Dtype;
use crate::network::layer::{self, Role};

/// Vectors of a panel's row.
pub const NR: usize = 2;

/// A tensor of a plan.
#[derive(Debug)]
pub enum Tensor {
    /// Biases, padded to whole panels, and depthwise windows: always f32.
    Values(Vec<f32>, Dtype),
    /// The right side of a product.
    Matrix(PackedWeights),
}

/// A matrix of `depth` rows by panels of `width` columns, `[columns / width][depth][width]`: the innermost loop of a product
/// reads contiguous memory. The last panel is padded with zeros.
#[derive(Debug)]
pub struct PackedWeights {
    /// Rows, over which a product sums.
    pub depth: usize,
    /// Columns without padding.
    pub columns: usize,
    /// Columns of a panel.
    pub width: usize,
    /// A factor for each column, padded; 1 where values are not i8.
    pub scales: Vec<f32>,
    dtype: Dtype,
    /// Whether values come column by column, columns padded to whole `vec4`s, as dense layers have them.
    by_columns: bool,
    data: Buffer,
}

/// The number of f32 that a vector of this machine has.
pub fn lanes() -> usize {
    struct Lanes;
    impl SimdOp for Lanes {
        type Output = usize;

        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) -> usize {
            isa.f32().len()
        }
    }
    Lanes.dispatch()
}

impl Tensor {
    /// Room for a tensor whose values come as `storage` has it.
    pub fn new(tensor: &layer::Tensor, storage: Dtype) -> Self {
        let dtype = tensor.dtype(storage);
        let width = NR * lanes();
        let (depth, columns, by_columns) = match (tensor.role, &tensor.shape[..]) {
            (Role::Matrix(0), &[columns, depth]) => (depth, columns, true),
            (Role::Matrix(_), &[depth, columns]) => (depth, columns, false),
            (Role::Filter | Role::Matrix(_), &[height, width, channels, columns]) => {
                (height * width * channels, columns, false)
            }
            (Role::Bias, _) => return Self::Values(vec![0.0; tensor.len().next_multiple_of(width)], dtype),
            _ => return Self::Values(vec![0.0; tensor.len()], dtype),
        };
        let padded = columns.next_multiple_of(width);
        // A vector of i8 is two rows.
        let data = Buffer::new((depth.next_multiple_of(2) * padded * dtype.size()).div_ceil(4));
        Self::Matrix(PackedWeights { depth, columns, width, scales: vec![1.0; padded], dtype, by_columns, data })
    }

    /// Bytes of the values.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Values(values, _) => 4 * values.len(),
            Self::Matrix(packed) => 4 * packed.data.len(),
        }
    }

    /// Takes values from byte `offset` on, as they come.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        match self {
            Self::Values(values, dtype) => {
                let first = offset / dtype.size();
                let decoded = dtype.decode(bytes);
                values[first..first + decoded.len()].copy_from_slice(&decoded);
            }
            Self::Matrix(panels) => panels.write(offset, bytes),
        }
    }

    /// Takes the factors of columns that are stored as i8; there are none for other tensors.
    pub fn scale(&mut self, scales: &[f32]) {
        if let Self::Matrix(panels) = self {
            let count = scales.len().min(panels.columns);
            panels.scales[..count].copy_from_slice(&scales[..count]);
        }
    }
}

impl PackedWeights {
    fn write(&mut self, offset: usize, mut bytes: &[u8]) {
        let (size, depth, width) = (self.dtype.size(), self.depth, self.width);
        let data = self.data.bytes_mut();
        let mut index = offset / size;
        let mut put = |row: usize, column: usize, values: &[u8]| {
            let to = ((column / width * depth + row) * width + column % width) * size;
            data[to..to + values.len()].copy_from_slice(values);
        };
        while !bytes.is_empty() {
            let (row, column, count) = match self.by_columns {
                true => (index % depth, index / depth, 1),
                // Up to the end of a panel's row.
                false => {
                    let column = index % self.columns;
                    (index / self.columns, column, (width - column % width).min(self.columns - column))
                }
            };
            let (values, rest) = bytes.split_at(bytes.len().min(count * size));
            put(row, column, values);
            index += values.len() / size;
            bytes = rest;
        }
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// Whether panels are f32 as they are.
    pub fn is_ready(&self) -> bool {
        self.dtype == Dtype::F32
    }

    /// The product with a vector of `columns` from the right: `out[k] = Σ right[k][n] · vector[n]`.
    pub fn backwards(&self, vector: &[f32], out: &mut [f32]) {
        struct Backwards<'a>(&'a PackedWeights, &'a [f32], &'a mut [f32]);
        impl SimdOp for Backwards<'_> {
            type Output = ();

            #[inline(always)]
            fn eval<I: Isa>(self, isa: I) {
                let Self(panels, vector, out) = self;
                let mut room = Buffer::default();
                out.fill(0.0);
                for (index, vector) in vector.chunks(panels.width).enumerate() {
                    let scales = &panels.scales[index * panels.width..];
                    let panel = panels.panel(isa, index, &mut room);
                    for (out, row) in out.iter_mut().zip(panel.chunks_exact(panels.width)) {
                        let scaled = vector.iter().zip(scales).zip(row);
                        *out += scaled.map(|((value, scale), weight)| value * scale * weight).sum::<f32>();
                    }
                }
            }
        }
        Backwards(self, vector, out).dispatch();
    }

    /// The values of a panel, `[depth][width]`, without its scales; brought to f32 in `room` where they are stored otherwise.
    #[inline(always)]
    pub fn panel<'a, I: Isa>(&'a self, isa: I, index: usize, room: &'a mut Buffer) -> &'a [f32] {
        let len = self.depth * self.width;
        if self.is_ready() {
            return &self.data[index * len..][..len];
        }
        // Whole vectors of i8.
        room.resize(len.next_multiple_of(2 * self.width));
        if self.dtype == Dtype::F16 {
            let values: &[i16] = &cast_slice::<f32, i16>(&self.data)[index * len..][..len];
            for (values, out) in values.chunks_exact(self.width).zip(room.chunks_exact_mut(self.width)) {
                halves(isa, values, out);
            }
        } else {
            let values: &[i8] = &cast_slice::<f32, i8>(&self.data)[index * len..];
            for (values, out) in values.chunks(2 * self.width).zip(room.chunks_exact_mut(2 * self.width)) {
                bytes(isa, values, out);
            }
        }
        &room[..len]
    }
}

/// A vector of finite f16 as two of f32. Not every machine has an instruction for it: exponent and mantissa are moved to their places,
/// which makes the value 2¹¹² times too small, subnormals included.
#[inline(always)]
fn halves<I: Isa>(isa: I, values: &[i16], out: &mut [f32]) {
    let (i16s, i32s, f32s) = (isa.i16(), isa.i32(), isa.f32());
    let x = i16s.load(values);
    let lanes = f32s.len();
    for (x, out) in [i16s.extend_low(x), i16s.extend_high(x)].into_iter().zip(out.chunks_exact_mut(lanes)) {
        let magnitude = i32s.and(i32s.shift_left::<13>(x), i32s.splat(0x0fff_e000));
        let sign = i32s.and(x, i32s.splat(i32::MIN));
        let small: I::F32 = i32s.or(magnitude, sign).reinterpret_cast();
        f32s.store(f32s.mul(small, f32s.splat(f32::from_bits((127 + 112) << 23))), out);
    }
}

/// A vector of i8 as four of f32.
#[inline(always)]
fn bytes<I: Isa>(isa: I, values: &[i8], out: &mut [f32]) {
    let (i8s, i16s, i32s, f32s) = (isa.i8(), isa.i16(), isa.i32(), isa.f32());
    let (x, _) = i8s.load_pad(values);
    let [low, high] = [i8s.extend_low(x), i8s.extend_high(x)];
    let quarters = [i16s.extend_low(low), i16s.extend_high(low), i16s.extend_low(high), i16s.extend_high(high)];
    for (x, out) in quarters.into_iter().zip(out.chunks_exact_mut(f32s.len())) {
        f32s.store(i32s.to_float(x), out);
    }
}
