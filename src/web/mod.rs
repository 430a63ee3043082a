//! What JavaScript sees: wasm modules of this crate, which `pkg/src` wraps into the public API.
//!
//! The core (feature `gpu`) loads the project's own weights and classifies on the GPU; where there is none, another (feature `cpu`)
//! does the same without. A third (feature `formats`) converts other weights and is fetched only then.

#[cfg(any(feature = "gpu", feature = "cpu"))]
mod common;
#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "formats")]
mod formats;
#[cfg(feature = "gpu")]
mod gpu;

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
