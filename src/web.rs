//! What JavaScript sees: two wasm modules of this crate, which `pkg/index.js` wraps into the public API.
//!
//! The core (feature `gpu`) loads the project's own weights and classifies; the second one (feature `formats`) converts
//! all others and is fetched only then.

use js_sys::{Error as JsError, Function, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::Error;

/// A JavaScript `Error` with the code of ours.
fn throw(error: &Error) -> JsValue {
    let thrown = JsError::new(&error.to_string());
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}

/// Calls back with a panic's message. A panic leaves promises unsettled: their owner rejects them then.
#[wasm_bindgen(js_name = onPanic)]
pub fn on_panic(callback: Function) {
    struct Callback(Function);
    // SAFETY: without atomics a wasm module has one thread.
    unsafe impl Send for Callback {}
    unsafe impl Sync for Callback {}
    let callback = Callback(callback);
    std::panic::set_hook(Box::new(move |info| {
        let Callback(function) = &callback;
        let _ = function.call1(&JsValue::NULL, &info.to_string().into());
    }));
}

#[cfg(feature = "formats")]
mod formats {
    use super::*;
    use crate::weights::{self, Overrides};

    /// Room that is made on a server's word: a whole model has 92 MB.
    const CREDIBLE: usize = 128 << 20;

    /// Room that is made where that does not do.
    const STEP: usize = 32 << 20;

    /// A weights file of any supported kind on its way to the project's own format.
    #[wasm_bindgen]
    pub struct Converter {
        file: Vec<u8>,
    }

    #[wasm_bindgen]
    impl Converter {
        /// Makes room for a file that is said to have this length in bytes, as far as that is credible.
        #[wasm_bindgen(constructor)]
        pub fn new(length: usize) -> Result<Self, JsValue> {
            let mut converter = Self { file: Vec::new() };
            converter.reserve(length.min(CREDIBLE)).map(|()| converter)
        }

        /// Takes the next bytes of the file.
        pub fn push(&mut self, bytes: &[u8]) -> Result<(), JsValue> {
            if self.file.capacity() - self.file.len() < bytes.len() {
                self.reserve(bytes.len().max(STEP))?;
            }
            self.file.extend_from_slice(bytes);
            Ok(())
        }

        fn reserve(&mut self, bytes: usize) -> Result<(), JsValue> {
            let length = self.file.len();
            self.file.try_reserve_exact(bytes).map_err(|_| {
                throw(&Error::TooLarge(format!("there is no memory for weights of more than {length} bytes")))
            })
        }

        /// The file in the project's own format. `overrides` is JSON of [`Overrides`]; `head` a file with the head.
        pub fn convert(self, overrides: &str, head: Option<Vec<u8>>) -> Result<Converted, JsValue> {
            let overrides: Overrides =
                serde_json::from_str(overrides).map_err(|error| throw(&Error::Argument(error.to_string())))?;
            let overrides = Overrides { head, ..overrides };
            weights::convert(self.file, overrides).map(|file| Converted { file }).map_err(|error| throw(&error))
        }
    }

    /// A file of the project's own format, to be read by pieces.
    #[wasm_bindgen]
    pub struct Converted {
        file: Vec<u8>,
    }

    #[wasm_bindgen]
    impl Converted {
        /// Its length in bytes.
        #[wasm_bindgen(getter)]
        pub fn length(&self) -> usize {
            self.file.len()
        }

        /// A copy of the bytes from `start` to `end`, which may lie behind the file's.
        pub fn slice(&self, start: usize, end: usize) -> Vec<u8> {
            let end = end.min(self.file.len());
            self.file[start.min(end)..end].to_vec()
        }
    }

    /// Pixels of a decoded image.
    #[wasm_bindgen]
    pub struct Pixels {
        /// Columns.
        pub width: u32,
        /// Rows.
        pub height: u32,
        data: Vec<u8>,
    }

    #[wasm_bindgen]
    impl Pixels {
        /// Hands over RGBA, 8 bits each, row by row.
        pub fn take(self) -> Vec<u8> {
            self.data
        }
    }

    /// Decodes an image file that the browser cannot.
    #[wasm_bindgen]
    pub fn decode(file: &[u8]) -> Result<Pixels, JsValue> {
        let photo = crate::image::decode(file).map_err(|error| throw(&error))?;
        let (width, height) = (photo.width() as u32, photo.height() as u32);
        Ok(Pixels { width, height, data: photo.into_data() })
    }
}

#[cfg(feature = "gpu")]
mod core {
    use js_sys::Object;
    use sha2::{Digest, Sha256};
    use web_sys::ImageBitmap;

    use super::*;
    use crate::classifier::{Answer, Classifier, Loader, Options};
    use crate::dtype::Dtype;
    use crate::gpu::Gpu;
    use crate::resize::Preprocessing;
    use crate::weights::Format;
    use crate::weights::safetensors::{Header, Source};

    /// The length of the header of a safetensors file that begins with these (at least 16) bytes; 0 for another kind of
    /// weights file. Throws where it is none.
    #[wasm_bindgen(js_name = headerLength)]
    pub fn header_length(start: &[u8]) -> Result<usize, JsValue> {
        match Format::detect(start) {
            Ok(Format::Safetensors) => Header::len(start),
            other => other.map(|_| 0),
        }
        .map_err(|error| throw(&error))
    }

    /// Whether a safetensors file with this header is the project's own.
    #[wasm_bindgen(js_name = isOwnFormat)]
    pub fn is_own_format(header: &[u8]) -> bool {
        !matches!(Header::parse(header), Err(Error::Format(_)))
    }

    /// Throws where an encoded image is empty, cut short, or too large by what its header says.
    #[wasm_bindgen(js_name = checkImage)]
    pub fn check_image(file: &[u8]) -> Result<(), JsValue> {
        crate::photo::check(file).map_err(|error| throw(&error))
    }

    /// SHA-256 of bytes that come by pieces.
    #[wasm_bindgen(js_name = Sha256)]
    #[derive(Default)]
    pub struct WebSha256(Sha256);

    #[wasm_bindgen(js_class = Sha256)]
    impl WebSha256 {
        /// Of nothing yet.
        #[wasm_bindgen(constructor)]
        pub fn new() -> Self {
            Self::default()
        }

        /// Takes the next bytes.
        pub fn update(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        /// The hash of all bytes so far, 32 bytes.
        pub fn digest(self) -> Vec<u8> {
            self.0.finalize().to_vec()
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
        /// Makes everything on the GPU that a file with this header needs; `dtype` is how weights and activations are
        /// stored there: `f32`, `f16`, or what suits the GPU.
        pub async fn create(header: Vec<u8>, dtype: Option<String>) -> Result<WebLoader, JsValue> {
            let header = Header::parse(&header).map_err(|error| throw(&error))?;
            let storage = dtype.map(|dtype| dtype.parse()).transpose().map_err(|error: Error| throw(&error))?;
            let gpu = Gpu::new().await.map_err(|error| throw(&error))?;
            let length = header.file_len;
            let options = Options { storage, tuning: None };
            let loader = Loader::new(&gpu, header, options).await.map_err(|error| throw(&error))?;
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
        pub fn finish(self) -> Result<WebModel, JsValue> {
            self.loader.finish().map(|classifier| WebModel { classifier }).map_err(|error| throw(&error))
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

    fn object(entries: &[(&str, JsValue)]) -> Object {
        let object = Object::new();
        for (key, value) in entries {
            // Setting a property of a fresh object cannot fail.
            let _ = Reflect::set(&object, &(*key).into(), value);
        }
        object
    }

    /// What a model is: `ModelInfo` of index.d.ts.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Info<'a> {
        input_size: [usize; 2],
        classes: usize,
        labels: Vec<String>,
        preprocessing: Preprocessing,
        source: &'a Source,
        dtype: Dtype,
        dispatches: usize,
        pipelines: usize,
        gpu_bytes: u64,
        adapter: &'a str,
    }

    /// A model on the GPU.
    #[wasm_bindgen(js_name = Model)]
    pub struct WebModel {
        classifier: Classifier,
    }

    #[wasm_bindgen(js_class = Model)]
    impl WebModel {
        /// What the model is, as JSON.
        pub fn info(&self) -> String {
            let (meta, plan, gpu) = (self.classifier.meta(), self.classifier.plan(), self.classifier.gpu());
            let adapter = [&gpu.info.name, &gpu.info.driver].map(String::as_str).join(" ");
            let info = Info {
                input_size: meta.input_size,
                classes: plan.classes,
                labels: (0..meta.labels.len()).map(|class| meta.label(class)).collect(),
                preprocessing: meta.preprocessing,
                source: &meta.source,
                dtype: plan.storage,
                dispatches: self.classifier.runner().dispatches(),
                pipelines: self.classifier.runner().pipelines(),
                gpu_bytes: self.classifier.gpu_bytes(),
                adapter: adapter.trim(),
            };
            serde_json::to_string(&info).unwrap_or_default()
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

        /// How many photos can be computed at once.
        #[wasm_bindgen(getter, js_name = maxBatch)]
        pub fn max_batch(&self) -> usize {
            self.classifier.max_batch()
        }

        /// Readies the GPU for this many photos at once.
        pub async fn reserve(&mut self, photos: usize) -> Result<(), JsValue> {
            self.classifier.reserve(photos).await.map_err(|error| throw(&error))
        }

        /// Brings a photo to the GPU: by itself, or as one of those that were reserved.
        pub async fn upload(&mut self, bitmap: ImageBitmap, index: Option<usize>) -> Result<(), JsValue> {
            let (width, height) = (bitmap.width(), bitmap.height());
            if width == 0 || height == 0 {
                return Err(throw(&Error::Argument("the image has no pixels: its bitmap was closed".to_owned())));
            }
            let queue = self.classifier.gpu().queue.clone();
            let texture = self.classifier.prepare(index, width, height).await;
            copy(&queue, bitmap, texture.map_err(|error| throw(&error))?)?;
            if index.is_some() {
                self.classifier.resize();
            }
            Ok(())
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

    /// What the GPU will have answered.
    #[wasm_bindgen(js_name = Answer)]
    pub struct WebAnswer {
        answer: Answer,
    }

    #[wasm_bindgen(js_class = Answer)]
    impl WebAnswer {
        /// The most likely classes of each photo, as JSON.
        pub async fn read(self) -> Result<String, JsValue> {
            let predictions = self.answer.read().await.map_err(|error| throw(&error))?;
            serde_json::to_string(&predictions).map_err(|error| throw(&Error::Gpu(error.to_string())))
        }
    }
}
