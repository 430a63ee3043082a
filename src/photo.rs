//! What a photo's header tells before it is decoded.

use crate::error::{Error, Result};

/// The most pixels a photo may have: 128 Mi, 512 MB decoded.
pub const MAX_PIXELS: u64 = 1 << 27;

/// Refuses an image file by its bytes, before memory is taken for its pixels. Formats that are not known here pass:
/// their decoder decides.
///
/// # Errors
/// [`Error::Decode`] where there are no bytes or the end is missing, [`Error::TooLarge`] beyond [`MAX_PIXELS`].
pub fn check(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Err(Error::Decode("the file is empty".to_owned()));
    }
    if let Ok(size) = imagesize::blob_size(bytes) {
        check_pixels(size.width, size.height)?;
    }
    if !is_complete(bytes) {
        return Err(Error::Decode("the file is cut short".to_owned()));
    }
    Ok(())
}

/// Whether a JPEG, PNG or WebP has its end. Decoders tend to fill what is missing with grey, and nobody is told.
fn is_complete(bytes: &[u8]) -> bool {
    if bytes.starts_with(&[0xff, 0xd8]) {
        // Segments before the first scan may hold a thumbnail with an end of its own; in a scan, 0xff 0xd9 is the end.
        let mut at = 2;
        while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
            // Markers may be filled up with 0xff.
            if marker == 0xff {
                at += 1;
                continue;
            }
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
            if marker == 0xda {
                break;
            }
        }
        bytes.get(at..).is_some_and(|scan| scan.windows(2).any(|pair| pair == [0xff, 0xd9]))
    } else if bytes.starts_with(b"\x89PNG") {
        bytes.windows(4).any(|name| name == b"IEND")
    } else if let [b'R', b'I', b'F', b'F', length @ .., b'W', b'E', b'B', b'P'] = bytes.get(..12).unwrap_or_default() {
        length.try_into().is_ok_and(|length| bytes.len() as u64 >= 8 + u64::from(u32::from_le_bytes(length)))
    } else {
        true
    }
}

/// Refuses an image of too many pixels.
///
/// # Errors
/// [`Error::TooLarge`] beyond [`MAX_PIXELS`].
pub fn check_pixels(width: usize, height: usize) -> Result<()> {
    if (width as u64).saturating_mul(height as u64) > MAX_PIXELS {
        return Err(Error::TooLarge(format!(
            "the image has {width}×{height} pixels, more than the {} million accepted: scale it down",
            MAX_PIXELS / 1_000_000
        )));
    }
    Ok(())
}
