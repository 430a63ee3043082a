//! How products are computed on a GPU: register and workgroup tiles, one pass or two, and what is best known.

mod defaults;
mod tuning;

use std::fmt;

pub use defaults::GpuKind;
pub use tuning::{ProblemSize, Tuning};

/// Workgroup memory that every WebGPU device grants, in `vec4`s of f32.
const SHARED: usize = 16384 / 16;

/// The tile of a product in `sepconv.wgsl`, whose constants have the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Invocations of a workgroup along channels and along pixels.
    pub group: [usize; 2],
    /// Pixels of an invocation: 4 or 8.
    pub tile_m: usize,
    /// `vec4`s of channels of an invocation: 1 or 2.
    pub tile_n: usize,
    /// Slices of invocations that take turns along the input channels; more than 1 only with a `tile_n` of 1.
    pub split_k: usize,
    /// Whether operands are f16, if they are stored so: four products are added up as f16, then as f32. The device must have
    /// `shader-f16`.
    pub f16: bool,
}

/// Every tile, smallest first. Divisors of 728 channels and of 361 or 100 pixels waste nothing.
pub const TILES: [Tile; 8] = [
    Tile::new([8, 16], 4, 1, 1),
    Tile::new([32, 4], 4, 1, 1),
    Tile::new([16, 8], 4, 1, 2),
    Tile::new([14, 13], 4, 1, 1),
    Tile::new([32, 8], 4, 1, 1),
    Tile::new([16, 16], 4, 1, 1),
    Tile::new([8, 8], 8, 2, 1),
    Tile::new([16, 8], 8, 2, 1),
];

impl Tile {
    const fn new(group: [usize; 2], tile_m: usize, tile_n: usize, split_k: usize) -> Self {
        Self { group, tile_m, tile_n, split_k, f16: false }
    }

    /// Pixels that a workgroup computes.
    pub fn pixels(&self) -> usize {
        self.group[1] * self.tile_m
    }

    /// Channels that a workgroup computes.
    pub fn channels(&self) -> usize {
        self.group[0] * self.tile_n * 4
    }

    /// Invocations along channels of a block of four rows, whose lanes are neighbours: 8, or a whole row where that is no multiple.
    pub fn lanes(&self) -> usize {
        let [group_n, group_m] = self.group;
        if group_n.is_multiple_of(8) && group_m.is_multiple_of(4) { 8 } else { group_n }
    }

    /// The same in f16.
    pub const fn halved(self) -> Self {
        Self { f16: true, ..self }
    }

    /// `vec4`s of input channels in a chunk: the most that divide them and, twice for each slice, fit the memory beside the
    /// sums.
    pub fn step(&self, in_channels: usize) -> usize {
        let fits = |step: &usize| 2 * self.split_k * self.pixels() * step + self.sums() <= SHARED;
        let divides = |step: &usize| (in_channels / 4).is_multiple_of(*step);
        [8, 7, 6, 5, 4, 3, 2].into_iter().find(|step| divides(step) && fits(step)).unwrap_or(1)
    }

    /// `vec4`s of workgroup memory for two chunks for each slice.
    pub fn shared(&self, in_channels: usize) -> usize {
        2 * self.split_k * self.pixels() * self.step(in_channels)
    }

    /// `vec4`s of workgroup memory for the sums of a slice, if there are several.
    pub fn sums(&self) -> usize {
        if self.split_k > 1 { self.group[0] * self.group[1] * self.tile_m } else { 1 }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}/{}x{}", self.pixels(), self.channels(), self.tile_m, 4 * self.tile_n)?;
        if self.split_k > 1 {
            write!(f, "/{}", self.split_k)?;
        }
        if self.f16 { f.write_str(" f16") } else { Ok(()) }
    }
}

/// How a separable convolution is computed, or a shortcut's product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Depthwise in a pass of its own, and a product without workgroup memory.
    Direct,
    /// Depthwise in a pass of its own, and a product by tiles.
    Tiled(Tile),
    /// Depthwise in the pass of the product; a shortcut has no depthwise, and is the same as tiled.
    Fused(Tile),
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Tiled(tile) => write!(f, "tiled {tile}"),
            Self::Fused(tile) => write!(f, "fused {tile}"),
        }
    }
}

impl Algorithm {
    /// The algorithm of this name, if this version has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|algorithm| algorithm.to_string() == name)
    }

    /// Every algorithm there is.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::exact().chain(Self::exact().filter_map(Self::halved))
    }

    /// Those that compute in f32.
    pub fn exact() -> impl DoubleEndedIterator<Item = Self> {
        let tiles = || TILES.into_iter();
        [Self::Direct].into_iter().chain(tiles().map(Self::Tiled)).chain(tiles().map(Self::Fused))
    }

    /// The same in f16, if it can be.
    pub fn halved(self) -> Option<Self> {
        match self {
            Self::Direct => None,
            Self::Tiled(tile) => Some(Self::Tiled(tile.halved())),
            Self::Fused(tile) => Some(Self::Fused(tile.halved())),
        }
    }

    /// How unlike another this is: twofold pixels, channels or register tiles are a step each, and so are two passes in place of one.
    fn distance(self, other: Self) -> u32 {
        let of = |algorithm| match algorithm {
            Self::Direct => None,
            Self::Tiled(tile) => Some((tile, 0)),
            Self::Fused(tile) => Some((tile, 1)),
        };
        let (Some((one, passes)), Some((tile, others))) = (of(self), of(other)) else {
            return u32::from(self != other);
        };
        let sizes =
            |tile: Tile| [tile.pixels(), tile.channels(), tile.tile_m * tile.tile_n, tile.split_k].map(usize::ilog2);
        let steps = sizes(one).into_iter().zip(sizes(tile)).map(|(one, other)| one.abs_diff(other)).sum::<u32>();
        steps + u32::abs_diff(passes, others)
    }
}
