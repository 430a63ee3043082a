//! Weights in, photo in, classes out.

use std::ops::RangeBounds;

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Preprocessor, Runner};
use crate::plan::Plan;
use crate::resize::{Rgba, resize};
use crate::weights::safetensors::{Header, Meta};
use crate::weights::splitter::Splitter;

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// The class's number, from 0.
    pub index: usize,
    /// Its name; `class 7` where the model has no labels.
    pub label: String,
    /// Its WordNet number, where it is a class of ImageNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wnid: Option<String>,
    /// Its probability, 0 to 1.
    pub score: f32,
}

/// A model on a GPU.
pub struct Classifier {
    gpu: Gpu,
    meta: Meta,
    plan: Plan,
    runner: Runner,
    preprocessor: Preprocessor,
    /// Whether the photo at hand was resized on the CPU, and its pixels are in the input slot already.
    resized: bool,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// A model whose weights are on their way to the GPU.
#[derive(Debug)]
pub struct Loader {
    classifier: Classifier,
    splitter: Splitter,
}

impl Loader {
    /// Makes everything that a model needs on the GPU, from the head of its file. Weights and activations will be stored
    /// as `storage`, f32 or f16; by default as [`Gpu::storage`] advises.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::OutOfMemory`] where the GPU cannot hold the model.
    pub async fn new(gpu: &Gpu, header: Header, storage: Option<Dtype>) -> Result<Self> {
        let storage = storage.unwrap_or_else(|| gpu.storage());
        if storage == Dtype::I8 {
            return Err(Error::Argument("i8 is for files, the GPU stores f32 or f16".to_owned()));
        }
        let plan = Plan::new(&header.network, storage);
        let runner = Runner::new(gpu, &plan).await?;
        let image = runner.slot(plan.image);
        let preprocessor =
            Preprocessor::new(gpu, header.meta.preprocessing, header.meta.input_size, image, storage).await?;
        let splitter = Splitter::new(&header, storage);
        let (gpu, meta) = (gpu.clone(), header.meta);
        Ok(Self { classifier: Classifier { gpu, meta, plan, runner, preprocessor, resized: false }, splitter })
    }

    /// Takes the next bytes of the file behind the header, in pieces of any size.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let runner = &self.classifier.runner;
        self.splitter.push(bytes, |tensor, offset, values| runner.write_tensor(tensor, offset, values))
    }

    /// The model, once the whole file has come.
    ///
    /// # Errors
    /// [`Error::Weights`] where bytes are missing, [`Error::Gpu`] where the device failed.
    pub fn finish(self) -> Result<Classifier> {
        self.splitter.finish()?;
        self.classifier.gpu.check()?;
        Ok(self.classifier)
    }
}

impl Classifier {
    /// Loads a file of the project's own format that is in memory, stored as for [`Loader::new`].
    ///
    /// # Errors
    /// As [`Header::parse`], [`Loader::new`] and [`Loader::push`].
    pub async fn load(gpu: &Gpu, file: &[u8], storage: Option<Dtype>) -> Result<Self> {
        let header = Header::parse(file)?;
        let data = &file[header.data_start..];
        let mut loader = Loader::new(gpu, header, storage).await?;
        loader.push(data)?;
        loader.finish()
    }

    /// What the model is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The GPU it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What runs for a photo.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan on the GPU.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Readies the GPU for a photo of this size; its pixels go into the returned texture.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where the photo is beyond the GPU's limits.
    pub async fn prepare(&mut self, width: u32, height: u32) -> Result<&wgpu::Texture> {
        self.gpu.check()?;
        self.resized = false;
        self.preprocessor.prepare(width, height, self.runner.slot(self.plan.image)).await?;
        Ok(self.preprocessor.texture())
    }

    /// Brings a photo to the GPU, which will resize it; one too large for that is resized here.
    ///
    /// # Errors
    /// [`Error::Gpu`] where the device failed.
    pub async fn upload(&mut self, photo: &Rgba) -> Result<()> {
        let max = self.gpu.max_photo_side() as usize;
        if photo.width() > max || photo.height() > max {
            let pixels = resize(photo, self.meta.preprocessing, self.meta.input_size);
            self.upload_pixels(&pixels);
            return Ok(());
        }
        self.prepare(photo.width() as u32, photo.height() as u32).await?;
        self.preprocessor.upload(photo);
        Ok(())
    }

    /// Brings 8-bit RGB pixels of the network's input size to the GPU: `[height][width][3]`.
    pub fn upload_pixels(&mut self, pixels: &[u8]) {
        let preprocessing = self.meta.preprocessing;
        let normalise = |value: &u8| f32::from(*value) * preprocessing.scale + preprocessing.offset;
        let values: Vec<f32> = pixels
            .chunks_exact(3)
            .flat_map(|rgb| [normalise(&rgb[0]), normalise(&rgb[1]), normalise(&rgb[2]), 0.0])
            .collect();
        self.runner.write_slot(self.plan.image, &values);
        self.resized = true;
    }

    /// Runs the network on the photo that was uploaded last: its `top` most likely classes, in order.
    ///
    /// # Errors
    /// [`Error::Argument`] where `top` is 0, [`Error::Gpu`] where the device failed or the result is not a number.
    pub async fn classify(&mut self, top: usize) -> Result<Vec<Prediction>> {
        if top == 0 {
            return Err(Error::Argument("top must be at least 1".to_owned()));
        }
        let (classes, ranked) = (self.plan.classes, self.plan.top);
        // Indices and probabilities of the ranked classes, or all probabilities behind them too.
        let words = if top <= ranked { 2 * ranked } else { 2 * ranked + classes };
        let answer = self.run(.., self.plan.answer, words).await?;
        let mut best: Vec<(usize, f32)> = if top <= ranked {
            (0..top).map(|rank| (answer[rank].to_bits() as usize, answer[ranked + rank])).collect()
        } else {
            answer[2 * ranked..].iter().copied().enumerate().collect()
        };
        if best.iter().any(|(index, score)| *index >= classes || !score.is_finite()) {
            return Err(Error::Gpu(
                "the network's output is not a number: the weights are damaged, or too large for f32".to_owned(),
            ));
        }
        best.sort_by(|a, b| b.1.total_cmp(&a.1));
        best.truncate(top);
        let wnid = |index| self.meta.wnid(index).map(str::to_owned);
        let prediction = |(index, score)| Prediction { index, label: self.meta.label(index), wnid: wnid(index), score };
        Ok(best.into_iter().map(prediction).collect())
    }

    /// Runs the network on the photo that was uploaded last: its logits, one per class.
    ///
    /// # Errors
    /// [`Error::Gpu`] where the device failed.
    pub async fn logits(&mut self) -> Result<Vec<f32>> {
        self.run(.., self.plan.logits, self.plan.classes).await
    }

    /// What the network sees of the photo that was uploaded last: `[height][width][4]`, the fourth channel zero.
    ///
    /// # Errors
    /// [`Error::Gpu`] where the device failed.
    pub async fn input(&mut self) -> Result<Vec<f32>> {
        let [height, width] = self.meta.input_size;
        self.run(..0, self.plan.image, 4 * height * width).await
    }

    async fn run(&self, passes: impl RangeBounds<usize>, slot: usize, len: usize) -> Result<Vec<f32>> {
        let before = |pass: &mut wgpu::ComputePass| {
            if !self.resized {
                self.preprocessor.encode(pass);
            }
        };
        self.runner.run(before, passes, slot, len).await
    }
}
