//! How the products are computed on a device: register and workgroup tiles, one pass or two, and what is best known.

use std::fmt;
use std::time::Duration;

use crate::network::Network;
use crate::network::layer::{Layer, Shape};

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

/// Default tiles: large for many pixels, to load values seldom; small with two slices for few, to give a large GPU work for all its
/// cores. They are wide, because each column of workgroups computes the depthwise convolution again, but no wider than the result.
const FOR_FEW_PIXELS: Tile = Tile::new([16, 8], 4, 1, 2);
const FOR_SOME_PIXELS: Tile = Tile::new([32, 8], 4, 1, 1);
const FOR_MANY_PIXELS: Tile = Tile::new([16, 8], 8, 2, 1);
const FOR_FEW_CHANNELS: Tile = Tile::new([8, 8], 4, 1, 1);
const FOR_SOME_CHANNELS: Tile = Tile::new([8, 8], 8, 2, 1);

/// The candidates of the tuner, smallest first. Divisors of 728 channels and of 361 or 100 pixels waste nothing.
pub const TILES: [Tile; 9] = [
    FOR_FEW_CHANNELS,
    Tile::new([8, 8], 4, 1, 4),
    Tile::new([14, 13], 4, 1, 1),
    FOR_FEW_PIXELS,
    FOR_SOME_PIXELS,
    FOR_SOME_CHANNELS,
    Tile::new([16, 8], 8, 1, 1),
    FOR_MANY_PIXELS,
    Tile::new([16, 16], 8, 2, 1),
];

/// The number of algorithms that compute in f32.
const ALGORITHMS: usize = 1 + 2 * TILES.len();

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
}

/// The algorithm for each separable convolution on a device. As text, what was measured is a line each: a [`ProblemSize`], its fastest
/// [`Algorithm`], and where some were not tried yet how long that takes and how many these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Whether this is a software adapter, where workgroup memory and barriers are slow.
    pub software: bool,
    /// The measurements so far.
    measured: Vec<(ProblemSize, Trial)>,
}

/// The state of a size's measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trial {
    /// The fastest algorithm so far.
    algorithm: Algorithm,
    /// How long it takes; only to be compared with what is left.
    nanos: u64,
    /// How many algorithms have not been tried, the last of [`Tuning::candidates`].
    left: usize,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, nanos, left } = self;
        write!(f, "{algorithm}")?;
        if *left > 0 { write!(f, ", {nanos} ns, {left} left") } else { Ok(()) }
    }
}

impl Trial {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(str::trim_start);
        let algorithm = Algorithm::named(parts.next()?)?;
        let (nanos, left) = match (parts.next(), parts.next()) {
            (None, _) => (0, 0),
            (nanos, left) => (nanos?.strip_suffix(" ns")?.parse().ok()?, left?.strip_suffix(" left")?.parse().ok()?),
        };
        Some(Self { algorithm, nanos, left: left.min(ALGORITHMS) })
    }
}

/// The shapes of a separable convolution: layers of the same shapes take the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemSize {
    input: Shape,
    /// Output channels.
    channels: usize,
    /// How many images.
    batch: usize,
}

impl fmt::Display for ProblemSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input: Shape { height, width, channels }, channels: to, batch } = self;
        write!(f, "{height}×{width}×{channels} to {to}, {batch} at once")
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.measured.iter().try_for_each(|(size, trial)| writeln!(f, "{size}: {trial}"))
    }
}

impl ProblemSize {
    fn read(text: &str) -> Option<Self> {
        let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
        let [height, width, channels, to, batch] = numbers.collect::<Vec<_>>().try_into().ok()?;
        Some(Self { input: Shape::new(height, width, channels), channels: to, batch })
    }

    /// The size of a layer for `batch` images; none of other layers, of which there is little to choose.
    pub fn of(layer: &Layer, batch: usize) -> Option<Self> {
        (layer.is_separable() && !layer.has_depthwise_bias()).then_some(Self {
            input: layer.input,
            channels: layer.output.channels,
            batch,
        })
    }
}

impl Tuning {
    /// The best known algorithms, without measurements.
    pub fn untuned(software: bool) -> Self {
        Self { software, measured: Vec::new() }
    }

    /// Takes what was measured, in place of what was measured before: of all algorithms this is the fastest.
    pub fn insert(&mut self, size: ProblemSize, algorithm: Algorithm) {
        self.put(size, Trial { algorithm, nanos: 0, left: 0 });
    }

    fn put(&mut self, size: ProblemSize, trial: Trial) {
        self.measured.retain(|(other, _)| *other != size);
        self.measured.push((size, trial));
    }

    /// Takes what an earlier run measured and left as text; lines that this version cannot read are left out.
    pub fn read(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((size, trial)) = line.split_once(':')
                && let (Some(size), Some(trial)) = (ProblemSize::read(size), Trial::read(trial.trim_start()))
            {
                self.put(size, trial);
            }
        }
    }

    /// Every algorithm of f32, in the order in which a layer's are tried: first what is best known without measuring.
    fn candidates(&self, layer: &Layer, batch: usize) -> impl Iterator<Item = Algorithm> {
        let guess = self.guess(layer, batch);
        [guess].into_iter().chain(Algorithm::exact().rev().filter(move |algorithm| *algorithm != guess))
    }

    /// The measurements of a layer for exactly this many images; by default, that nothing was tried.
    fn trial(&self, layer: &Layer, batch: usize) -> Trial {
        let size = ProblemSize::of(layer, batch);
        let found = self.measured.iter().find(|(other, _)| Some(*other) == size).map(|(_, trial)| *trial);
        found.unwrap_or_else(|| Trial { algorithm: self.guess(layer, batch), nanos: u64::MAX, left: ALGORITHMS })
    }

    /// The next candidate for `batch` images: a layer, an algorithm, and the time that it has to beat. Layers of the same shapes count as
    /// one, and those with the most work altogether come first. None if everything was tried.
    pub fn next<'a>(&self, network: &'a Network, batch: usize) -> Option<(&'a Layer, Algorithm, Duration)> {
        let layers = || network.layers.iter().filter_map(|layer| Some((ProblemSize::of(layer, batch)?, layer)));
        let work = |size: ProblemSize| {
            layers().filter(|(other, _)| *other == size).map(|(_, layer)| layer.macs()).sum::<u64>()
        };
        let unfinished = layers().filter(|(_, layer)| self.trial(layer, batch).left > 0);
        let (_, layer) = unfinished.max_by_key(|(size, _)| work(*size))?;
        let Trial { nanos, left, .. } = self.trial(layer, batch);
        let algorithm = self.candidates(layer, batch).nth(ALGORITHMS.saturating_sub(left))?;
        Some((layer, algorithm, Duration::from_nanos(nanos)))
    }

    /// Notes that the next algorithm of a layer was tried, and what was better than those before, if it was.
    pub fn tried(&mut self, layer: &Layer, batch: usize, better: Option<(Algorithm, Duration)>) {
        let mut trial = self.trial(layer, batch);
        trial.left = trial.left.saturating_sub(1);
        if let Some((algorithm, time)) = better {
            (trial.algorithm, trial.nanos) = (algorithm, time.as_nanos() as u64);
        }
        ProblemSize::of(layer, batch).into_iter().for_each(|size| self.put(size, trial));
    }

    /// Has everything tried again for `batch` images; until that is done, what was measured before holds.
    pub fn restart(&mut self, network: &Network, batch: usize) {
        let sizes: Vec<ProblemSize> = network.layers.iter().filter_map(|layer| ProblemSize::of(layer, batch)).collect();
        for (_, trial) in self.measured.iter_mut().filter(|(size, _)| sizes.contains(size)) {
            (trial.nanos, trial.left) = (u64::MAX, ALGORITHMS);
        }
    }

    /// The fastest algorithm measured for a layer. Several images, as the remainder of a larger batch, fall back to that batch's
    /// algorithm; a single image does not.
    fn get(&self, layer: &Layer, batch: usize) -> Option<Algorithm> {
        let size = ProblemSize::of(layer, batch)?;
        let holds = |other: &ProblemSize| {
            ProblemSize { batch, ..*other } == size && (other.batch == batch || (batch > 1 && other.batch > batch))
        };
        let nearest = self.measured.iter().filter(|(other, _)| holds(other)).min_by_key(|(other, _)| other.batch);
        nearest.map(|(_, trial)| trial.algorithm)
    }

    /// Whether any of a network's layers was measured for `batch` images.
    pub fn knows(&self, network: &Network, batch: usize) -> bool {
        network.layers.iter().any(|layer| self.get(layer, batch).is_some())
    }

    /// Rows that one invocation of `depthwise.wgsl` computes: where loads are slow they share what they read, and a GPU has
    /// more invocations instead.
    pub fn depthwise_rows(&self) -> usize {
        if self.software { 4 } else { 1 }
    }

    /// How a layer is computed for `batch` images.
    pub fn algorithm(&self, layer: &Layer, batch: usize) -> Algorithm {
        self.get(layer, batch).unwrap_or_else(|| self.guess(layer, batch))
    }

    fn guess(&self, layer: &Layer, batch: usize) -> Algorithm {
        let tile = match (layer.output.pixels() * batch, layer.output.channels) {
            (0..1000, _) | (1000..4000, ..=64) => FOR_FEW_PIXELS,
            (1000..4000, _) => FOR_SOME_PIXELS,
            (_, ..=32) => FOR_FEW_CHANNELS,
            (_, ..=64) => FOR_SOME_CHANNELS,
            _ => FOR_MANY_PIXELS,
        };
        if self.software { Algorithm::Direct } else { Algorithm::Fused(tile) }
    }
}
