//! What a photo's header tells before it is decoded.

use crate::error::{Error, Result};

/// The most pixels a photo may have: 128 Mi, 512 MB decoded.
pub const MAX_PIXELS: u64 = 1 << 27;

/// Refuses an image file by its header, before memory is taken for its pixels. Formats whose header is
/// not known here pass: their decoder decides.
///
/// # Errors
/// [`Error::Decode`] where there are no bytes, [`Error::TooLarge`] beyond [`MAX_PIXELS`].
pub fn check_size(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Err(Error::Decode("the file is empty".to_owned()));
    }
    imagesize::blob_size(bytes).map_or(Ok(()), |size| check_pixels(size.width, size.height))
}

/// Refuses an image of too many pixels.
///
/// # Errors
/// [`Error::TooLarge`] beyond [`MAX_PIXELS`].
pub fn check_pixels(width: usize, height: usize) -> Result<()> {
    if width as u64 * height as u64 > MAX_PIXELS {
        return Err(Error::TooLarge(format!(
            "the image has {width}×{height} pixels, more than the {} million accepted: scale it down",
            MAX_PIXELS / 1_000_000
        )));
    }
    Ok(())
}
