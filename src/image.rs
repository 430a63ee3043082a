//! Photos from files, by the `image` crate.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use crate::error::{Error, Result};
use crate::resize::Rgba;

/// Decodes a JPEG, PNG, WebP, GIF (its first frame) or BMP, upright as its EXIF orientation says.
///
/// # Errors
/// [`Error::Decode`] if the bytes are no image or a damaged one, [`Error::TooLarge`] beyond
/// [`crate::photo::MAX_PIXELS`], before memory is taken.
pub fn decode(bytes: &[u8]) -> Result<Rgba> {
    let damaged = |error: image::ImageError| Error::Decode(error.to_string());
    crate::photo::check(bytes)?;
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| Error::Decode(error.to_string()))?;
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    crate::photo::check_pixels(width as usize, height as usize)?;
    // A GIF's frame may claim to be larger than the image. Colour profiles need room too.
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * u64::from(width) * u64::from(height) + bytes.len() as u64 + (1 << 20));
    decoder.set_limits(limits).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    let image = image.into_rgba8();
    Rgba::new(image.width() as usize, image.height() as usize, image.into_raw())
}
