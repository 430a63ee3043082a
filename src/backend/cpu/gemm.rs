//! The matrix product of some rows and one matrix: registers hold a tile of the sums.

#![allow(unsafe_code, reason = "checks of bounds in the innermost loop take 2 % of a photo in wasm")]

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};

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

/// The most rows that a tile may have.
const MOST: usize = 8;

/// Repeats a block for each row of a tile. The row is a constant, so that no level of optimization keeps the sums in memory: a photo took
/// two to three times as long in wasm when the compiler did not unroll this loop.
macro_rules! each_row {
    ($row:ident => $block:block) => {
        each_row!($row => $block, 0, 1, 2, 3, 4, 5, 6, 7)
    };
    ($row:ident => $block:block, $($number:literal),*) => {
        $({
            const $row: usize = $number;
            if $row < MR $block
        })*
    };
}

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
        const { assert!(NR == 2 && MR <= MOST) };
        let mut sums = [[ops.zero(); NR]; MOST];
        assert!(left.len() >= MR * depth && self.panel.len() == depth * NR * lanes);
        for k in 0..depth {
            // SAFETY: the panel has `NR` vectors of `lanes` values for each `k` below `depth`, as the assertion has it.
            let (first, second) = unsafe {
                let factors = self.panel.as_ptr().add(k * NR * lanes);
                (ops.load_ptr(factors), ops.load_ptr(factors.add(lanes)))
            };
            each_row!(ROW => {
                // SAFETY: `ROW` is below `MR` and `k` below `depth`: `left` has as many values, as the assertion has it.
                let value = ops.splat(unsafe { *left.get_unchecked(ROW * depth + k) });
                sums[ROW][0] = ops.mul_add(value, first, sums[ROW][0]);
                sums[ROW][1] = ops.mul_add(value, second, sums[ROW][1]);
            });
        }
        // The loop over results indexes rows, which needs them in memory.
        let mut results = [[ops.zero(); NR]; MOST];
        each_row!(ROW => {
            results[ROW] = sums[ROW];
        });
        for (row, sums) in results.into_iter().take(out.len() / self.all).enumerate() {
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
                    out[at..at + valid].copy_from_slice(&value.to_array().as_ref()[..valid]);
                }
            }
        }
    }
}
