//! The core module: photos are bitmaps or pixels, which the GPU resizes.

use js_sys::Object;
use web_sys::ImageBitmap;

use super::common::{array, object, parse_fit, storage, text};
use super::model::{WebBackend, WebLoader, WebModel};
use super::*;
use crate::backend::Gpu;
use crate::backend::gpu::{Preprocessor, TUNING_TIME};
use crate::dtype::Dtype;
use crate::network::layer::Section;
use crate::plan::Pass;
use crate::resize::Rgba;
use crate::shader::PipelineDescriptor;
use crate::weights::safetensors::Header;

fn device(gpu: &Gpu) -> Option<Object> {
    gpu.device.as_webgpu().map(|device| AsRef::<JsValue>::as_ref(device).clone().unchecked_into())
}

#[wasm_bindgen(js_class = Backend)]
impl WebBackend {
    /// The machine's fastest GPU.
    pub async fn open() -> Result<WebBackend, JsValue> {
        Gpu::new().await.map(|device| Self { device }).map_err(|error| throw(&error))
    }

    /// Whether it is a software adapter.
    #[wasm_bindgen(getter, js_name = isSoftware)]
    pub fn is_software(&self) -> bool {
        self.device.is_software()
    }

    /// Names it as the rest of the package does: wgpu knows its description alone, which most browsers leave empty.
    #[wasm_bindgen(setter)]
    pub fn set_name(&mut self, name: String) {
        self.device.info.name = name;
    }

    /// The browser's `GPUDevice`.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> Option<Object> {
        device(&self.device)
    }

    /// The key under which a tuning of this GPU is kept.
    #[wasm_bindgen(js_name = tuningKey)]
    pub fn tuning_key(&self, dtype: Option<String>) -> Result<String, JsValue> {
        Ok(self.device.tuning_key(storage(dtype)?.unwrap_or_else(|| self.device.best_dtype())))
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
        let storage = storage(dtype)?.unwrap_or_else(|| self.device.best_dtype());
        let mut tuning = self.tuning(kept.as_deref().unwrap_or_default());
        if again {
            tuning.restart(&network, 1);
        }
        let measured = self.device.tune(&mut tuning, &network, storage, 1, TUNING_TIME);
        measured.await.map(|()| tuning.to_string()).map_err(|error| throw(&error))
    }
}

#[wasm_bindgen(js_class = Loader)]
impl WebLoader {
    /// Descriptors of the pipelines, for the browser to compile while the weights come: objects of WGSL `code`, the number of
    /// bindings it `reads`, whether the first is a `texture`, and `constants`.
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

impl WebModel {
    /// The dispatches of a photo without its resize, and the pipelines.
    pub fn dispatches(&self) -> [u32; 2] {
        let pipelines = self.classifier.runner().pipelines();
        [self.classifier.plan().passes.len(), pipelines].map(|count| count as u32)
    }
}

#[wasm_bindgen(js_class = Model)]
impl WebModel {
    /// The passes of a photo, in order: objects of `label`, `layer`, `block`, `flow`, `kernel`, `color`, `shape`, `grid`, `flops` and `bytes`.
    pub fn passes(&self) -> Vec<Object> {
        let (plan, network) = (self.classifier.plan(), self.classifier.network());
        let pass = |pass: &Pass| {
            let op = pass.op;
            let Section { flow, block } = network.section(pass.layer);
            object(&[
                ("label", text(&pass.label)),
                ("layer", pass.layer.map_or(JsValue::UNDEFINED, |layer| text(&network.layers[layer].name))),
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

    /// The largest side of a bitmap that [`Self::upload`] takes.
    #[wasm_bindgen(getter, js_name = maxPhotoSide)]
    pub fn max_photo_side(&self) -> u32 {
        self.classifier.backend().max_photo_side()
    }

    /// The browser's `GPUDevice`.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> Option<Object> {
        device(self.classifier.backend())
    }

    /// The shaders that bring a photo to the network's input, in order, before [`Self::passes`].
    #[wasm_bindgen(js_name = resizePasses)]
    pub fn resize_passes(&self) -> Vec<String> {
        let meta = self.classifier.meta();
        let pipelines = Preprocessor::pipelines(meta.preprocessing, meta.input_size, Dtype::F32);
        pipelines.into_iter().map(|pipeline| pipeline.label).collect()
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
        let queue = self.classifier.backend().queue.clone();
        let texture = self.classifier.prepare(index, [width, height], fit).await;
        copy(&queue, bitmap, texture.map_err(|error| throw(&error))?)
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
        self.classifier.upload_to(index, &photo, fit).await.map_err(|error| throw(&error))
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
