//! Photos are refused where they are truncated or too large, and only there.

use std::fs;
use std::path::Path;

use xception::error::Error;
use xception::image::decode;
use xception::photo::{check, check_pixels};

fn jpeg() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/kitchenware/photos/0009.jpg")).unwrap()
}

fn encoded(format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(7, 5, |x, y| image::Rgb([x as u8 * 30, y as u8 * 40, 9]))
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn whole_files_pass_and_cut_ones_do_not() {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    for file in [jpeg(), encoded(Jpeg), encoded(Png), encoded(WebP)] {
        check(&file).unwrap();
        decode(&file).unwrap();
        for length in [1, 2, 4, 12, 30, file.len() / 2, file.len() - 9] {
            let error = decode(&file[..length]).unwrap_err();
            assert!(matches!(error, Error::Decode(_)), "{length} of {} bytes: {error}", file.len());
        }
    }
    for file in [encoded(Gif), encoded(Bmp)] {
        let photo = decode(&file).unwrap();
        assert_eq!((photo.width(), photo.height()), (7, 5));
    }
}

/// Files as cameras and editors write them: fill bytes before a marker, and data after the end.
#[test]
fn odd_but_valid_jpegs_pass() {
    let file = jpeg();
    let filled = [&file[..2], &[0xff, 0xff], &file[2..]].concat();
    let followed = [&file[..], b"a video, say"].concat();
    let photo = decode(&file).unwrap();
    assert_eq!(decode(&filled).unwrap(), photo);
    assert_eq!(decode(&followed).unwrap(), photo);
}

/// Decoders would allocate what a chunk claims.
#[test]
fn a_webp_that_claims_too_much_is_refused() {
    let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos/lossy.webp")).unwrap();
    decode(&file).unwrap();
    let find = |name: &[u8]| file.windows(name.len()).position(|window| window == name).unwrap();
    for (at, bytes, reason) in [
        (find(b"EXIF") + 4, [0xf0, 0xff, 0xff, 0xff], "cut short"),
        (find(b"\x9d\x01\x2a") + 3, [0xff, 0x3f, 0xff, 0x3f], "larger than the image"),
    ] {
        let mut hostile = file.clone();
        hostile[at..at + 4].copy_from_slice(&bytes);
        let error = decode(&hostile).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn too_many_pixels_are_refused() {
    assert!(matches!(check_pixels(30_000, 30_000), Err(Error::TooLarge(_))));
    assert!(matches!(check_pixels(usize::MAX, usize::MAX), Err(Error::TooLarge(_))));
    check_pixels(11_648, 8_736).unwrap();
}
