//! The core module: weights of the project's own format, and photos, on the GPU.

use js_sys::Object;
use web_sys::ImageBitmap;

use super::common::{array, info, layer_name, object, parse_fit, predictions, region, storage, text};
use super::*;
use crate::classifier::{Answer, Classifier, Loader, Options};
use crate::dtype::Dtype;
use crate::gpu::{Gpu, Preprocessor, Readback, TUNING_TIME};
use crate::network::layer::Section;
use crate::plan::Pass;
use crate::resize::Rgba;
use crate::shader::PipelineDescriptor;
use crate::weights::safetensors::Header;

fn device(gpu: &Gpu) -> Option<Object> {
    gpu.device.as_webgpu().map(|device| AsRef::<JsValue>::as_ref(device).clone().unchecked_into())
}

/// A GPU.
#[wasm_bindgen(js_name = Gpu)]
pub struct WebGpu {
    gpu: Gpu,
}

#[wasm_bindgen(js_class = Gpu)]
impl WebGpu {
    /// The machine's fastest one.
    pub async fn open() -> Result<WebGpu, JsValue> {
        Gpu::new().await.map(|gpu| Self { gpu }).map_err(|error| throw(&error))
    }

    /// Whether it is a software adapter.
    #[wasm_bindgen(getter, js_name = isSoftware)]
    pub fn is_software(&self) -> bool {
        self.gpu.is_software()
    }

    /// Names it as the rest of the package does: wgpu knows its description alone, which most browsers leave empty.
    #[wasm_bindgen(setter)]
    pub fn set_name(&mut self, name: String) {
        self.gpu.info.name = name;
    }

    /// The browser's `GPUDevice`.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> Option<Object> {
        device(&self.gpu)
    }

    /// What a tuning on this GPU is kept under.
    #[wasm_bindgen(js_name = tuningKey)]
    pub fn tuning_key(&self, dtype: Option<String>) -> Result<String, JsValue> {
        Ok(self.gpu.tuning_key(storage(dtype)?.unwrap_or_else(|| self.gpu.storage())))
    }

    /// Measures which shaders are fastest for the model with this header, and adds that to what was kept, which is not measured
    /// again unless asked.
    pub async fn tune(
        &self,
        header: Vec<u8>,
        dtype: Option<String>,
        kept: Option<String>,
        again: bool,
    ) -> Result<String, JsValue> {
        let network = Header::parse(&header).map_err(|error| throw(&error))?.network;
        let storage = storage(dtype)?.unwrap_or_else(|| self.gpu.storage());
        let mut tuning = self.gpu.untuned();
        tuning.read(kept.as_deref().unwrap_or_default());
        if again {
            tuning.restart(&network, 1);
        }
        let measured = self.gpu.tune(&mut tuning, &network, storage, 1, TUNING_TIME);
        measured.await.map(|()| tuning.to_string()).map_err(|error| throw(&error))
    }
}

/// A model whose weights are on their way to the GPU.
#[wasm_bindgen(js_name = Loader)]
pub struct WebLoader {
    loader: Loader,
    length: usize,
}

#[wasm_bindgen(js_class = Loader)]
impl WebLoader {
    /// Makes room on the GPU for the weights of a file with this header. `tuning` is what [`WebGpu::tune`] gave.
    pub async fn create(
        gpu: &WebGpu,
        header: Vec<u8>,
        dtype: Option<String>,
        tuning: Option<String>,
    ) -> Result<WebLoader, JsValue> {
        let header = Header::parse(&header).map_err(|error| throw(&error))?;
        let length = header.file_len;
        let tuning = tuning.map(|text| {
            let mut tuning = gpu.gpu.untuned();
            tuning.read(&text);
            tuning
        });
        let options = Options { storage: storage(dtype)?, tuning };
        let loader = Loader::new(&gpu.gpu, header, options).await.map_err(|error| throw(&error))?;
        Ok(Self { loader, length })
    }

    /// What the pipelines will be made of, for the browser to compile them while the weights come: objects of WGSL `code`,
    /// how many bindings it `reads`, whether the first is a `texture`, and `constants`.
    pub fn pipelines(&self) -> Vec<Object> {
        let object_of = |pipeline: PipelineDescriptor| {
            let constants: Vec<_> = pipeline.constants.iter().map(|&(name, value)| (name, value.into())).collect();
            object(&[
                ("code", pipeline.source().into()),
                ("reads", (pipeline.kernel.reads as u32).into()),
                ("texture", pipeline.kernel.reads_texture.into()),
                ("constants", object(&constants).into()),
            ])
        };
        self.loader.pipelines().into_iter().map(object_of).collect()
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

#[wasm_bindgen]
extern "C" {
    /// A `GPUQueue`, called directly: wgpu panics where the browser throws.
    type RawQueue;
    #[wasm_bindgen(method, catch, js_name = copyExternalImageToTexture)]
    fn copy_external_image(
        this: &RawQueue,
        source: &Object,
        destination: &Object,
        size: &Object,
    ) -> Result<(), JsValue>;
}

/// A model on the GPU.
#[wasm_bindgen(js_name = Model)]
pub struct WebModel {
    classifier: Classifier,
}

#[wasm_bindgen(js_class = Model)]
impl WebModel {
    /// What the model is: `ModelInfo` of index.d.ts, without its layers.
    pub fn info(&self) -> Object {
        let (plan, gpu, runner) = (self.classifier.plan(), self.classifier.gpu(), self.classifier.runner());
        let mut entries = info(self.classifier.meta(), plan.classes);
        entries.extend([
            ("dtype", text(plan.storage)),
            ("dispatches", (runner.dispatches() as u32).into()),
            ("pipelines", (runner.pipelines() as u32).into()),
            ("bytes", (self.classifier.gpu_bytes() as f64).into()),
            ("tuned", self.classifier.is_tuned().into()),
            ("maxBatch", (self.classifier.max_batch() as u32).into()),
            ("adapter", text([&gpu.info.name, " ", &gpu.info.driver].concat().trim())),
        ]);
        object(&entries)
    }

    /// The largest side of a bitmap that [`Self::upload`] takes.
    #[wasm_bindgen(getter, js_name = maxPhotoSide)]
    pub fn max_photo_side(&self) -> u32 {
        self.classifier.gpu().max_photo_side()
    }

    /// Runs once, so that the first photo takes no longer than others.
    #[wasm_bindgen(js_name = warmUp)]
    pub async fn warm_up(&mut self) -> Result<(), JsValue> {
        self.classifier.warm_up().await.map_err(|error| throw(&error))
    }

    /// Readies the GPU for this many photos at once.
    pub async fn reserve(&mut self, photos: usize) -> Result<(), JsValue> {
        self.classifier.reserve(photos).await.map_err(|error| throw(&error))
    }

    /// The browser's `GPUDevice`.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> Option<Object> {
        device(self.classifier.gpu())
    }

    /// Brings a photo to the GPU: by itself, or as one of those that were reserved; squashed or cropped as `fit` says, or
    /// else the model.
    pub async fn upload(
        &mut self,
        bitmap: ImageBitmap,
        index: Option<usize>,
        fit: Option<String>,
    ) -> Result<(), JsValue> {
        let fit = parse_fit(fit)?;
        let (width, height) = (bitmap.width(), bitmap.height());
        if width == 0 || height == 0 {
            return Err(throw(&Error::Argument("the image has no pixels: its bitmap was closed".to_owned())));
        }
        let queue = self.classifier.gpu().queue.clone();
        let texture = self.classifier.prepare(index, [width, height], fit).await;
        copy(&queue, bitmap, texture.map_err(|error| throw(&error))?)?;
        if index.is_some() {
            self.classifier.resize();
        }
        Ok(())
    }

    /// The same with RGBA pixels, 8 bits each, row by row.
    #[wasm_bindgen(js_name = uploadPixels)]
    pub async fn upload_pixels(
        &mut self,
        pixels: Vec<u8>,
        width: usize,
        height: usize,
        index: Option<usize>,
        fit: Option<String>,
    ) -> Result<(), JsValue> {
        let fit = parse_fit(fit)?;
        let photo = Rgba::new(width, height, pixels).map_err(|error| throw(&error))?;
        self.classifier.upload_to(index, &photo, fit).await.map_err(|error| throw(&error))?;
        if index.is_some() {
            self.classifier.resize();
        }
        Ok(())
    }

    /// Starts the network up to its mean on the photo that was uploaded last.
    pub fn embed(&self) -> Result<WebValues, JsValue> {
        self.classifier.embed().map(|pending| WebValues { pending }).map_err(|error| throw(&error))
    }

    /// The shaders that bring a photo to the network's input, in order, before [`Self::passes`].
    #[wasm_bindgen(js_name = resizePasses)]
    pub fn resize_passes(&self) -> Vec<String> {
        let meta = self.classifier.meta();
        let pipelines = Preprocessor::pipelines(meta.preprocessing, meta.input_size, Dtype::F32);
        pipelines.into_iter().map(|pipeline| pipeline.label).collect()
    }

    /// What runs for a photo, in order: objects of `label`, `layer`, `block`, `flow`, `kernel`, `color`, `shape`, `grid`, `flops` and `bytes`.
    pub fn passes(&self) -> Vec<Object> {
        let (plan, network) = (self.classifier.plan(), self.classifier.network());
        let pass = |pass: &Pass| {
            let op = pass.op;
            let Section { flow, block } = network.section(pass.layer);
            object(&[
                ("label", text(&pass.label)),
                ("layer", layer_name(network, pass)),
                ("block", text(block)),
                ("flow", text(flow)),
                ("kernel", text(op.kernel().name)),
                ("color", text(op.color())),
                ("shape", array(op.output_shape().into_iter().map(|length| (length as u32).into()))),
                ("grid", array(op.grid(1).map(Into::into))),
                ("flops", (2.0 * op.macs() as f64).into()),
                ("bytes", (plan.traffic(pass, 1) as f64).into()),
            ])
        };
        plan.passes.iter().map(pass).collect()
    }

    /// Starts to explain a class of the photo that was answered last by itself: what each pixel of the last activation
    /// contributes to its logit, row by row.
    pub fn explain(&mut self, class: usize) -> Result<WebValues, JsValue> {
        self.classifier.explain(class).map(|pending| WebValues { pending }).map_err(|error| throw(&error))
    }

    /// The part of a photo of this size that the network sees: `ClassMap.region` of index.d.ts.
    pub fn region(&self, width: usize, height: usize, fit: Option<String>) -> Result<Object, JsValue> {
        region(self.classifier.meta(), (width, height), fit)
    }

    /// Starts the network up to a layer on the photo that was uploaded last.
    pub fn activations(&self, layer: &str) -> Result<WebValues, JsValue> {
        self.classifier.activations(layer).map(|pending| WebValues { pending }).map_err(|error| throw(&error))
    }

    /// Starts the network on the photo that was uploaded last, or on the first `photos` that were reserved. More may be
    /// uploaded while it runs.
    pub fn start(&self, top: usize, photos: Option<usize>) -> Result<WebAnswer, JsValue> {
        let answer = self.classifier.start(photos, top);
        answer.map(|answer| WebAnswer { answer }).map_err(|error| throw(&error))
    }
}

/// Copies a photo's pixels, which begin at the texture's upper left corner.
fn copy(queue: &wgpu::Queue, bitmap: ImageBitmap, texture: &wgpu::Texture) -> Result<(), JsValue> {
    let (Some(queue), Some(texture)) = (queue.as_webgpu(), texture.as_webgpu()) else {
        return Err(throw(&Error::Gpu("this is not WebGPU".to_owned())));
    };
    let destination = object(&[("texture", texture.into()), ("premultipliedAlpha", false.into())]);
    let size = object(&[("width", bitmap.width().into()), ("height", bitmap.height().into())]);
    let queue: &RawQueue = AsRef::<JsValue>::as_ref(queue).unchecked_ref();
    queue.copy_external_image(&object(&[("source", bitmap.into())]), &destination, &size)
}

#[wasm_bindgen(js_name = Values)]
pub struct WebValues {
    pending: Readback,
}

#[wasm_bindgen(js_class = Values)]
impl WebValues {
    /// The values.
    pub async fn read(self) -> Result<Vec<f32>, JsValue> {
        self.pending.read().await.map_err(|error| throw(&error))
    }
}

/// What the GPU will have answered.
#[wasm_bindgen(js_name = Answer)]
pub struct WebAnswer {
    answer: Answer,
}

#[wasm_bindgen(js_class = Answer)]
impl WebAnswer {
    /// The most likely classes of each photo: arrays of `Prediction` of index.d.ts.
    pub async fn read(self) -> Result<JsValue, JsValue> {
        self.answer.read().await.map(predictions).map_err(|error| throw(&error))
    }
}
