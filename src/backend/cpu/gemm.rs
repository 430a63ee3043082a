//! The matrix product of some rows and one matrix: registers hold a tile of the sums.

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

use super::buffer::Buffer;
use super::im2col::rectify;
use super::weights::{NR, PackedWeights};

/// Rows of a tile. With two vectors each and one factor they fill the registers; without a fused multiply-add, products take some
/// too. More would be spilled to memory.
pub const MR: usize = if cfg!(target_arch = "aarch64") {
    8
} else if cfg!(all(target_arch = "wasm32", not(target_feature = "relaxed-simd"))) {
    4
} else {
    6
};

/// `out = relu(left · right + bias + added)`.
pub struct Gemm<'a> {
    /// `[rows][depth]`, rows rounded up to whole tiles; the excess is ignored.
    pub left: &'a [f32],
    /// `[depth][columns]`.
    pub right: &'a PackedWeights,
    /// `[columns]`, padded to whole panels.
    pub bias: &'a [f32],
    /// `[rows][columns]`.
    pub added: Option<&'a [f32]>,
    /// Whether negative results become zero.
    pub relu: bool,
    /// `[rows][all]`, of which this writes `columns`.
    pub out: &'a mut [f32],
    /// The first column that it writes, and the number of all.
    pub place: [usize; 2],
    /// Room for a panel.
    pub room: &'a mut Buffer,
}

impl SimdOp for Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let Self { left, right, bias, added, relu, out, place: [start, all], room } = self;
        let PackedWeights { depth, columns, width, ref scales, .. } = *right;
        let rows = out.len() / all;
        assert!(left.len() >= rows.next_multiple_of(MR) * depth && bias.len() >= right.count() * width);
        assert!(
            added.is_none_or(|added| added.len() == rows * columns)
                && start + columns <= all
                && width == NR * isa.f32().len()
        );
        for index in 0..right.count() {
            let panel = right.panel(isa, index, room);
            let first = index * width;
            let (scales, bias) = (&scales[first..], &bias[first..]);
            let tile = Tile { panel, scales, bias, relu, columns, first, start, all };
            for row in (0..rows).step_by(MR) {
                let added = added.map(|added| &added[row * columns..]);
                tile.eval(isa, &left[row * depth..], depth, added, &mut out[row * all..]);
            }
        }
    }
}

/// Operands shared by the tiles of one panel.
struct Tile<'a> {
    panel: &'a [f32],
    scales: &'a [f32],
    bias: &'a [f32],
    relu: bool,
    columns: usize,
    /// The panel's first column.
    first: usize,
    /// The first column of the product in the result, and the number of all there.
    start: usize,
    all: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, left: &[f32], depth: usize, added: Option<&[f32]>, out: &mut [f32]) {
        let ops = isa.f32();
        let lanes = ops.len();
        let mut sums = [[ops.zero(); NR]; MR];
        assert!(left.len() >= MR * depth && self.panel.len() == depth * NR * lanes);
        for k in 0..depth {
            let mut factors = [ops.zero(); NR];
            for (v, factor) in factors.iter_mut().enumerate() {
                // SAFETY: the assertion has the lengths.
                *factor = unsafe { ops.load_ptr(self.panel.as_ptr().add((k * NR + v) * lanes)) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as before.
                let value = ops.splat(unsafe { *left.get_unchecked(row * depth + k) });
                for (sum, factor) in sums.iter_mut().zip(factors) {
                    *sum = ops.mul_add(value, factor, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().take(out.len() / self.all).enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                let column = self.first + v * lanes;
                let valid = lanes.min(self.columns.saturating_sub(column));
                if valid == 0 {
                    continue;
                }
                let at = row * self.all + self.start + column;
                let (scale, bias) = (ops.load(&self.scales[v * lanes..]), ops.load(&self.bias[v * lanes..]));
                let mut value = ops.mul_add(sum, scale, bias);
                if let Some(added) = added {
                    let at = row * self.columns + column;
                    value = ops.add(value, ops.load_pad(&added[at..at + valid]).0);
                }
                if self.relu {
                    value = rectify(isa, value);
                }
                if valid == lanes {
                    ops.store(value, &mut out[at..]);
                } else {
                    // SAFETY: the mask ends where the row does.
                    unsafe { ops.store_ptr_mask(value, out[at..at + valid].as_mut_ptr(), ops.first_n_mask(valid)) };
                }
            }
        }
    }
}
