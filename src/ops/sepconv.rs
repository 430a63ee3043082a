//! Separable convolution in one pass: a depthwise 3×3 convolution and the product over its channels.
//!
//! `output[m, n] = r(bias[n] + Σ_k column[m, k] · weight[k, n] + a[m, n])`, `column` as [`Depthwise`] has it

use super::buffer::{at, for_each};
use super::product::{Product, tiling, work};
use super::{Add, Buffer, Depthwise, Operation, Role, Work};
use crate::network::layer::{Shape, Window};
use crate::shader::{self, Constants, Kernel};
use crate::tile::{TILES, Tile};

/// Depthwise and pointwise at once: reads input, weight `[in, out]`, bias `[out]`, what is added (the input again where nothing is), and
/// the depthwise weight `[3, 3, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sepconv {
    /// Shape read.
    pub input: Shape,
    /// Shape written.
    pub output: Shape,
    /// Whether negative inputs are taken as zero.
    pub relu_before: bool,
    /// The residual; never [`Add::MaxPool`].
    pub add: Add,
    /// Whether negative results become zero.
    pub relu_after: bool,
    /// How workgroup memory is used.
    pub tile: Tile,
}

impl Sepconv {
    fn product(&self) -> Product {
        let Self { input, output, add, relu_after, .. } = *self;
        Product { input, output, window: Window::valid(1, 1), add, relu_after, slice: None }
    }

    fn depthwise(&self) -> Depthwise {
        Depthwise { shape: self.input, relu_before: self.relu_before, rows: 1 }
    }
}

impl Operation for Sepconv {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        &shader::SEPCONV
    }

    fn reads(&self) -> Vec<Buffer> {
        let weights = Buffer::weights(&[self.input.channels, self.output.channels], Role::Matrix(1));
        let mut reads = self.product().reads(weights);
        reads.push(Buffer::weights(&[3, 3, self.input.channels], Role::Filter));
        reads
    }

    fn output(&self) -> Buffer {
        Buffer::activation(self.output)
    }

    fn constants(&self, batch: usize) -> Constants {
        let mut constants = self.product().constants(batch);
        constants.extend(tiling(self.tile, self.input.channels, Some(self.relu_before)));
        constants
    }

    fn work(&self, images: usize) -> Work {
        work(Some(self.tile), self.output, images)
    }

    fn macs(&self) -> u64 {
        self.depthwise().macs() + self.product().macs()
    }

    fn values_read(&self) -> usize {
        self.input.len() + self.product().added()
    }

    fn f16_operands(&self) -> bool {
        self.tile.f16
    }

    fn color(&self) -> &'static str {
        "primary"
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let (input, to) = (self.input, self.output.channels);
        let mut columns = vec![0.0; input.stored()];
        self.depthwise().reference(&[reads[0], reads[4]], &mut columns);
        for_each(self.output, |y, x, n| {
            let products = (0..input.channels).map(|k| columns[at(input, y, x, k)] * reads[1][k * to + n]);
            out[at(self.output, y, x, n)] = self.product().epilogue(reads, [y, x, n], products.sum());
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-4, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        let mut case = |[height, width]: [usize; 2], [from, to]: [usize; 2], i: usize, tile| {
            let (input, output) = (Shape::new(height, width, from), Shape::new(height, width, to));
            let (add, relu_before) = if i.is_multiple_of(2) { (Add::Residual, true) } else { (Add::Nothing, false) };
            cases.push(Self { input, output, relu_before, add, relu_after: i.is_multiple_of(3), tile });
        };
        // Every tile, some on fewer pixels and channels than it has, some on more.
        let shapes = [([5, 7], [56, 136]), ([12, 13], [16, 728]), ([1, 1], [16, 8]), ([1, 5], [32, 48])];
        for (i, tile) in TILES.into_iter().enumerate() {
            let (size, channels) = shapes[i % 4];
            case(size, channels, i, tile);
        }
        case([19, 19], [36, 728], 1, TILES[0]);
        case([13, 37], [728, 44], 0, TILES[0]);
        cases.push(Self { add: Add::Scaled, ..cases[0] });
        cases
    }
}
