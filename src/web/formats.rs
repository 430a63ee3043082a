//! The second module: other weights, and images that the browser cannot decode.

use super::*;
use crate::limits::Limits;
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
        self.file
            .try_reserve_exact(bytes)
            .map_err(|_| throw(&Error::TooLarge(format!("there is no memory for weights of more than {length} bytes"))))
    }

    /// The file, of at most `tensors` arrays, in the project's own format. `overrides` is JSON of [`Overrides`]; `head` a file with the head.
    pub fn convert(self, overrides: &str, head: Option<Vec<u8>>, tensors: f64) -> Result<Converted, JsValue> {
        let overrides: Overrides =
            serde_json::from_str(overrides).map_err(|error| throw(&Error::Argument(error.to_string())))?;
        // JavaScript counts bytes as they come.
        let limits = Limits { weights_bytes: u64::MAX, tensors: tensors as usize, ..Limits::default() };
        let overrides = Overrides { head, limits, ..overrides };
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

/// Decodes an image file of at most `pixels` that the browser cannot.
#[wasm_bindgen]
pub fn decode(file: &[u8], pixels: f64) -> Result<Pixels, JsValue> {
    let photo = crate::image::decode(file, &image_limits(pixels)).map_err(|error| throw(&error))?;
    let (width, height) = (photo.width() as u32, photo.height() as u32);
    Ok(Pixels { width, height, data: photo.into_data() })
}
