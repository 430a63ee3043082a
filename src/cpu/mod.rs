//! The network without a GPU, by the vector instructions of the CPU: the same plan and folded weights.
//!
//! Weights stay in the dtype they come in and are brought to f32 a panel at a time, activations are f32. A separable
//! convolution's depthwise half, a convolution's windows, and what a shortcut's pooling adds are made for some pixels at a
//! time, and used by the product while they are in the cache.
//!
//! Loops over vectors have no closures: one that is not inlined is compiled without its caller's instructions, which made a photo
//! take twice as long when something elsewhere changed what the compiler inlines.

mod buffer;
mod gemm;
mod im2col;
mod run;
mod threads;
mod weights;

pub use run::Runner;
pub use threads::{MAX_THREADS, ThreadTeam};
pub use weights::Weights;

use std::sync::Arc;

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::network::Network;
use crate::plan::{Pass, Plan};
use crate::prediction::{Prediction, rank};
use crate::resize::{Fit, Resizer, Rgba};
use crate::tile::Tuning;
use crate::weights::safetensors::{Header, Meta};
use crate::weights::stream_decoder::StreamDecoder;

/// A model whose weights are on their way.
#[derive(Debug)]
pub struct Loader {
    meta: Meta,
    network: Network,
    storage: Dtype,
    weights: Vec<Weights>,
    decoder: StreamDecoder,
}

/// A model on the CPU.
pub struct Classifier {
    meta: Meta,
    network: Network,
    storage: Dtype,
    explanation: Explanation,
    runner: Runner,
    /// The photo that was uploaded last, resized: levels from 0 to 255, `[height][width][3]`.
    levels: Vec<f32>,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl Loader {
    /// Makes room for a model's weights, from the head of its file; they stay as they are in the file where `dtype` does not say
    /// otherwise.
    ///
    /// # Errors
    /// [`Error::Argument`] where they are to be i8 and are not.
    pub fn new(header: Header, dtype: Option<Dtype>) -> Result<Self> {
        let storage = dtype.unwrap_or(header.dtype);
        if storage == Dtype::I8 && header.dtype != Dtype::I8 {
            return Err(Error::Argument(format!("weights of {} become i8 by `xception convert`", header.dtype)));
        }
        let weights = header.network.tensors().iter().map(|tensor| Weights::new(tensor, storage)).collect();
        let decoder = StreamDecoder::new(&header, storage);
        Ok(Self { meta: header.meta, network: header.network, storage, weights, decoder })
    }

    /// Takes the next bytes of the file behind the header, in pieces of any size.
    ///
    /// # Errors
    /// As [`StreamDecoder::push`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.decoder.push(bytes, |tensor, offset, values| self.weights[tensor].write(offset, values))
    }

    /// The model, once the whole file has come.
    ///
    /// # Errors
    /// [`Error::Weights`] where bytes are missing.
    pub fn finish(self) -> Result<Classifier> {
        let Self { meta, network, storage, mut weights, decoder } = self;
        decoder.finish()?;
        if storage == Dtype::I8 {
            for (weights, scales) in weights.iter_mut().zip(decoder.scales()) {
                weights.scale(scales);
            }
        }
        let explanation = Explanation::new(&Plan::new(&network, Dtype::F32, &Tuning::untuned(false), 1));
        #[cfg_attr(target_arch = "wasm32", expect(unused_mut, reason = "threads come from JavaScript"))]
        let mut runner = Runner::new(explanation.plan.clone(), weights.into());
        #[cfg(not(target_arch = "wasm32"))]
        runner.join(ThreadTeam::global(), MAX_THREADS);
        let levels = vec![0.0; 3 * meta.input_size[0] * meta.input_size[1]];
        Ok(Classifier { meta, network, storage, explanation, runner, levels })
    }
}

impl Classifier {
    /// Loads a file of the project's own format that is in memory.
    ///
    /// # Errors
    /// As [`Header::parse`], [`Loader::new`] and [`Loader::push`].
    pub fn load(file: &[u8], dtype: Option<Dtype>) -> Result<Self> {
        let header = Header::parse(file)?;
        let data = &file[header.data_start..];
        let mut loader = Loader::new(header, dtype)?;
        loader.push(data)?;
        loader.finish()
    }

    /// What the model is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The network that is computed.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What runs for a photo.
    pub fn passes(&self) -> &[Pass] {
        &self.runner.plan.passes[..self.explanation.first]
    }

    /// How weights are stored.
    pub fn storage(&self) -> Dtype {
        self.storage
    }

    /// The vector instructions that compute, and how many threads: `AVX-512, 2 threads`.
    pub fn name(&self) -> String {
        let instructions = match weights::lanes() {
            16 => "AVX-512",
            8 => "AVX2",
            _ if cfg!(target_arch = "aarch64") => "NEON",
            _ if cfg!(target_feature = "relaxed-simd") => "relaxed SIMD",
            _ if cfg!(target_arch = "wasm32") => "SIMD",
            _ => "SSE2",
        };
        let threads = self.runner.threads();
        format!("{instructions}, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }

    /// Computes with up to `threads` threads of a team, the caller's included; else natively with a thread for each core.
    pub fn join(&mut self, team: Arc<ThreadTeam>, threads: usize) {
        self.runner.join(team, threads);
    }

    /// Bytes of weights and activations.
    pub fn bytes(&self) -> u64 {
        self.runner.bytes()
    }

    /// What makes the network's input of a photo of some width and height, fitted as `fit` says or else the model.
    pub fn resizer(&self, size: [usize; 2], fit: Option<Fit>) -> Resizer {
        Resizer::new(self.meta.preprocessing.fitted(fit), size, self.meta.input_size)
    }

    /// Takes a photo, which is resized.
    pub fn upload(&mut self, photo: &Rgba, fit: Option<Fit>) {
        let mut resizer = self.resizer([photo.width(), photo.height()], fit);
        resizer.push(photo.data());
        self.levels = resizer.finish();
    }

    /// Takes 8-bit RGB pixels of the network's input size: `[height][width][3]`.
    ///
    /// # Errors
    /// [`Error::Argument`] where they are not as many.
    pub fn upload_pixels(&mut self, pixels: &[u8]) -> Result<()> {
        self.upload_levels(pixels.iter().map(|&level| level.into()).collect())
    }

    /// Takes a photo that a [`Resizer`] made: levels from 0 to 255, `[height][width][3]`.
    ///
    /// # Errors
    /// [`Error::Argument`] where they are not as many.
    pub fn upload_levels(&mut self, levels: Vec<f32>) -> Result<()> {
        if levels.len() != self.levels.len() {
            return Err(Error::Argument(format!("the input has {} values, not {}", self.levels.len(), levels.len())));
        }
        self.levels = levels;
        Ok(())
    }

    /// What the network sees of that photo: `[height][width][4]`, the fourth channel zero.
    pub fn input(&mut self) -> Vec<f32> {
        self.run(0);
        let [height, width] = self.meta.input_size;
        self.runner.slot(self.explanation.plan.image)[..4 * height * width].to_vec()
    }

    /// Runs the network on that photo, up to the pass of this number.
    fn run(&mut self, end: usize) {
        // Later passes write where the image was.
        let image = self.runner.slot_mut(self.explanation.plan.image);
        self.meta.preprocessing.normalise(&self.levels, image);
        self.runner.run(0..end);
    }

    /// Runs the network on the photo that was uploaded last: its `top` most likely classes, in order.
    ///
    /// # Errors
    /// [`Error::Argument`] where `top` is 0, [`Error::BadOutput`] where a result is not a number.
    pub fn classify(&mut self, top: usize) -> Result<Vec<Prediction>> {
        if top == 0 {
            return Err(Error::Argument("top must be at least 1".to_owned()));
        }
        let logits = self.logits();
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f32 = powers.iter().sum();
        rank(&self.meta, logits.len(), powers.into_iter().map(|power| power / sum).enumerate().collect(), top)
    }

    /// The same for each photo.
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn classify_batch(&mut self, photos: &[Rgba], top: usize) -> Result<Vec<Vec<Prediction>>> {
        let one = |photo| {
            self.upload(photo, None);
            self.classify(top)
        };
        photos.iter().map(one).collect()
    }

    /// Runs the network on the photo that was uploaded last: its logits, one per class.
    pub fn logits(&mut self) -> Vec<f32> {
        self.run(self.explanation.first);
        self.runner.slot(self.explanation.plan.logits)[..self.explanation.plan.classes].to_vec()
    }

    /// Runs the network up to its mean on the photo that was uploaded last: its embedding, [`FEATURES`](crate::network::FEATURES)
    /// values by which photos of the same kind are near one another.
    pub fn embed(&mut self) -> Vec<f32> {
        self.run(self.explanation.plan.embedding_pass() + 1);
        self.runner.slot(self.explanation.plan.embedding).to_vec()
    }

    /// Explains a class of the photo that [`Self::classify`] or [`Self::logits`] answered last: as [`crate::explain`] has it, what
    /// each pixel of the network's last activation contributes to the class's logit, `[height][width]` of [`Network::features`].
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such class.
    pub fn explain(&mut self, class: usize) -> Result<Vec<f32>> {
        let Explanation { ref plan, first, gradient, map } = self.explanation;
        if class >= plan.classes {
            return Err(Error::Argument(format!("there is no class {class}: the model has {}", plan.classes)));
        }
        let slot = self.runner.slot_mut(gradient);
        slot.fill(0.0);
        slot[class] = 1.0;
        self.runner.run(first..plan.passes.len());
        Ok(self.runner.slot(map).to_vec())
    }

    /// Runs the network up to a layer on the photo that was uploaded last: `[height][width][channels]`, after its batch norm, what is
    /// added to it (a block's last layer has the whole block's result) and its ReLU, if that comes after it.
    ///
    /// # Errors
    /// [`Error::Argument`] where no layer has that name.
    pub fn activations(&mut self, layer: &str) -> Result<Vec<f32>> {
        let (pass, shape) = self.explanation.plan.pass_of(&self.network, layer)?;
        self.run(pass + 1);
        Ok(self.runner.slot(self.explanation.plan.passes[pass].writes)[..shape.len()].to_vec())
    }
}
