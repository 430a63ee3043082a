//! Measurements of a device, and the order in which algorithms are tried.

use std::fmt;
use std::time::Duration;

use super::{Algorithm, GpuKind, TILES};
use crate::network::Network;
use crate::network::layer::{Layer, Operation, Shape};

/// The algorithm for each product on a device. As text, what was measured is a line each: a [`ProblemSize`], its fastest
/// [`Algorithm`], and where some were not tried yet how long that takes and how many these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// The kind of GPU.
    pub kind: GpuKind,
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
        Some(Self { algorithm, nanos, left })
    }
}

/// The shapes of a convolution: layers of the same shapes take the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemSize {
    input: Shape,
    /// Output channels.
    channels: usize,
    /// Height, width and stride of the windows; none of a separable convolution.
    window: Option<[usize; 3]>,
    /// How many images.
    batch: usize,
}

impl fmt::Display for ProblemSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input: Shape { height, width, channels }, channels: to, window, batch } = self;
        write!(f, "{height}×{width}×{channels} to {to}")?;
        if let Some([height, width, stride]) = window {
            write!(f, " by {height}×{width}/{stride}")?;
        }
        write!(f, ", {batch} at once")
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
        let (height, width, channels, to, window, batch) = match numbers.collect::<Vec<_>>()[..] {
            [height, width, channels, to, batch] => (height, width, channels, to, None, batch),
            [height, width, channels, to, a, b, stride, batch] => {
                (height, width, channels, to, Some([a, b, stride]), batch)
            }
            _ => return None,
        };
        Some(Self { input: Shape::new(height, width, channels), channels: to, window, batch })
    }

    /// The size of a layer for `batch` images; none of what is no convolution. What a depthwise half leaves for a product of its own is
    /// convolution over windows of a pixel.
    pub fn of(layer: &Layer, batch: usize) -> Option<Self> {
        let (input, window) = match layer.operation {
            Operation::SeparableConv(_) if layer.can_be_fused() => (layer.input, None),
            Operation::SeparableConv(_) => (Shape { channels: layer.input.channels, ..layer.output }, Some([1; 3])),
            Operation::Conv(window) => (layer.input, Some([window.kernel[0], window.kernel[1], window.stride[0]])),
            _ => return None,
        };
        Some(Self { input, channels: layer.output.channels, window, batch })
    }
}

impl Tuning {
    /// The best known algorithms, without measurements.
    pub fn untuned(kind: GpuKind) -> Self {
        Self { kind, measured: Vec::new() }
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

    /// The algorithms of f32 that a layer may be computed by, in the order in which they are tried: first what is best known without
    /// measuring, then what is most like it.
    pub fn candidates(&self, layer: &Layer, batch: usize) -> Vec<Algorithm> {
        let guess = self.kind.guess(layer, batch);
        let is_candidate = |algorithm: &Algorithm| match *algorithm {
            Algorithm::Direct => self.kind == GpuKind::Software,
            Algorithm::Fused(_) if !layer.can_be_fused() => false,
            // Half of a tile or more would be idle.
            Algorithm::Tiled(tile) | Algorithm::Fused(tile) => {
                self.kind.takes(tile) && (tile.channels() < 2 * layer.output.channels || tile == TILES[0])
            }
        };
        let mut candidates: Vec<Algorithm> = Algorithm::exact().filter(is_candidate).collect();
        candidates.sort_by_key(|algorithm| algorithm.distance(guess));
        candidates
    }

    /// The measurements of a layer for exactly this many images; by default, that nothing was tried.
    fn trial(&self, layer: &Layer, batch: usize) -> Trial {
        let size = ProblemSize::of(layer, batch);
        let found = self.measured.iter().find(|(other, _)| Some(*other) == size).map(|(_, trial)| *trial);
        found.unwrap_or_else(|| {
            let candidates = self.candidates(layer, batch);
            Trial { algorithm: candidates[0], nanos: u64::MAX, left: candidates.len() }
        })
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
        let candidates = self.candidates(layer, batch);
        let algorithm = *candidates.get(candidates.len().saturating_sub(left))?;
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
        for layer in &network.layers {
            let left = self.candidates(layer, batch).len();
            let size = ProblemSize::of(layer, batch);
            for (_, trial) in self.measured.iter_mut().filter(|(other, _)| Some(*other) == size) {
                (trial.nanos, trial.left) = (u64::MAX, left);
            }
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
        if self.kind == GpuKind::Software { 4 } else { 1 }
    }

    /// How a layer is computed for `batch` images.
    pub fn algorithm(&self, layer: &Layer, batch: usize) -> Algorithm {
        self.get(layer, batch).unwrap_or_else(|| self.kind.guess(layer, batch))
    }
}
