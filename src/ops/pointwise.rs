//! 1×1 convolution as a matrix product over pixels (m), input channels (k) and output channels (n).
//!
//! `output[m, n] = r(bias[n] + Σ_k input[source(m), k] · weight[k, n] + a[m, n])`, r = ReLU or identity, a what is added

use super::buffer::{at, for_each};
use super::product::{Product, tiling, work};
use super::{Add, Buffer, Operation, Role, Slice, Work};
use crate::network::layer::{Shape, Window};
use crate::shader::{self, Constants, Kernel};
use crate::tile::{TILES, Tile};

/// 1×1 convolution: reads input, weight `[in, out]`, bias `[out]`, and what is added (the input again where nothing is); by tiles the
/// weight once more, where [`Sepconv`](super::Sepconv) has its filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointwise {
    /// Shape read.
    pub input: Shape,
    /// Shape written.
    pub output: Shape,
    /// Pixels between those that are read.
    pub stride: usize,
    /// The residual.
    pub add: Add,
    /// Whether negative results become zero.
    pub relu_after: bool,
    /// The channels of what it writes, where these are a part; nothing is added then.
    pub slice: Option<Slice>,
    /// The tile in workgroup memory; none for the kernel without workgroup memory.
    pub tile: Option<Tile>,
}

impl Pointwise {
    fn product(&self) -> Product {
        let Self { input, output, stride, add, relu_after, slice, .. } = *self;
        Product { input, output, window: Window::valid(1, stride), add, relu_after, slice }
    }

    fn weights(&self) -> Buffer {
        Buffer::weights(&[self.input.channels, self.output.channels], Role::Matrix(1))
    }
}

impl Operation for Pointwise {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        if self.tile.is_some() { &shader::SEPCONV } else { &shader::CONV }
    }

    fn reads(&self) -> Vec<Buffer> {
        let mut reads = self.product().reads(self.weights());
        reads.extend(self.tile.map(|_| self.weights()));
        reads
    }

    fn output(&self) -> Buffer {
        Buffer::result(self.output, self.slice)
    }

    fn constants(&self, batch: usize) -> Constants {
        let mut constants = self.product().constants(batch);
        if let Some(tile) = self.tile {
            constants.extend(tiling(tile, self.input.channels, None));
        }
        constants
    }

    fn work(&self, images: usize) -> Work {
        work(self.tile, self.output, images)
    }

    fn macs(&self) -> u64 {
        self.product().macs()
    }

    fn values_read(&self) -> usize {
        self.output.pixels() * self.input.channels + self.product().added()
    }

    fn f16_operands(&self) -> bool {
        self.tile.is_some_and(|tile| tile.f16)
    }

    fn color(&self) -> &'static str {
        "primary"
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Self { input, output, stride, .. } = *self;
        for_each(output, |y, x, n| {
            let from = at(input, y * stride, x * stride, 0);
            let products = (0..input.channels).map(|k| reads[0][from + k] * reads[1][k * output.channels + n]);
            out[Slice::at(self.slice, output, [y, x, n])] = self.product().epilogue(reads, [y, x, n], products.sum());
        });
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-4, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        let mut case = |[height, width]: [usize; 2], [from, to]: [usize; 2], stride, add, relu_after, tile| {
            let input = Shape::new(height, width, from);
            let output = Shape::new(height.div_ceil(stride), width.div_ceil(stride), to);
            cases.push(Self { input, output, stride, add, relu_after, slice: None, tile });
        };
        let keras = |size: [usize; 2]| Add::MaxPool { padding: size.map(|side| side % 2) };
        let timm = Add::MaxPool { padding: [1, 1] };
        // Every size and every number of channels meets every variant.
        let variants =
            [(Add::Nothing, false, 1), (Add::Residual, true, 1), (Add::Nothing, true, 2), (Add::Residual, false, 1)];
        for (i, size) in [[1, 1], [2, 5], [5, 3], [19, 7]].into_iter().enumerate() {
            for (j, channels) in [[4, 8], [8, 64], [32, 728], [728, 72]].into_iter().enumerate() {
                let (add, relu_after, stride) = variants[(i + j) % 4];
                case(size, channels, stride, add, relu_after, None);
            }
        }
        case([19, 19], [728, 728], 1, Add::Residual, false, None);
        case([5, 5], [1536, 2048], 1, Add::Nothing, true, None);
        case([5, 3], [32, 72], 1, Add::Scaled, true, None);
        case([5, 7], [56, 136], 1, Add::Scaled, true, Some(TILES[0]));
        for size in [[1, 1], [1, 2], [2, 3], [2, 4], [5, 1], [5, 37], [18, 2], [18, 3], [18, 37]] {
            case(size, [4, 16], 2, keras(size), false, None);
            case(size, [4, 16], 2, timm, true, None);
        }
        case([5, 18], [64, 728], 2, keras([5, 18]), false, None);
        // Every tile, some on fewer pixels and channels than it has, some on more.
        let shapes = [([5, 7], [56, 136]), ([12, 13], [16, 728]), ([1, 1], [4, 16])];
        for (i, tile) in TILES.into_iter().enumerate() {
            let (size, channels) = shapes[i % 3];
            let adds = [(Add::Nothing, 1), (Add::Residual, 1), (keras(size), 2), (timm, 2)];
            let (add, stride) = adds[i % 4];
            case(size, channels, stride, add, i % 2 == 0, Some(tile));
        }
        for tile in [None, Some(TILES[0]), Some(TILES[5])] {
            let (input, output) = (Shape::new(5, 7, 56), Shape::new(5, 7, 24));
            let slice = Some(Slice { first: 40, all: 72 });
            cases.push(Self { input, output, stride: 1, add: Add::Nothing, relu_after: true, slice, tile });
        }
        cases
    }
}
