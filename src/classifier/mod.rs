//! Weights in, photos in, classes out, on any backend.

mod answer;
#[cfg(feature = "gpu")]
mod gpu;
mod interpret;

use std::sync::Arc;

pub use answer::{Answer, Output};

use crate::backend::{Backend, Engine, Readback, Weights};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::network::Network;
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::resize::{Fit, Rgba};
use crate::tile::Tuning;
use crate::weights::safetensors::{Header, Meta};
use crate::weights::stream_decoder::StreamDecoder;

/// Values that a backend will have computed.
pub type ReadbackOf<B> = <<B as Backend>::Engine as Engine>::Readback;

/// How a model is kept and computed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How weights are stored, on a GPU activations too; else as [`Backend::storage`] advises.
    pub storage: Option<Dtype>,
    /// How products are computed; else as [`Backend::untuned`] advises.
    pub tuning: Option<Tuning>,
}

/// A model on a backend.
pub struct Classifier<B: Backend> {
    backend: B,
    meta: Arc<Meta>,
    network: Network,
    storage: Dtype,
    tuning: Tuning,
    single: B::Engine,
    /// For several photos at once, since they were first asked for.
    many: Option<B::Engine>,
    /// The passes behind the plan's own that explain an answer, since that was first asked for.
    explanation: Option<Explanation>,
}

impl<B: Backend> std::fmt::Debug for Classifier<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// A model whose weights are on their way to a backend. Pipelines are made when they are there: a browser can compile
/// them meanwhile.
pub struct Loader<B: Backend> {
    backend: B,
    meta: Meta,
    network: Network,
    storage: Dtype,
    tuning: Tuning,
    plan: Plan,
    weights: B::Weights,
    decoder: StreamDecoder,
}

impl<B: Backend> Loader<B> {
    /// Makes room for a model's weights, from the head of its file.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::OutOfMemory`] if the device cannot hold the model, [`Error::Argument`] if it cannot store
    /// it as asked.
    pub async fn new(backend: &B, header: Header, options: Options) -> Result<Self> {
        let storage = backend.storage(&header, options.storage)?;
        let tuning = options.tuning.unwrap_or_else(|| backend.untuned());
        let plan = Plan::new(&header.network, backend.activations(storage), &tuning, 1);
        let decoder = StreamDecoder::new(&header, storage);
        let weights = backend.allocate(&plan, storage).await?;
        let (backend, meta, network) = (backend.clone(), header.meta, header.network);
        Ok(Self { backend, meta, network, storage, tuning, plan, weights, decoder })
    }

    /// Takes the next bytes of the file behind the header, in pieces of any size.
    ///
    /// # Errors
    /// As [`StreamDecoder::push`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.decoder.push(bytes, |tensor, offset, values| self.weights.write(tensor, offset, values))
    }

    /// The model, once the whole file has come: makes all that it needs besides the weights.
    ///
    /// # Errors
    /// [`Error::Weights`] if bytes are missing, [`Error::TooLarge`] or [`Error::OutOfMemory`] if the device cannot hold
    /// the activations, [`Error::DeviceLost`] or [`Error::Gpu`] if it failed.
    pub async fn finish(self) -> Result<Classifier<B>> {
        let Self { backend, meta, network, storage, tuning, plan, mut weights, decoder } = self;
        decoder.finish()?;
        if storage == Dtype::I8 {
            decoder.scales().iter().enumerate().for_each(|(tensor, scales)| weights.scale(tensor, scales));
        }
        let single = backend.engine(plan, weights, &meta).await?;
        backend.check()?;
        let meta = Arc::new(meta);
        Ok(Classifier { backend, meta, network, storage, tuning, single, many: None, explanation: None })
    }
}

impl<B: Backend> Classifier<B> {
    /// Loads a file of the project's own format that is in memory.
    ///
    /// # Errors
    /// As [`Header::parse`], [`Loader::new`] and [`Loader::push`].
    pub async fn load(backend: &B, file: &[u8], options: Options) -> Result<Self> {
        let header = Header::parse(file)?;
        let data = &file[header.data_start..];
        let mut loader = Loader::new(backend, header, options).await?;
        loader.push(data)?;
        loader.finish().await
    }

    /// Facts about the model.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The network that is computed.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The device it is on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The plan for one photo.
    pub fn plan(&self) -> &Plan {
        self.single.plan()
    }

    /// The engine for this many photos at once: for more than one, the one that was reserved last.
    pub fn engine(&self, photos: usize) -> &B::Engine {
        self.many.as_ref().filter(|_| photos > 1).unwrap_or(&self.single)
    }

    /// How weights are stored.
    pub fn storage(&self) -> Dtype {
        self.storage
    }

    /// Whether the algorithms for one photo were chosen by trying.
    pub fn is_tuned(&self) -> bool {
        self.tuning.knows(&self.network, 1)
    }

    /// Bytes of weights and activations, without the photos themselves.
    pub fn bytes(&self) -> u64 {
        let engines = [Some(&self.single), self.many.as_ref()];
        let activations = engines.into_iter().flatten().map(|engine| engine.plan().activation_bytes()).sum::<u64>();
        self.single.weight_bytes() + activations
    }

    /// Runs once on a photo of one pixel, so that the first one takes no longer than others.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub async fn warm_up(&mut self) -> Result<()> {
        self.upload(&Rgba::new(1, 1, vec![0; 4])?).await?;
        self.start_output()?.read().await.map(drop)
    }

    fn place(&mut self, place: Option<usize>) -> Result<&mut B::Engine> {
        match (place, &mut self.many) {
            (None, _) => Ok(&mut self.single),
            (Some(index), Some(many)) if index < many.plan().batch => Ok(many),
            (Some(index), _) => Err(unreserved(index + 1)),
        }
    }

    /// Takes a photo, which will be resized.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub async fn upload(&mut self, photo: &Rgba) -> Result<()> {
        self.upload_to(None, photo, None).await
    }

    /// The same, by itself or as one of those that were reserved; `fit` is what happens to other aspect ratios, where that is not what
    /// the model says.
    ///
    /// # Errors
    /// [`Error::Argument`] if the photo has no place, [`Error::TooLarge`] if it is beyond the device's limits.
    pub async fn upload_to(&mut self, place: Option<usize>, photo: &Rgba, fit: Option<Fit>) -> Result<()> {
        self.backend.check()?;
        self.place(place)?.upload(place.unwrap_or(0), photo, fit).await
    }

    /// Takes 8-bit RGB pixels of the network's input size: `[height][width][3]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of pixels.
    pub fn upload_pixels(&mut self, pixels: &[u8]) -> Result<()> {
        self.upload_levels(None, pixels.iter().map(|&level| level.into()).collect())
    }

    /// Takes a resized photo, by itself or as one of those that were reserved: levels from 0 to 255, `[height][width][3]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of levels, or a place that was not reserved.
    pub fn upload_levels(&mut self, place: Option<usize>, levels: Vec<f32>) -> Result<()> {
        let values = 3 * self.meta.input_size[0] * self.meta.input_size[1];
        if levels.len() != values {
            return Err(Error::Argument(format!("the input has {values} values, not {}", levels.len())));
        }
        self.place(place)?.upload_levels(place.unwrap_or(0), levels);
        Ok(())
    }

    /// Starts the network for the `top` most likely classes of the photo that was uploaded last, or of the first `photos`
    /// that were reserved. More may be uploaded at once.
    ///
    /// # Errors
    /// [`Error::Argument`] if the model has no classes, `top` is 0, or fewer photos were reserved; [`Error::DeviceLost`] or
    /// [`Error::Gpu`] if the device failed.
    pub fn start(&self, photos: Option<usize>, top: usize) -> Result<Answer<ReadbackOf<B>>> {
        if top == 0 {
            return Err(Error::Argument("top must be at least 1".to_owned()));
        }
        if self.network.classes() == 0 {
            let output = self.network.output;
            return Err(Error::Argument(format!("the model has no classes, its output is {output}: predict it")));
        }
        self.run(photos, top)
    }

    /// Starts the network for the model's own output, as its framework gives it, of the photo that was uploaded last: the
    /// probability of each class, logits ([`Meta::is_logits`]), numbers, or features.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub fn start_output(&self) -> Result<Output<ReadbackOf<B>>> {
        let plan = self.plan();
        let is_answer = !self.meta.is_logits;
        let (slot, skip) = if is_answer { (plan.answer, 2 * plan.top) } else { (plan.logits, 0) };
        let values = self.single.submit(0..plan.passes.len(), 1, slot, skip + plan.outputs)?;
        Ok(Output { values, skip, is_checked: true })
    }

    /// The engine for the photo that was uploaded last, or for the first ones that were reserved.
    fn reserved(&self, photos: Option<usize>) -> Result<&B::Engine> {
        match (photos, &self.many) {
            (None, _) => Ok(&self.single),
            (Some(photos), Some(many)) if photos <= many.plan().batch => Ok(many),
            (Some(photos), _) => Err(unreserved(photos)),
        }
    }

    fn run(&self, photos: Option<usize>, top: usize) -> Result<Answer<ReadbackOf<B>>> {
        let engine = self.reserved(photos)?;
        let plan = engine.plan();
        // The ranked classes come first, which do for one photo.
        let (photos, len) = match photos {
            None if top <= plan.top => (1, 2 * plan.top),
            photos => (photos.unwrap_or(1), photos.unwrap_or(1) * plan.answer_len()),
        };
        let values = engine.submit(0..plan.passes.len(), photos, plan.answer, len)?;
        let (meta, output) = (self.meta.clone(), plan.output);
        Ok(Answer { values, meta, output, outputs: plan.outputs, photos, ranked: plan.top, top })
    }

    /// Runs the network on the photo that was uploaded last: its `top` most likely classes, in order.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Answer::read`].
    pub async fn classify(&mut self, top: usize) -> Result<Vec<Prediction>> {
        Ok(self.start(None, top)?.read().await?.remove(0))
    }

    /// Runs the network on the photo that was uploaded last: the model's own output, such as the probability of each class.
    ///
    /// # Errors
    /// As [`Self::start_output`] and [`Output::read`].
    pub async fn predict(&mut self) -> Result<Vec<f32>> {
        self.start_output()?.read().await
    }

    /// The most photos that can be computed at once: as buffers have room for, and no more than
    /// [`BATCH`](crate::plan::BATCH).
    pub fn max_batch(&self) -> usize {
        self.backend.max_batch(self.plan())
    }

    /// Makes room for this many photos at once, at most [`Self::max_batch`].
    ///
    /// # Errors
    /// [`Error::Argument`] if they are more, [`Error::OutOfMemory`] if the device has no room for their activations.
    pub async fn reserve(&mut self, photos: usize) -> Result<()> {
        let most = self.max_batch();
        if photos > most {
            return Err(Error::Argument(format!(
                "{photos} photos at once are more than the {most} that this device computes"
            )));
        }
        if self.many.as_ref().is_some_and(|many| many.plan().batch >= photos) {
            return Ok(());
        }
        self.many = None;
        let plan = Plan::new(&self.network, self.plan().storage, &self.tuning, photos);
        self.many = Some(self.single.replanned(plan).await?);
        Ok(())
    }

    /// The `top` most likely classes of each photo. Photos go through the network together, as many at a time as
    /// [`Self::max_batch`], and fewer where the device's memory ends.
    ///
    /// # Errors
    /// As [`Self::reserve`], [`Self::upload`] and [`Self::classify`].
    pub async fn classify_batch(&mut self, photos: &[Rgba], top: usize) -> Result<Vec<Vec<Prediction>>> {
        let mut predictions = Vec::with_capacity(photos.len());
        let mut most = self.max_batch();
        while predictions.len() < photos.len() {
            let left = &photos[predictions.len()..];
            let photos = &left[..left.len().min(most)];
            // One by itself needs no second plan.
            if let [photo] = photos {
                self.upload(photo).await?;
                predictions.push(self.classify(top).await?);
                continue;
            }
            match self.reserve(photos.len()).await {
                Err(Error::OutOfMemory(_)) => {
                    most = photos.len().div_ceil(2);
                    continue;
                }
                reserved => reserved?,
            }
            for (index, photo) in photos.iter().enumerate() {
                self.upload_to(Some(index), photo, None).await?;
            }
            predictions.extend(self.start(Some(photos.len()), top)?.read().await?);
        }
        Ok(predictions)
    }

    /// Starts the network up to its first vector, on the photo that was uploaded last, or on the first `photos` that were reserved: the
    /// embedding of each, by which photos of the same kind are near one another. That is what pooling or Flatten gives, 2048 values of the mean;
    /// without either the last activation.
    ///
    /// # Errors
    /// [`Error::Argument`] if fewer photos were reserved; [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub fn embed(&self, photos: Option<usize>) -> Result<ReadbackOf<B>> {
        let engine = self.reserved(photos)?;
        let plan = engine.plan();
        let (pass, len) = plan.embedding_pass();
        let photos = photos.unwrap_or(1);
        engine.submit(0..pass + 1, photos, plan.embedding, photos * len)
    }

    /// Runs the network on the photo that was uploaded last: its last layer's values, such as logits, before softmax or sigmoid.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub async fn logits(&mut self) -> Result<Vec<f32>> {
        let plan = self.plan();
        self.single.submit(0..plan.passes.len(), 1, plan.logits, plan.outputs)?.read().await
    }

    /// The network's input, made of the photo that was uploaded last: `[height][width][4]`, the fourth channel zero.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`] if the device failed.
    pub async fn input(&mut self) -> Result<Vec<f32>> {
        let [height, width] = self.meta.input_size;
        self.single.submit(0..0, 1, self.plan().image, 4 * height * width)?.read().await
    }
}

fn unreserved(photos: usize) -> Error {
    Error::Argument(format!("there is no room for {photos} photos at once: reserve it"))
}
