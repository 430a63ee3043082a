//! Headers of photos, read before anything is decoded.

use std::iter;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// Refuses an image file by its bytes, before memory is taken for its pixels. Formats that are not known here pass:
/// their decoder decides.
///
/// # Errors
/// [`Error::Decode`] if there are no bytes or the end is missing, [`Error::TooLarge`] beyond the limits.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<()> {
    if bytes.is_empty() {
        return Err(Error::Decode("the file is empty".to_owned()));
    }
    if let Ok(size) = imagesize::blob_size(bytes) {
        limits.check_pixels(size.width, size.height)?;
        // A WebP's decoder takes memory for frames before it looks whether the image is as large.
        let mut frames = webp_chunks(bytes).filter_map(|(name, _, data)| webp_frame(name, data));
        if frames.any(|(width, height)| width > size.width || height > size.height) {
            return Err(Error::Decode("a frame is larger than the image".to_owned()));
        }
    }
    if !is_complete(bytes) {
        return Err(Error::Decode("the file is cut short".to_owned()));
    }
    Ok(())
}

/// Whether a PNG or WebP is to be turned or mirrored by its EXIF data, which not all browsers do. All do so with a JPEG.
///
/// The tag "orientation", a short number, is looked for behind the name of its chunk: what is found elsewhere is another's decoder's to tell.
pub fn is_turned(bytes: &[u8]) -> bool {
    let name = match bytes {
        [0x89, b'P', ..] => b"eXIf",
        [b'R', b'I', ..] => b"EXIF",
        _ => return false,
    };
    let chunk = bytes.windows(4).position(|window| window == name).unwrap_or(bytes.len());
    bytes[chunk..]
        .windows(10)
        .any(|tag| matches!(tag, [0x12, 1, 3, 0, 1, 0, 0, 0, 2..=8, 0] | [1, 0x12, 0, 3, 0, 0, 0, 1, 0, 2..=8]))
}

/// Whether a JPEG, PNG or WebP has its end. Decoders tend to fill the missing part with grey, silently.
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
        // Decoders take memory for a chunk before they read it.
        length.try_into().is_ok_and(|length| bytes.len() as u64 >= 8 + u64::from(u32::from_le_bytes(length)))
            && webp_chunks(bytes).all(|(_, length, data)| length <= data.len())
    } else {
        true
    }
}

/// The chunks of a WebP: name, claimed length, and all bytes from its data on.
fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], usize, &[u8])> {
    let length = match bytes.get(..12) {
        Some(&[b'R', b'I', b'F', b'F', a, b, c, d, b'W', b'E', b'B', b'P']) => {
            u32::from_le_bytes([a, b, c, d]) as usize
        }
        _ => 0,
    };
    let mut rest = bytes.get(12..bytes.len().min(length.saturating_add(8))).unwrap_or_default();
    iter::from_fn(move || {
        let (&[a, b, c, d, ref length @ ..], data) = rest.split_first_chunk::<8>()?;
        let (name, length) = ([a, b, c, d], u32::from_le_bytes(*length) as usize);
        // Chunks begin at even bytes. Those of an animation's frame follow its own 16 bytes.
        let next = if name == *b"ANMF" { 16 } else { length.saturating_add(length % 2) };
        rest = data.get(next..).unwrap_or_default();
        Some((name, length, data))
    })
}

/// Width and height of a frame of a WebP.
fn webp_frame(name: [u8; 4], data: &[u8]) -> Option<(usize, usize)> {
    match (&name, data) {
        (b"VP8 ", &[_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..]) => {
            let side = |bytes| usize::from(u16::from_le_bytes(bytes) & 0x3fff);
            Some((side([a, b]), side([c, d])))
        }
        (b"VP8L", &[0x2f, a, b, c, d, ..]) => {
            let bits = u32::from_le_bytes([a, b, c, d]) as usize;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        _ => None,
    }
}
