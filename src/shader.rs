//! The shaders as data: WGSL source, how it stores values, and what pipelines are made of. Nothing here needs a GPU.
//!
//! Every kernel reads and writes storage buffers (a resize of a photo a texture) bound in the order its operation lists
//! them, the result last. Sizes reach the shader as pipeline-overridable constants without defaults, so that a
//! forgotten one fails when the pipeline is made; a kernel for software adapters reads most of them from a buffer, because pipelines take
//! long there, and layers of other sizes share one.
//!
//! A kernel is a file of `shaders/` behind the files of `shaders/shared/` that it includes. build.rs finds these;
//! [`Kernel::source`] puts the text together.

/// A file of WGSL, whole.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// Its path in `shaders/`.
    file: &'static str,
    source: &'static str,
}

/// A shader module with one entry point, `main`.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The file's name in `shaders/`, without the ending.
    pub name: &'static str,
    /// How many buffers it reads, bound in order; the result follows.
    pub reads: usize,
    /// Whether what it reads first is a texture.
    pub reads_texture: bool,
    /// Those of an operation's constants that it reads from a buffer, the last one before the result; the others are the pipeline's.
    pub numbers: &'static [&'static str],
    /// Whether a [`Precision`] changes it.
    stored: bool,
    /// The files it is assembled from, its own last.
    parts: &'static [&'static Part],
}

/// How a shader's values are stored in buffers, and computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Both as f32.
    Single,
    /// Stored as f16, computed as f32.
    Stored,
    /// Both as f16, but for sums. The device must have `shader-f16`.
    Half,
}

impl Kernel {
    fn parts(&self, precision: Precision) -> impl Iterator<Item = &'static Part> {
        let storage = match precision {
            Precision::Single => &SHARED_STORAGE_F32_PART,
            Precision::Stored => &SHARED_STORAGE_F16_PART,
            Precision::Half => &SHARED_STORAGE_F16_OPERANDS_PART,
        };
        self.stored.then_some(storage).into_iter().chain(self.parts.iter().copied())
    }

    /// The module with some precision: valid WGSL by itself.
    pub fn source(&self, precision: Precision) -> String {
        self.parts(precision).map(|part| part.source).collect()
    }

    /// An operation's constants as this kernel takes them: those of its pipeline, and its numbers.
    pub fn split(&self, constants: Constants) -> (Constants, Vec<u32>) {
        let (numbers, constants): (Constants, _) =
            constants.into_iter().partition(|(name, _)| self.numbers.contains(name));
        let number = |&wanted| numbers.iter().find(|(name, _)| *name == wanted).map_or(0, |&(_, value)| value as u32);
        (constants, self.numbers.iter().map(number).collect())
    }

    /// The file of `shaders/` that a line of [`Self::source`] comes from, and the line there; both count from 1.
    pub fn locate(&self, precision: Precision, mut line: usize) -> Option<(&'static str, usize)> {
        for part in self.parts(precision) {
            let lines = part.source.lines().count();
            if (1..=lines).contains(&line) {
                return Some((part.file, line));
            }
            line = line.checked_sub(lines)?;
        }
        None
    }
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Constants of a pipeline, by name.
pub type Constants = Vec<(&'static str, f64)>;

/// All that a pipeline is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineDescriptor {
    /// The first pass that needs it.
    pub label: String,
    /// Its shader.
    pub kernel: &'static Kernel,
    /// How values are stored and computed with.
    pub precision: Precision,
    /// The shader's constants.
    pub constants: Constants,
}

impl PipelineDescriptor {
    /// The shader's source.
    pub fn source(&self) -> String {
        self.kernel.source(self.precision)
    }
}
