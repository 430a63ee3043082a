//! The best known tiles of each kind of GPU, without measurements.

use super::{Algorithm, Tile};
use crate::network::layer::Layer;

/// Names of GPUs whose invocations have 128 registers and more while enough of them run, in lower case.
const MANY_REGISTERS: [&str; 7] = ["nvidia", "geforce", "quadro", "nvk", "amd", "radeon", "radv"];

/// A kind of GPU. The bounds that docs/performance.md tells are the evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GpuKind {
    /// Intel's, Apple's, those of phones, and unknown ones: tiles of 8×8 would leave few subgroups at once, or spill.
    #[default]
    FewRegisters,
    /// NVIDIA's and AMD's.
    ManyRegisters,
    /// Software adapters, where workgroup memory and barriers are slow.
    Software,
}

impl GpuKind {
    /// The kind of a GPU by its name, or by its vendor and architecture.
    pub fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let has_many = MANY_REGISTERS.iter().any(|vendor| name.contains(vendor));
        if has_many { Self::ManyRegisters } else { Self::FewRegisters }
    }

    /// Whether a tile may be worth a measurement.
    pub(super) fn takes(self, tile: Tile) -> bool {
        self != Self::FewRegisters || tile.tile_m * tile.tile_n <= 4
    }

    /// How a layer is computed for `batch` images. Tiles are wide, because each column of workgroups computes the depthwise convolution
    /// again, but no wider than the result; and low for few pixels, to give each core something to do.
    pub(super) fn guess(self, layer: &Layer, batch: usize) -> Algorithm {
        let tile = match (self, layer.output.pixels() * batch, layer.output.channels) {
            (Self::Software, ..) => return Algorithm::Direct,
            (Self::ManyRegisters, 4000.., 65..) => Tile::new([16, 8], 8, 2, 1),
            (Self::ManyRegisters, 4000.., 33..) => Tile::new([8, 8], 8, 2, 1),
            (_, _, ..=32) => Tile::new([8, 16], 4, 1, 1),
            (_, _, ..=64) => Tile::new([16, 16], 4, 1, 1),
            (_, ..200, _) => Tile::new([32, 4], 4, 1, 1),
            _ => Tile::new([32, 8], 4, 1, 1),
        };
        if layer.can_be_fused() { Algorithm::Fused(tile) } else { Algorithm::Tiled(tile) }
    }
}
