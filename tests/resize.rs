//! Resizing on the CPU against PIL's images, and what holds for photos of every size.

mod common;

use common::{Random, assert_close, block_on, golden, gpu, pattern};
use xception::dtype::Dtype;
use xception::gpu::{Preprocessor, Runner, Tensors};
use xception::plan::{Plan, Slot};
use xception::resize::{Filter, Fit, Preprocessing, Rgba, Taps, resize, taps};

const FILTERS: [(Filter, &str); 3] =
    [(Filter::Nearest, "nearest"), (Filter::Bilinear, "bilinear"), (Filter::Bicubic, "bicubic")];
const FITS: [(Fit, &str); 2] = [(Fit::Squash, "squash"), (Fit::Crop, "crop")];

/// Every way to resize, with its name.
fn ways() -> impl Iterator<Item = (Preprocessing, String)> {
    FILTERS.into_iter().flat_map(|(filter, name)| {
        FITS.map(|(fit, fit_name)| {
            (Preprocessing { filter, fit, ..Preprocessing::default() }, format!("{name}.{fit_name}"))
        })
    })
}

fn photo(width: usize, height: usize, rgb: &[u8], alpha: u8) -> Rgba {
    let data = rgb.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], alpha]).collect();
    Rgba::new(width, height, data).unwrap()
}

/// The largest difference between two images, and whether they have the same length.
fn difference(a: &[u8], b: &[u8]) -> (bool, u8) {
    (a.len() == b.len(), a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0))
}

#[test]
fn images_are_pils() {
    for (width, height) in [(200, 133), (90, 120), (20, 15)] {
        let photo = photo(width, height, &pattern(height, width), 255);
        for (preprocessing, name) in ways() {
            let name = format!("resize.{width}x{height}.{name}");
            let expected = golden().bytes(&name).unwrap_or_else(|| panic!("PIL made no {name}"));
            let actual = resize(&photo, preprocessing, [24, 30]);
            let (same_len, worst) = difference(&actual, expected);
            let allowed = if preprocessing.filter == Filter::Nearest { 0 } else { 1 };
            assert!(same_len && worst <= allowed, "{name}: off by {worst}, {allowed} is allowed");
            let off = actual.iter().zip(expected).filter(|(a, b)| a != b).count();
            assert!(off * 20 <= actual.len(), "{name}: {off} of {} values are off by one", actual.len());
        }
    }
}

/// timm resizes to a larger size and keeps its centre.
#[test]
fn a_cropped_centre_is_timms() {
    let golden = golden();
    let (filter, fit, crop) = (Filter::Bicubic, Fit::Crop, 30.0 / 36.0);
    for side in [20, 150] {
        let photo = photo(side, side, &pattern(side, side), 255);
        let actual = resize(&photo, Preprocessing { filter, fit, crop, ..Preprocessing::default() }, [30, 30]);
        let expected = golden.bytes(&format!("resize.{side}x{side}.bicubic.centre")).unwrap();
        let (same_len, worst) = difference(&actual, expected);
        assert!(same_len && worst <= 1, "{side}: off by {worst}");
    }
}

#[test]
fn another_filter_or_fit_is_noticed() {
    let photo = photo(200, 133, &pattern(133, 200), 255);
    let images: Vec<_> = ways().map(|(preprocessing, _)| resize(&photo, preprocessing, [24, 30])).collect();
    for (i, a) in images.iter().enumerate() {
        for b in &images[..i] {
            assert!(difference(a, b).1 > 1);
        }
    }
}

#[test]
fn equal_sizes_change_nothing() {
    let pixels = pattern(37, 53);
    for (preprocessing, name) in ways() {
        assert_eq!(resize(&photo(53, 37, &pixels, 255), preprocessing, [37, 53]), pixels, "{name}");
    }
}

#[test]
fn transparency_shows_white() {
    let levels = [0, 51, 128, 255, 7, 100];
    for (preprocessing, name) in ways() {
        let shown = |alpha| resize(&photo(2, 1, &levels, alpha), preprocessing, [1, 2]);
        assert_eq!(shown(0), [255; 6], "{name}");
        assert_eq!(shown(255), levels, "{name}");
        // 255 + (level − 255) · 51 / 255, a fifth of the way from white.
        assert_eq!(shown(51), [204, 214, 230, 255, 205, 224], "{name}");
    }
}

#[test]
fn tiny_and_narrow_photos_work() {
    for (preprocessing, name) in ways() {
        let one = photo(1, 1, &[10, 200, 255], 255);
        assert_eq!(resize(&one, preprocessing, [24, 30]), [10, 200, 255].repeat(24 * 30), "{name}");
        for (width, height) in [(5000, 1), (1, 5000)] {
            let grey = photo(width, height, &[77; 3 * 5000], 255);
            assert_eq!(resize(&grey, preprocessing, [24, 30]), [77; 3 * 24 * 30], "{name} of {width}×{height}");
        }
    }
    // What is cropped of a row that brightens to the right is its middle.
    let ramp: Vec<u8> = (0..5000).flat_map(|x| [(x / 20) as u8; 3]).collect();
    let crop = Preprocessing { fit: Fit::Crop, ..Preprocessing::default() };
    assert!(resize(&photo(5000, 1, &ramp, 255), crop, [24, 30]).iter().all(|level| [124, 125].contains(level)));
}

#[test]
fn wrong_photos_are_refused() {
    for (width, height, len) in [(0, 1, 0), (1, 0, 0), (2, 2, 15), (2, 2, 17), (usize::MAX / 2, 1, 4)] {
        assert!(Rgba::new(width, height, vec![0; len]).is_err(), "{width}×{height} of {len} bytes");
    }
}

/// Panics unless each output pixel is a mean of pixels of the photo.
fn check_taps(taps: &Taps, length: usize, outputs: usize, what: &str) {
    assert_eq!((taps.spans.len(), taps.weights.len()), (outputs, outputs * taps.stride), "{what}");
    let (mut lowest, mut highest) = (u32::MAX, 0);
    for (&(first, count), weights) in taps.spans.iter().zip(taps.weights.chunks_exact(taps.stride)) {
        assert!(count >= 1 && count as usize <= taps.stride, "{what}: {count} taps, stride {}", taps.stride);
        assert!((first + count) as usize <= length, "{what}: pixels {first} + {count}");
        let (used, rest) = weights.split_at(count as usize);
        let sum: f64 = used.iter().map(|&weight| f64::from(weight)).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{what}: weights sum to {sum}");
        assert!(rest.iter().all(|&weight| weight == 0.0), "{what}: weights behind the last tap");
        (lowest, highest) = (lowest.min(first), highest.max(first + count));
    }
    assert_eq!(taps.range(), (lowest, highest), "{what}");
    // The room that the GPU's preprocessor makes for them.
    assert!(taps.weights.len() <= 4 * length + 5 * outputs, "{what}: {} weights", taps.weights.len());
}

#[test]
fn taps_stay_inside_photos_of_any_size() {
    let mut random = Random(9);
    for _ in 0..300 {
        // Small and large sides alike: uniform in the number of digits.
        let mut side = |most: usize| {
            let bits = random.below(most.ilog2() as usize + 1);
            1 + random.below((2 << bits).min(most))
        };
        let (photo, size) = ((side(8192), side(8192)), [side(1024), side(1024)]);
        for (preprocessing, name) in ways() {
            let (across, down) = taps(preprocessing, photo, size);
            check_taps(&across, photo.0, size[1], &format!("{name} of {photo:?} to {size:?}, across"));
            check_taps(&down, photo.1, size[0], &format!("{name} of {photo:?} to {size:?}, down"));
        }
    }
}

#[test]
fn the_gpu_resizes_as_the_cpu_does() {
    let (gpu, size) = (gpu(), [24, 30]);
    let mut random = Random(13);
    for (width, height) in [(200, 133), (90, 120), (20, 15), (30, 24), (1, 1), (2000, 3), (3, 1500)] {
        let noise = (0..4 * width * height).map(|_| random.bits() as u8).collect();
        let photos = [photo(width, height, &pattern(height, width), 255), Rgba::new(width, height, noise).unwrap()];
        // f16 rounds to 11 bits.
        let stored = |way: (_, String)| [(Dtype::F32, 0.0), (Dtype::F16, 5e-4)].map(|storage| (way.clone(), storage));
        for ((preprocessing, name), (storage, rounding)) in ways().flat_map(stored) {
            let run = async {
                let slot = Slot { len: 24 * 30 * 4, dtype: storage };
                let plan = Plan { slots: vec![slot], ..Plan::default() };
                let runner = Runner::new(&plan, Tensors::new(&gpu, &plan).await?).await?;
                let mut preprocessor = Preprocessor::new(&gpu, preprocessing, size, runner.slot(0), storage).await?;
                let mut images = Vec::new();
                for photo in &photos {
                    preprocessor.prepare([width as u32, height as u32], preprocessing, 0, runner.slot(0)).await?;
                    preprocessor.upload(photo);
                    images.push(runner.submit(|pass| preprocessor.encode(pass), .., 1, 0, slot.len)?.read().await?);
                }
                xception::error::Result::Ok(images)
            };
            let images = block_on(run).unwrap_or_else(|error| panic!("{name}: {error}"));
            for (photo, actual) in photos.iter().zip(images) {
                let normalise = |level: &u8| f32::from(*level) * preprocessing.scale + preprocessing.offset;
                let rgb = resize(photo, preprocessing, size);
                let expected: Vec<f32> =
                    rgb.chunks_exact(3).flat_map(|rgb| rgb.iter().map(normalise).chain([0.0])).collect();
                // One level, where a sum lies close to the middle of two.
                let level = if preprocessing.filter == Filter::Nearest { 0.0 } else { preprocessing.scale };
                let what = format!("{name} of {width}×{height} as {storage}");
                assert_close(&what, &actual, &expected, &[24, 30, 4], level + 1e-6 + rounding, 0.0);
            }
        }
    }
}
