//! Shared by the modules that compute: inspection of files before they are loaded, and conversion of Rust's values to JavaScript's.

use js_sys::{Array, Object};

use super::*;
use crate::dtype::Dtype;
use crate::resize::Fit;
use crate::weights::Format;
use crate::weights::safetensors::Header;

/// Half the code of Rust's own, which is for threads.
#[cfg(not(target_feature = "atomics"))]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

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

/// Throws where an encoded image is empty, cut short, or has more than `pixels` by what its header says; else whether it is one that
/// browsers may not turn upright.
#[wasm_bindgen(js_name = checkImage)]
pub fn check_image(file: &[u8], pixels: f64) -> Result<bool, JsValue> {
    crate::photo::check(file, &image_limits(pixels))
        .map(|()| crate::photo::is_turned(file))
        .map_err(|error| throw(&error))
}

/// How weights and activations are to be stored: `f32`, `f16`, or what suits.
pub fn storage(dtype: Option<String>) -> Result<Option<Dtype>, JsValue> {
    dtype.map(|dtype| dtype.parse()).transpose().map_err(|error: Error| throw(&error))
}

/// The treatment of other aspect ratios, if it is given.
pub fn parse_fit(fit: Option<String>) -> Result<Option<Fit>, JsValue> {
    fit.map(|fit| fit.parse()).transpose().map_err(|error: Error| throw(&error))
}

/// A JavaScript object.
pub fn object(entries: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (key, value) in entries {
        // Setting a property of a fresh object cannot fail.
        let _ = Reflect::set(&object, &(*key).into(), value);
    }
    object
}

/// Text, for JavaScript.
pub fn text(value: impl ToString) -> JsValue {
    value.to_string().into()
}

/// A JavaScript array.
pub fn array(items: impl IntoIterator<Item = JsValue>) -> JsValue {
    items.into_iter().collect::<Array>().into()
}
