//! The wasm modules of this crate, which `pkg/src` wraps into the public API.
//!
//! The core (feature `gpu`) loads the project's own weights and classifies on the GPU; where there is none, another (feature `cpu`)
//! does the same without. A third (feature `formats`) converts other weights, a fourth (feature `learn`) learns classes; they are fetched only then.

#[cfg(any(feature = "gpu", feature = "cpu"))]
mod common;
#[cfg(all(feature = "cpu", not(feature = "gpu")))]
mod cpu;
#[cfg(feature = "formats")]
mod formats;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(all(feature = "learn", not(any(feature = "gpu", feature = "cpu"))))]
mod learn;
#[cfg(any(feature = "gpu", feature = "cpu"))]
mod model;

use std::cell::OnceCell;

use js_sys::{Error as JsError, Function, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::Error;
#[cfg(any(feature = "gpu", feature = "cpu", feature = "formats"))]
use crate::limits::Limits;

/// A JavaScript `Error` with the code of ours.
fn throw(error: &Error) -> JsValue {
    let thrown = JsError::new(&error.to_string());
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}

#[cfg(any(feature = "gpu", feature = "cpu", feature = "formats"))]
/// The limits of an image. JavaScript looks at its file's length before it is read.
fn image_limits(pixels: f64) -> Limits {
    Limits { pixels: pixels as u64, image_bytes: u64::MAX, ..Limits::default() }
}

/// Calls back with the message of this thread's panic. A panic leaves promises unsettled: their owner rejects them then.
#[wasm_bindgen(js_name = onPanic)]
pub fn on_panic(callback: Function) {
    thread_local! { static CALLBACK: OnceCell<Function> = const { OnceCell::new() } }
    CALLBACK.with(|own| drop(own.set(callback)));
    std::panic::set_hook(Box::new(|info| {
        let message = info.to_string().into();
        CALLBACK.with(|own| own.get().map(|callback| callback.call1(&JsValue::NULL, &message)));
    }));
}
