//! Photos from files, by the `image` crate.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader};

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::resize::Rgba;

/// The most bytes of a colour profile: 4 MiB.
const MAX_PROFILE: u64 = 4 << 20;

/// Decodes a JPEG, PNG, WebP, GIF (its first frame) or BMP, upright as its EXIF orientation says.
///
/// # Errors
/// [`Error::Decode`] if the bytes are no image or a damaged one, [`Error::TooLarge`] beyond the limits, before memory is
/// taken.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Rgba> {
    let damaged = |error: image::ImageError| Error::Decode(error.to_string());
    limits.check_image(bytes.len() as u64)?;
    crate::photo::check(bytes, limits)?;
    // A GIF's frame may claim to be larger than the image. Colour profiles need room too, and may be compressed a thousandfold.
    let memory = |pixels: u64| {
        let mut memory = image::Limits::default();
        memory.max_alloc = Some(pixels.saturating_mul(8).saturating_add(bytes.len() as u64 + MAX_PROFILE));
        memory
    };
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| Error::Decode(error.to_string()))?;
    // A PNG's decoder reads everything before the pixels at once.
    let claimed = imagesize::blob_size(bytes).map_or(0, |size| (size.width as u64).saturating_mul(size.height as u64));
    reader.limits(memory(claimed));
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width as usize, height as usize)?;
    decoder.set_limits(memory(u64::from(width) * u64::from(height))).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    let image = image.into_rgba8();
    Rgba::new(image.width() as usize, image.height() as usize, image.into_raw())
}
