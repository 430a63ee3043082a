//! The module for machines without a GPU: photos come by bands and are resized here, and threads may help.

#[cfg(target_feature = "atomics")]
use std::sync::Arc;

#[cfg(target_feature = "atomics")]
use js_sys::Object;

#[cfg(target_feature = "atomics")]
use super::common::object;
use super::common::parse_fit;
use super::model::{WebBackend, WebModel};
use super::*;
use crate::backend::Cpu;
#[cfg(target_feature = "atomics")]
use crate::backend::cpu::{MAX_THREADS, ThreadTeam};
use crate::resize::Resizer;

#[cfg(not(target_feature = "atomics"))]
#[wasm_bindgen(js_class = Backend)]
impl WebBackend {
    /// This thread.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self { device: Cpu::single_threaded() }
    }
}

#[cfg(target_feature = "atomics")]
#[wasm_bindgen(js_class = Backend)]
impl WebBackend {
    /// Up to `threads` threads of a team, this one included.
    #[wasm_bindgen(constructor)]
    pub fn new(team: &WebTeam, threads: usize) -> Self {
        Self { device: Cpu::with_team(team.team.clone(), threads) }
    }
}

impl WebModel {
    /// There are none without a GPU.
    pub fn dispatches(&self) -> [u32; 2] {
        [0; 2]
    }
}

#[wasm_bindgen(js_class = Model)]
impl WebModel {
    /// Begins a photo of this size, squashed or cropped as `fit` says, or else the model.
    pub fn photo(&self, width: usize, height: usize, fit: Option<String>) -> Result<Photo, JsValue> {
        if width == 0 || height == 0 {
            return Err(throw(&Error::Argument("the image has no pixels: its bitmap was closed".to_owned())));
        }
        let meta = self.classifier.meta();
        let preprocessing = meta.preprocessing.fitted(parse_fit(fit)?);
        Ok(Photo { resizer: Resizer::new(preprocessing, [width, height], meta.input_size) })
    }

    /// Takes a photo whose rows have all come: by itself, or as one of those that were reserved.
    pub fn upload(&mut self, photo: Photo, index: Option<usize>) -> Result<(), JsValue> {
        if photo.resizer.is_short() {
            return Err(throw(&Error::Argument("rows of the image are missing".to_owned())));
        }
        self.classifier.upload_levels(index, photo.resizer.finish()).map_err(|error| throw(&error))
    }
}

/// A photo on its way, resized row by row.
#[wasm_bindgen]
pub struct Photo {
    resizer: Resizer,
}

#[wasm_bindgen]
impl Photo {
    /// Takes the next rows: RGBA pixels, 8 bits each.
    pub fn push(&mut self, pixels: &[u8]) {
        self.resizer.push(pixels);
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
    /// The team of this memory.
    #[wasm_bindgen(constructor)]
    #[expect(clippy::new_without_default, reason = "JavaScript has no default")]
    pub fn new() -> Self {
        Self { team: ThreadTeam::global() }
    }

    /// Everything a thread needs to join: the compiled `module` and its `memory`.
    pub fn place(&self) -> Object {
        object(&[("module", wasm_bindgen::module()), ("memory", wasm_bindgen::memory())])
    }

    /// The most threads that it can have.
    #[wasm_bindgen(getter)]
    pub fn most(&self) -> usize {
        MAX_THREADS
    }
}

/// Joins the team of this memory as the thread of this rank, from 1 on, calls `joined`, and helps until the team ends.
#[cfg(target_feature = "atomics")]
#[wasm_bindgen]
pub fn serve(rank: usize, joined: &Function) {
    ThreadTeam::join(rank, || drop(joined.call0(&JsValue::NULL)));
}
