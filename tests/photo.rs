//! Photos are refused where they are truncated or too large, and only there.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use xception::error::{Error, Result};
use xception::limits::Limits;
use xception::photo::is_turned;
use xception::resize::Rgba;

fn check(file: &[u8]) -> Result<()> {
    xception::photo::check(file, &Limits::default())
}

fn decode(file: &[u8]) -> Result<Rgba> {
    xception::image::decode(file, &Limits::default())
}

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

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
    let file = data("photos/lossy.webp");
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

/// Every form of every format, each EXIF orientation, profiles left aside, as Pillow reads it (`tools/make_photos.py`). Colours are
/// compared in front of white, where those of what cannot be seen do not count.
#[test]
fn all_forms_are_decoded_as_by_pillow() {
    let file = data("photos.safetensors");
    let expected = SafeTensors::deserialize(&file).unwrap();
    assert!(expected.len() >= 45, "{} photos", expected.len());
    for (name, expected) in expected.iter() {
        let photo = decode(&data(&format!("photos/{name}"))).unwrap();
        assert_eq!([photo.height(), photo.width(), 4], expected.shape(), "{name}");
        // Lossy decoders round, and smooth halved colours, each in its way.
        let (most, mean) = match name {
            "baseline.jpg" | "progressive.jpg" | "restarts.jpg" => (30.0, 1.0),
            name if name.ends_with(".jpg") || name.contains("lossy") || name == "animated.webp" => (8.0, 1.5),
            _ => (0.6, 0.01),
        };
        let shown = |pixel: &[u8]| -> [f32; 3] {
            let alpha = f32::from(pixel[3]) / 255.0;
            [0, 1, 2].map(|c| f32::from(pixel[c]) * alpha + 255.0 * (1.0 - alpha))
        };
        let (mut worst, mut sum) = (0f32, 0.0);
        for (ours, theirs) in photo.data().chunks(4).zip(expected.data().chunks(4)) {
            for (ours, theirs) in shown(ours).into_iter().zip(shown(theirs)) {
                worst = worst.max((ours - theirs).abs());
                sum += (ours - theirs).abs();
            }
        }
        let average = sum / (3 * photo.data().len() / 4) as f32;
        assert!(worst <= most && average <= mean, "{name}: off by {worst} levels, {average} on average");
    }
}

#[test]
fn photos_that_browsers_do_not_turn_are_known() {
    let photos: Vec<_> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos")).unwrap().collect();
    for photo in photos {
        let photo = photo.unwrap();
        let name = photo.file_name().into_string().unwrap();
        let turned = (name.starts_with("exif") && !name.ends_with(".jpg") && !name.starts_with("exif1"))
            || ["rgba.png", "lossy.webp"].contains(&&*name);
        let file = fs::read(photo.path()).unwrap();
        assert_eq!(is_turned(&file), turned, "{name}");
        for length in 0..file.len().min(600) {
            assert!(!is_turned(&file[..length]) || turned, "{length} bytes of {name}");
        }
    }
    // TIFF of the other byte order, and behind a marker.
    let chunk = |tiff: &[u8]| {
        let chunk = [b"EXIF", &(tiff.len() as u32).to_le_bytes()[..], tiff].concat();
        [b"RIFF", &(chunk.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunk].concat()
    };
    let big = b"MM\0*\0\0\0\x08\0\x02\x01\0\0\x03\0\0\0\x01\0\x05\0\0\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0";
    assert!(is_turned(&chunk(big)) && is_turned(&chunk(&[b"Exif\0\0", &big[..]].concat())));
    let endless = [b"II*\0\xff\xff\xff\xff", &[0xff; 40][..]].concat();
    assert!(!is_turned(&chunk(&endless)) && !is_turned(&chunk(b"II*\0\x08\0\0\0\xff\xff")));
}

/// Files that are of two kinds are photos by what they begin with, and weights by that alone.
#[test]
fn polyglots_are_what_they_begin_with() {
    let (png, page, zip) = (encoded(image::ImageFormat::Png), b"<script>alert(1)</script>", data("keras3.h5.zst"));
    let photo = decode(&png).unwrap();
    for behind in [&page[..], &zip, &jpeg(), b"%PDF-1.7", b"PK\x05\x06", &[0x5a; 9999]] {
        assert_eq!(decode(&[&png, behind].concat()).unwrap(), photo);
        assert!(matches!(decode(&[behind, &png].concat()), Err(Error::Decode(_))) || behind.starts_with(&[0xff, 0xd8]));
    }
    let refused = xception::weights::convert([&png[..], &zip].concat(), Default::default());
    assert!(matches!(refused, Err(Error::Format(_))), "{refused:?}");
}

#[test]
fn limits_are_refused_by_name() {
    let png = encoded(image::ImageFormat::Png);
    let with = |limits: &str| xception::image::decode(&png, &limits.parse().unwrap());
    with("pixels=35").unwrap();
    for limits in ["pixels=34".to_owned(), format!("imageBytes={}", png.len() - 1)] {
        let (name, _) = limits.split_once('=').unwrap();
        assert!(matches!(with(&limits), Err(Error::TooLarge(message)) if message.contains(name)), "{limits}");
    }
}
