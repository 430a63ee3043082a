//! A model and its loader, on the backend that the module was built for.

use js_sys::Object;

use super::common::{array, object, parse_fit, storage, text};
use super::*;
use crate::backend::Backend as _;
use crate::classifier::{Answer, Classifier, Loader, Options, Output, ReadbackOf};
use crate::network::Network;
use crate::network::layer::Shape;
use crate::prediction::Prediction;
use crate::resize::{Preprocessing, seen};
use crate::tile::Tuning;
use crate::weights::assumed::Assumption;
use crate::weights::safetensors::{Header, Meta, Source};

/// The backend of this module.
#[cfg(feature = "gpu")]
pub type Device = crate::backend::Gpu;
/// The backend of this module.
#[cfg(not(feature = "gpu"))]
pub type Device = crate::backend::Cpu;

/// A GPU, or the threads of a CPU.
#[wasm_bindgen(js_name = Backend)]
pub struct WebBackend {
    pub(super) device: Device,
}

impl WebBackend {
    /// The best known algorithms, with those that were measured; the CPU has nothing to measure.
    pub fn tuning(&self, measured: &str) -> Tuning {
        let mut tuning = self.device.untuned();
        if cfg!(feature = "gpu") {
            tuning.read(measured);
        }
        tuning
    }
}

/// A model whose weights are on their way.
#[wasm_bindgen(js_name = Loader)]
pub struct WebLoader {
    pub(super) loader: Loader<Device>,
    length: usize,
}

#[wasm_bindgen(js_class = Loader)]
impl WebLoader {
    /// Makes room for the weights of a file with this header. `tuning` is what `Backend.tune` gave.
    pub async fn create(
        backend: &WebBackend,
        header: Vec<u8>,
        dtype: Option<String>,
        tuning: Option<String>,
    ) -> Result<WebLoader, JsValue> {
        let header = Header::parse(&header).map_err(|error| throw(&error))?;
        let length = header.file_len;
        let tuning = tuning.map(|measured| backend.tuning(&measured));
        let options = Options { storage: storage(dtype)?, tuning };
        let loader = Loader::new(&backend.device, header, options).await.map_err(|error| throw(&error))?;
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
    pub async fn finish(self) -> Result<WebModel, JsValue> {
        self.loader.finish().await.map(|classifier| WebModel { classifier }).map_err(|error| throw(&error))
    }
}

/// A model. Its photos come as [`super::gpu`] or [`super::cpu`] has it.
#[wasm_bindgen(js_name = Model)]
pub struct WebModel {
    pub(super) classifier: Classifier<Device>,
}

#[wasm_bindgen(js_class = Model)]
impl WebModel {
    /// Facts about the model: `ModelInfo` of index.d.ts.
    pub fn info(&self) -> Object {
        let model = &self.classifier;
        let mut entries = info(model.meta(), model.network());
        let [dispatches, pipelines] = self.dispatches();
        entries.extend([
            ("dtype", text(model.storage())),
            ("dispatches", dispatches.into()),
            ("pipelines", pipelines.into()),
            ("bytes", (model.bytes() as f64).into()),
            ("tuned", model.is_tuned().into()),
            ("maxBatch", (model.max_batch() as u32).into()),
            ("adapter", text(model.backend().name())),
        ]);
        object(&entries)
    }

    /// Runs once, so that the first photo takes no longer than others.
    #[wasm_bindgen(js_name = warmUp)]
    pub async fn warm_up(&mut self) -> Result<(), JsValue> {
        self.classifier.warm_up().await.map_err(|error| throw(&error))
    }

    /// Makes room for this many photos at once.
    pub async fn reserve(&mut self, photos: usize) -> Result<(), JsValue> {
        self.classifier.reserve(photos).await.map_err(|error| throw(&error))
    }

    /// Starts the network on the photo that was uploaded last, or on the first `photos` that were reserved. More may be
    /// uploaded while it runs.
    pub fn start(&self, top: usize, photos: Option<usize>) -> Result<WebAnswer, JsValue> {
        let answer = self.classifier.start(photos, top);
        answer.map(|answer| WebAnswer { answer }).map_err(|error| throw(&error))
    }

    /// Starts the network for the model's own output of the photo that was uploaded last.
    pub fn predict(&self) -> Result<WebValues, JsValue> {
        WebValues::of(self.classifier.start_output())
    }

    /// Starts the network up to its first vector on the photo that was uploaded last, or on the first `photos` that were reserved.
    pub fn embed(&self, photos: Option<usize>) -> Result<WebValues, JsValue> {
        WebValues::of(self.classifier.embed(photos).map(Output::from))
    }

    /// Whether explanations are exact, or else gradients.
    #[wasm_bindgen(js_name = isExact)]
    pub fn is_exact(&self) -> bool {
        self.classifier.is_exact()
    }

    /// Starts to explain a class of the photo that was answered last by itself: what each pixel of the last activation
    /// contributes to its logit, row by row.
    pub async fn explain(&mut self, class: usize) -> Result<WebValues, JsValue> {
        WebValues::of(self.classifier.explain(class).await.map(Output::from))
    }

    /// Starts the network up to a layer on the photo that was uploaded last.
    pub fn activations(&self, layer: &str) -> Result<WebValues, JsValue> {
        WebValues::of(self.classifier.activations(layer).map(Output::from))
    }

    /// The part of a photo of this size that the network sees: `ClassMap.region` of index.d.ts.
    pub fn region(&self, width: usize, height: usize, fit: Option<String>) -> Result<Object, JsValue> {
        let Meta { preprocessing, input_size, .. } = *self.classifier.meta();
        let [x, y, width, height] = seen(preprocessing.fitted(parse_fit(fit)?), (width, height), input_size);
        Ok(object(&[("x", x.into()), ("y", y.into()), ("width", width.into()), ("height", height.into())]))
    }
}

/// Values that the backend will have.
#[wasm_bindgen(js_name = Values)]
pub struct WebValues {
    values: Output<ReadbackOf<Device>>,
}

impl WebValues {
    fn of(values: crate::error::Result<Output<ReadbackOf<Device>>>) -> Result<Self, JsValue> {
        values.map(|values| Self { values }).map_err(|error| throw(&error))
    }
}

#[wasm_bindgen(js_class = Values)]
impl WebValues {
    /// The values.
    pub async fn read(self) -> Result<Vec<f32>, JsValue> {
        self.values.read().await.map_err(|error| throw(&error))
    }
}

/// The answer that the backend will have.
#[wasm_bindgen(js_name = Answer)]
pub struct WebAnswer {
    answer: Answer<ReadbackOf<Device>>,
}

#[wasm_bindgen(js_class = Answer)]
impl WebAnswer {
    /// The most likely classes of each photo: arrays of `Prediction` of index.d.ts.
    pub async fn read(self) -> Result<JsValue, JsValue> {
        self.answer.read().await.map(predictions).map_err(|error| throw(&error))
    }
}

/// The part of `ModelInfo` of index.d.ts that does not depend on the backend.
fn info(meta: &Meta, network: &Network) -> Vec<(&'static str, JsValue)> {
    let Preprocessing { filter, fit, crop, scale, offset, bgr } = meta.preprocessing;
    let sides = |Shape { height, width, channels }: Shape| {
        array([height, width, channels].map(|length| (length as u32).into()))
    };
    let layer = |(name, shape): (&str, Shape)| object(&[("name", text(name)), ("shape", sides(shape))]).into();
    let preprocessing = object(&[
        ("filter", text(filter)),
        ("fit", text(fit)),
        ("crop", crop.into()),
        ("scale", array(scale.map(Into::into))),
        ("offset", array(offset.map(Into::into))),
        ("bgr", bgr.into()),
    ]);
    let Source { kind, sha256, license } = &meta.source;
    let source = object(&[("kind", text(kind)), ("sha256", text(sha256)), ("license", text(license))]);
    let assumption = |assumption: &Assumption| {
        let mut entries = vec![("name", text(&assumption.name)), ("value", text(&assumption.value))];
        entries.extend(assumption.option().map(|option| ("option", text(option))));
        object(&entries).into()
    };
    vec![
        ("network", text(meta.architecture)),
        ("inputSize", array(meta.input_size.map(|side| (side as u32).into()))),
        ("output", text(network.output)),
        ("outputs", (network.outputs() as u32).into()),
        ("classes", (network.classes() as u32).into()),
        ("features", sides(network.features())),
        ("layers", array(network.readable().map(layer))),
        ("labels", array((0..meta.labels.len()).map(|class| text(meta.label(class))))),
        ("preprocessing", preprocessing.into()),
        ("source", source.into()),
        ("assumed", array(meta.assumed.iter().map(assumption))),
    ]
}

/// The most likely classes of each photo: arrays of `Prediction` of index.d.ts.
fn predictions(photos: Vec<Vec<Prediction>>) -> JsValue {
    let prediction = |Prediction { index, label, wnid, score }: Prediction| {
        let mut entries = vec![("index", (index as u32).into()), ("label", label.into())];
        entries.extend(wnid.map(|wnid| ("wnid", wnid.into())));
        entries.push(("score", score.into()));
        object(&entries).into()
    };
    array(photos.into_iter().map(|photo| array(photo.into_iter().map(prediction))))
}
