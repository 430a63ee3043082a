//! The module for machines without a GPU: weights of the project's own format, and photos, on the CPU.

#[cfg(target_feature = "atomics")]
use std::sync::Arc;

use js_sys::Object;

use super::common::{array, info, layer_name, object, parse_fit, predictions, region, storage, text};
use super::*;
use crate::cpu::{Classifier, Loader};
#[cfg(target_feature = "atomics")]
use crate::cpu::{MAX_THREADS, ThreadTeam};
use crate::plan::BATCH;
use crate::resize::Resizer;
use crate::weights::safetensors::Header;

/// A model whose weights are on their way.
#[wasm_bindgen(js_name = Loader)]
pub struct CpuLoader {
    loader: Loader,
    length: usize,
}

#[wasm_bindgen(js_class = Loader)]
impl CpuLoader {
    /// Makes room for the weights of a file with this header.
    #[wasm_bindgen(constructor)]
    pub fn new(header: &[u8], dtype: Option<String>) -> Result<Self, JsValue> {
        let header = Header::parse(header).map_err(|error| throw(&error))?;
        let length = header.file_len;
        let loader = Loader::new(header, storage(dtype)?).map_err(|error| throw(&error))?;
        Ok(Self { loader, length })
    }

    /// The length of the whole file in bytes.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Takes the next bytes behind the header.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), JsValue> {
        self.loader.push(bytes).map_err(|error| throw(&error))
    }

    /// The model, once all bytes have come.
    pub fn finish(self) -> Result<CpuModel, JsValue> {
        let classifier = self.loader.finish().map_err(|error| throw(&error))?;
        Ok(CpuModel { classifier, photos: Vec::new(), resizer: None })
    }
}

/// A model on the CPU.
#[wasm_bindgen(js_name = Model)]
pub struct CpuModel {
    classifier: Classifier,
    /// Those that will be answered together, in the network's input size.
    photos: Vec<Vec<f32>>,
    /// The one that comes.
    resizer: Option<Resizer>,
}

#[wasm_bindgen(js_class = Model)]
impl CpuModel {
    /// What the model is: `ModelInfo` of index.d.ts, without its layers.
    pub fn info(&self) -> Object {
        let mut entries = info(self.classifier.meta(), self.classifier.network().classes());
        entries.extend([
            ("dtype", text(self.classifier.storage())),
            ("dispatches", 0.into()),
            ("pipelines", 0.into()),
            ("bytes", (self.classifier.bytes() as f64).into()),
            ("tuned", false.into()),
            ("maxBatch", (BATCH as u32).into()),
            ("adapter", text(["CPU: ", &self.classifier.name()].concat())),
        ]);
        object(&entries)
    }

    /// What runs for a photo, in order: objects of `layer` and `shape`.
    pub fn passes(&self) -> Vec<Object> {
        let (passes, network) = (self.classifier.passes().iter(), self.classifier.network());
        let shape = |shape: Vec<usize>| array(shape.into_iter().map(|length| (length as u32).into()));
        passes
            .map(|pass| object(&[("layer", layer_name(network, pass)), ("shape", shape(pass.op.output_shape()))]))
            .collect()
    }

    /// Computes with up to `threads` threads of a team, this one included.
    #[cfg(target_feature = "atomics")]
    pub fn join(&mut self, team: &WebTeam, threads: usize) {
        self.classifier.join(team.team.clone(), threads);
    }

    /// Runs once, so that the first photo takes no longer than others.
    #[wasm_bindgen(js_name = warmUp)]
    pub fn warm_up(&mut self) {
        self.classifier.logits();
    }

    /// Forgets the photos that were to be answered together.
    pub fn reserve(&mut self, _photos: usize) {
        self.photos.clear();
    }

    /// Begins a photo of this size, squashed or cropped as `fit` says, or else the model.
    pub fn begin(&mut self, width: usize, height: usize, fit: Option<String>) -> Result<(), JsValue> {
        if width == 0 || height == 0 {
            return Err(throw(&Error::Argument("the image has no pixels: its bitmap was closed".to_owned())));
        }
        self.resizer = Some(self.classifier.resizer([width, height], parse_fit(fit)?));
        Ok(())
    }

    /// Takes its next rows: RGBA pixels, 8 bits each.
    pub fn rows(&mut self, pixels: &[u8]) {
        if let Some(resizer) = &mut self.resizer {
            resizer.push(pixels);
        }
    }

    /// Ends it: it is one by itself, or the next of those that will be answered together.
    pub fn end(&mut self, together: bool) -> Result<(), JsValue> {
        let Some(resizer) = self.resizer.take().filter(|resizer| !resizer.is_short()) else {
            return Err(throw(&Error::Argument("rows of the image are missing".to_owned())));
        };
        if together {
            self.photos.push(resizer.finish());
            return Ok(());
        }
        self.classifier.upload_levels(resizer.finish()).map_err(|error| throw(&error))
    }

    /// The most likely classes of the photo that was uploaded last, or of the first `photos` that are to be answered together.
    pub fn start(&mut self, top: usize, photos: Option<usize>) -> Result<JsValue, JsValue> {
        let mut one = |levels: Option<Vec<f32>>| {
            levels.map_or(Ok(()), |levels| self.classifier.upload_levels(levels))?;
            self.classifier.classify(top)
        };
        let answers: Result<_, Error> = match photos {
            Some(_) => std::mem::take(&mut self.photos).into_iter().map(Some).map(one).collect(),
            None => one(None).map(|answer| vec![answer]),
        };
        answers.map(predictions).map_err(|error| throw(&error))
    }

    /// The mean of the photo that was uploaded last.
    pub fn embed(&mut self) -> Vec<f32> {
        self.classifier.embed()
    }

    /// Explains a class of the photo that was answered last by itself: what each pixel of the last activation contributes to its
    /// logit, row by row.
    pub fn explain(&mut self, class: usize) -> Result<Vec<f32>, JsValue> {
        self.classifier.explain(class).map_err(|error| throw(&error))
    }

    /// The part of a photo of this size that the network sees: `ClassMap.region` of index.d.ts.
    pub fn region(&self, width: usize, height: usize, fit: Option<String>) -> Result<Object, JsValue> {
        region(self.classifier.meta(), (width, height), fit)
    }

    /// What a layer makes of the photo that was uploaded last.
    pub fn activations(&mut self, layer: &str) -> Result<Vec<f32>, JsValue> {
        self.classifier.activations(layer).map_err(|error| throw(&error))
    }
}

/// Threads that share this module's memory.
#[cfg(target_feature = "atomics")]
#[wasm_bindgen(js_name = Team)]
pub struct WebTeam {
    team: Arc<ThreadTeam>,
}

#[cfg(target_feature = "atomics")]
#[wasm_bindgen(js_class = Team)]
impl WebTeam {
    /// A team to which nobody has come.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::new_without_default, reason = "JavaScript has no default")]
    pub fn new() -> Self {
        Self { team: Arc::default() }
    }

    /// What a thread needs to come to it: the compiled `module`, its `memory`, and the team's `address` there.
    pub fn place(&self) -> Object {
        let address = self.team.address().into();
        object(&[("module", wasm_bindgen::module()), ("memory", wasm_bindgen::memory()), ("address", address)])
    }

    /// The most threads that it can have.
    #[wasm_bindgen(getter)]
    pub fn most(&self) -> usize {
        MAX_THREADS
    }
}

/// Helps the team at an address, as the thread of this rank, from 1 on, until the team ends.
#[cfg(target_feature = "atomics")]
#[wasm_bindgen]
pub fn serve(address: usize, rank: usize) {
    // SAFETY: a team is never freed by JavaScript, which gives each thread a rank of its own.
    unsafe { ThreadTeam::serve(address, rank) };
}
