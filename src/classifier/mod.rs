//! Weights in, photos in, classes out.

mod interpret;

use std::sync::Arc;

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::gpu::{Engine, Gpu, Preprocessor, Readback, Runner, Tensors};
use crate::network::{FEATURES, Network};
use crate::plan::Plan;
use crate::prediction::{Prediction, rank};
use crate::resize::{Fit, Rgba};
use crate::shader::PipelineDescriptor;
use crate::tile::Tuning;
use crate::weights::safetensors::{Header, Meta};
use crate::weights::stream_decoder::StreamDecoder;

/// How a model is kept and computed on the GPU.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How weights and activations are stored, f32 or f16; else as [`Gpu::storage`] advises.
    pub storage: Option<Dtype>,
    /// How products are computed; else as [`Gpu::untuned`] advises. [`Gpu::tune`] measures it.
    pub tuning: Option<Tuning>,
}

/// A model on a GPU.
pub struct Classifier {
    gpu: Gpu,
    meta: Arc<Meta>,
    network: Network,
    tuning: Tuning,
    single: Engine,
    /// For several photos at once, since they were first asked for.
    many: Option<Engine>,
    /// What explains an answer, since that was first asked for.
    explainer: Option<(Explanation, Runner)>,
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// A model whose weights are on their way to the GPU. Its pipelines are made when they are there: a browser can compile
/// them meanwhile.
#[derive(Debug)]
pub struct Loader {
    gpu: Gpu,
    meta: Meta,
    network: Network,
    tuning: Tuning,
    plan: Plan,
    tensors: Tensors,
    decoder: StreamDecoder,
}

impl Loader {
    /// Makes room on the GPU for a model's weights, from the head of its file.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::OutOfMemory`] where the GPU cannot hold the model, [`Error::Argument`] where it is
    /// to be stored as i8.
    pub async fn new(gpu: &Gpu, header: Header, options: Options) -> Result<Self> {
        let storage = options.storage.unwrap_or_else(|| gpu.storage());
        if storage == Dtype::I8 {
            return Err(Error::Argument("i8 is for files, the GPU stores f32 or f16".to_owned()));
        }
        let tuning = options.tuning.unwrap_or_else(|| gpu.untuned());
        let plan = Plan::new(&header.network, storage, &tuning, 1);
        let decoder = StreamDecoder::new(&header, storage);
        let tensors = Tensors::new(gpu, &plan).await?;
        let (gpu, meta, network) = (gpu.clone(), header.meta, header.network);
        Ok(Self { gpu, meta, network, tuning, plan, tensors, decoder })
    }

    /// What the pipelines will be made of.
    pub fn pipelines(&self) -> Vec<PipelineDescriptor> {
        let Meta { preprocessing, input_size, .. } = self.meta;
        let resize = Preprocessor::pipelines(preprocessing, input_size, self.plan.storage);
        resize.into_iter().chain(self.plan.pipelines().0).collect()
    }

    /// The GPU it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Takes the next bytes of the file behind the header, in pieces of any size.
    ///
    /// # Errors
    /// As [`StreamDecoder::push`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.decoder.push(bytes, |tensor, offset, values| self.tensors.write(tensor, offset, values))
    }

    /// The model, once the whole file has come: makes all that it needs besides the weights.
    ///
    /// # Errors
    /// [`Error::Weights`] where bytes are missing, [`Error::TooLarge`] or [`Error::OutOfMemory`] where the GPU cannot hold
    /// the activations, [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub async fn finish(self) -> Result<Classifier> {
        let Self { gpu, meta, network, tuning, plan, tensors, decoder } = self;
        decoder.finish()?;
        let runner = Runner::new(&plan, tensors).await?;
        let single = Engine::new(&gpu, plan, runner, meta.preprocessing, meta.input_size).await?;
        gpu.check()?;
        Ok(Classifier { gpu, meta: Arc::new(meta), network, tuning, single, many: None, explainer: None })
    }
}

impl Classifier {
    /// Loads a file of the project's own format that is in memory.
    ///
    /// # Errors
    /// As [`Header::parse`], [`Loader::new`] and [`Loader::push`].
    pub async fn load(gpu: &Gpu, file: &[u8], options: Options) -> Result<Self> {
        let header = Header::parse(file)?;
        let data = &file[header.data_start..];
        let mut loader = Loader::new(gpu, header, options).await?;
        loader.push(data)?;
        loader.finish().await
    }

    /// What the model is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The network that is computed.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The GPU it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What runs for a photo.
    pub fn plan(&self) -> &Plan {
        &self.single.plan
    }

    /// The plan on the GPU.
    pub fn runner(&self) -> &Runner {
        &self.single.runner
    }

    /// What computes this many photos at once: for more than one, what was reserved last.
    pub fn engine(&self, photos: usize) -> &Engine {
        self.many.as_ref().filter(|_| photos > 1).unwrap_or(&self.single)
    }

    /// Whether the shaders for one photo were chosen by trying.
    pub fn is_tuned(&self) -> bool {
        self.tuning.knows(&self.network, 1)
    }

    /// Bytes on the GPU, but for the photos themselves: weights and activations.
    pub fn gpu_bytes(&self) -> u64 {
        let engines = [Some(&self.single), self.many.as_ref()];
        let activations = engines.into_iter().flatten().map(|engine| engine.plan.activation_bytes()).sum::<u64>();
        self.plan().weight_bytes() + activations
    }

    /// Runs once on a photo of one pixel, so that the first one takes no longer than others.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub async fn warm_up(&mut self) -> Result<()> {
        self.prepare(None, [1, 1], None).await?;
        self.single.submit(.., 1, self.plan().answer, 1)?.read().await.map(drop)
    }

    /// Readies the GPU for a photo of this width and height, by itself or as one of those that were reserved; its pixels go
    /// into the returned texture. `fit` is what happens to other aspect ratios, where that is not what the model says.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where the photo is beyond the GPU's limits, [`Error::Argument`] where it has no place.
    pub async fn prepare(&mut self, place: Option<usize>, size: [u32; 2], fit: Option<Fit>) -> Result<&wgpu::Texture> {
        self.place(place)?.prepare(place.unwrap_or(0), size, fit).await
    }

    fn place(&mut self, place: Option<usize>) -> Result<&mut Engine> {
        self.gpu.check()?;
        match (place, &mut self.many) {
            (None, _) => Ok(&mut self.single),
            (Some(index), Some(many)) if index < many.plan.batch => Ok(many),
            (Some(index), _) => Err(unreserved(index + 1)),
        }
    }

    /// Brings a photo to the GPU, which will resize it; one too large for that is resized here.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub async fn upload(&mut self, photo: &Rgba) -> Result<()> {
        self.upload_to(None, photo, None).await
    }

    /// The same, by itself or as one of those that were reserved, and fitted as [`Self::prepare`] has it.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub async fn upload_to(&mut self, place: Option<usize>, photo: &Rgba, fit: Option<Fit>) -> Result<()> {
        self.place(place)?.upload(place.unwrap_or(0), photo, fit).await
    }

    /// Brings 8-bit RGB pixels of the network's input size to the GPU: `[height][width][3]`.
    ///
    /// # Errors
    /// [`Error::Argument`] where they are not as many.
    pub fn upload_pixels(&mut self, pixels: &[u8]) -> Result<()> {
        let levels: Vec<f32> = pixels.iter().map(|&level| level.into()).collect();
        self.single.upload_levels(0, &levels)
    }

    /// Starts the network for the `top` most likely classes of the photo that was uploaded last, or of the first `photos`
    /// that were reserved. More may be uploaded at once.
    ///
    /// # Errors
    /// [`Error::Argument`] where `top` is 0 or fewer photos were reserved, [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub fn start(&self, photos: Option<usize>, top: usize) -> Result<Answer> {
        if top == 0 {
            return Err(Error::Argument("top must be at least 1".to_owned()));
        }
        match (photos, &self.many) {
            (None, _) => Answer::new(&self.single, &self.meta, 1, top),
            (Some(photos), Some(many)) if photos <= many.plan.batch => Answer::new(many, &self.meta, photos, top),
            (Some(photos), _) => Err(unreserved(photos)),
        }
    }

    /// Runs the network on the photo that was uploaded last: its `top` most likely classes, in order.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Answer::read`].
    pub async fn classify(&mut self, top: usize) -> Result<Vec<Prediction>> {
        Ok(self.start(None, top)?.read().await?.remove(0))
    }

    /// How many photos can be computed at once: as many as buffers have room for, and no more than
    /// [`BATCH`](crate::plan::BATCH).
    pub fn max_batch(&self) -> usize {
        self.plan().max_batch(self.gpu.max_binding())
    }

    /// Readies the GPU for this many photos at once, at most [`Self::max_batch`].
    ///
    /// # Errors
    /// [`Error::Argument`] where they are more, [`Error::OutOfMemory`] where the GPU has no room for their activations.
    pub async fn reserve(&mut self, photos: usize) -> Result<()> {
        let most = self.max_batch();
        if photos > most {
            return Err(Error::Argument(format!(
                "{photos} photos at once are more than the {most} that this GPU computes"
            )));
        }
        if self.many.as_ref().is_some_and(|many| many.plan.batch >= photos) {
            return Ok(());
        }
        self.many = None;
        let plan = Plan::new(&self.network, self.plan().storage, &self.tuning, photos);
        let runner = self.runner().replanned(&plan).await?;
        let meta = &self.meta;
        self.many = Some(Engine::new(&self.gpu, plan, runner, meta.preprocessing, meta.input_size).await?);
        Ok(())
    }

    /// Resizes the photo that came last of those that were reserved, so that its texture is free for another.
    pub fn resize(&mut self) {
        if let Some(many) = &mut self.many {
            many.resize();
        }
    }

    /// The `top` most likely classes of each photo. Photos go through the network together, as many at a time as
    /// [`Self::max_batch`].
    ///
    /// # Errors
    /// As [`Self::reserve`], [`Self::upload`] and [`Self::classify`].
    pub async fn classify_batch(&mut self, photos: &[Rgba], top: usize) -> Result<Vec<Vec<Prediction>>> {
        let mut predictions = Vec::with_capacity(photos.len());
        for photos in photos.chunks(self.max_batch()) {
            // One by itself needs no second plan.
            if let [photo] = photos {
                self.upload(photo).await?;
                predictions.push(self.classify(top).await?);
                continue;
            }
            self.gpu.check()?;
            self.reserve(photos.len()).await?;
            if let Some(many) = &mut self.many {
                for (index, photo) in photos.iter().enumerate() {
                    many.upload(index, photo, None).await?;
                    many.resize();
                }
            }
            predictions.extend(self.start(Some(photos.len()), top)?.read().await?);
        }
        Ok(predictions)
    }

    /// Starts the network up to its mean, on the photo that was uploaded last: its embedding, [`FEATURES`] values by which
    /// photos of the same kind are near one another.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub fn embed(&self) -> Result<Readback> {
        let plan = self.plan();
        self.single.submit(..=plan.embedding_pass(), 1, plan.embedding, FEATURES)
    }

    /// Runs the network on the photo that was uploaded last: its logits, one per class.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub async fn logits(&mut self) -> Result<Vec<f32>> {
        self.single.submit(.., 1, self.plan().logits, self.plan().classes)?.read().await
    }

    /// What the network sees of the photo that was uploaded last: `[height][width][4]`, the fourth channel zero.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed.
    pub async fn input(&mut self) -> Result<Vec<f32>> {
        let [height, width] = self.meta.input_size;
        self.single.submit(..0, 1, self.plan().image, 4 * height * width)?.read().await
    }
}

fn unreserved(photos: usize) -> Error {
    Error::Argument(format!("there is no room for {photos} photos at once: reserve it"))
}

/// What the GPU will have answered.
#[must_use]
pub struct Answer {
    pending: Readback,
    meta: Arc<Meta>,
    photos: usize,
    classes: usize,
    /// How many classes the GPU ranks.
    ranked: usize,
    top: usize,
}

impl Answer {
    fn new(engine: &Engine, meta: &Arc<Meta>, photos: usize, top: usize) -> Result<Self> {
        let (classes, ranked) = (engine.plan.classes, engine.plan.top);
        // Indices and probabilities of the ranked classes, or all probabilities behind them too.
        let words = if top <= ranked { 2 * ranked } else { 2 * ranked + classes };
        let pending = engine.submit(.., photos, engine.plan.answer, photos * words)?;
        Ok(Self { pending, meta: meta.clone(), photos, classes, ranked, top })
    }

    /// The most likely classes of each photo, in order.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] where the device failed, [`Error::BadOutput`] where a result is not a number.
    pub async fn read(self) -> Result<Vec<Vec<Prediction>>> {
        let Self { pending, meta, photos, classes, ranked, top } = self;
        let answer = pending.read().await?;
        let (best, all) = answer.split_at(photos * 2 * ranked);
        let scores = |photo: usize| -> Vec<(usize, f32)> {
            if top <= ranked {
                let best = &best[photo * 2 * ranked..][..2 * ranked];
                (0..top).map(|rank| (best[rank].to_bits() as usize, best[ranked + rank])).collect()
            } else {
                all[photo * classes..][..classes].iter().copied().enumerate().collect()
            }
        };
        (0..photos).map(|photo| rank(&meta, classes, scores(photo), top)).collect()
    }
}
