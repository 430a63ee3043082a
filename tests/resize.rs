//! Resizing on the CPU against Pillow's images, and its properties for photos of every size. `resize_golden.rs` has more images.

mod common;

use common::resize::{photo, ways};
use common::{Random, golden, pattern};
use xception::resize::{self, Filter, Fit, PRECISION, Preprocessing, Rgba, Taps, seen, taps};

/// Resizes to 8 bits.
fn resize(photo: &Rgba, preprocessing: Preprocessing, size: [usize; 2]) -> Vec<u8> {
    resize::resize(photo, preprocessing, size).iter().map(|level| level.round() as u8).collect()
}

#[test]
fn images_are_pillows() {
    for (width, height) in [(200, 133), (90, 120), (20, 15)] {
        let photo = photo(width, height, &pattern(height, width), 255);
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
            for fit in [Fit::Squash, Fit::Crop] {
                let name = format!("resize.{width}x{height}.{filter}.{fit}");
                let actual = resize(&photo, Preprocessing { filter, fit, ..Preprocessing::default() }, [24, 30]);
                assert!(Some(&*actual) == golden().bytes(&name), "{name}");
            }
        }
    }
}

/// timm resizes to a larger size, 36×36 here, and keeps its centre.
#[test]
fn a_cropped_centre_is_timms() {
    let (filter, fit, crop) = (Filter::Bicubic, Fit::Crop, 0.82);
    for side in [20, 150] {
        let photo = photo(side, side, &pattern(side, side), 255);
        let actual = resize(&photo, Preprocessing { filter, fit, crop, ..Preprocessing::default() }, [30, 30]);
        assert!(Some(&*actual) == golden().bytes(&format!("resize.{side}x{side}.bicubic.centre")), "{side}");
    }
}

#[test]
fn another_filter_or_fit_is_noticed() {
    let photo = photo(200, 133, &pattern(133, 200), 255);
    let images: Vec<_> = ways().map(|(preprocessing, name)| (name, resize(&photo, preprocessing, [24, 30]))).collect();
    for (i, (name, image)) in images.iter().enumerate() {
        for (other_name, other) in &images[..i] {
            // The two differ only where a sample falls on a pixel's edge.
            assert!(image != other || name == "tf-nearest.squash", "{name} is {other_name}");
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
    // A crop of a row that brightens to the right is its middle.
    let ramp: Vec<u8> = (0..5000).flat_map(|x| [(x / 20) as u8; 3]).collect();
    let crop = Preprocessing { fit: Fit::Crop, ..Preprocessing::default() };
    assert!(resize(&photo(5000, 1, &ramp, 255), crop, [24, 30]).iter().all(|level| [124, 125].contains(level)));
}

#[test]
fn wrong_photos_are_refused() {
    for (width, height, len) in
        [(0, 1, 0), (1, 0, 0), (2, 2, 15), (2, 2, 17), (usize::MAX / 2, 1, 4), (1 << 31, 1 << 31, 0)]
    {
        assert!(Rgba::new(width, height, vec![0; len]).is_err(), "{width}×{height} of {len} bytes");
    }
}

/// Panics unless each output pixel is a mean of pixels of the photo.
fn check_taps(filter: Filter, taps: &Taps, length: usize, outputs: usize, what: &str) {
    assert_eq!((taps.spans.len(), taps.weights.len()), (outputs, outputs * taps.stride), "{what}");
    let (mut lowest, mut highest) = (u32::MAX, 0);
    for (&(first, count), weights) in taps.spans.iter().zip(taps.weights.chunks_exact(taps.stride)) {
        assert!((first + count) as usize <= length, "{what}: pixels {first} + {count}");
        (lowest, highest) = (lowest.min(first), highest.max(first + count));
        if filter == Filter::TfBilinear {
            let share = f32::from_bits(weights[0] as u32);
            assert!([1, 2].contains(&count) && (0.0..=1.0).contains(&share), "{what}: {count} taps, {share}");
            continue;
        }
        assert!(count >= 1 && count as usize <= taps.stride, "{what}: {count} taps, stride {}", taps.stride);
        let (used, rest) = weights.split_at(count as usize);
        let sum: i64 = used.iter().map(|&weight| i64::from(weight)).sum();
        // Each is rounded.
        assert!((sum - (1 << PRECISION)).abs() <= i64::from(count), "{what}: weights sum to {sum}");
        let most: i64 = used.iter().map(|&weight| 255 * i64::from(weight.abs())).sum();
        assert!(most + (1 << PRECISION) <= i64::from(i32::MAX), "{what}: sums of up to {most}");
        assert!(rest.iter().all(|&weight| weight == 0), "{what}: weights behind the last tap");
    }
    assert_eq!(taps.range(), (lowest, highest), "{what}");
    // The sizes for which the GPU's preprocessor has buffers.
    assert!(taps.weights.len() <= 6 * length + 7 * outputs, "{what}: {} weights", taps.weights.len());
}

/// The sides of a photo and of an input, small and large ones alike: uniform in the number of digits.
fn sides(random: &mut Random) -> ((usize, usize), [usize; 2]) {
    let mut side = |most: usize| {
        let bits = random.below(most.ilog2() as usize + 1);
        1 + random.below((2 << bits).min(most))
    };
    ((side(8192), side(8192)), [side(1024), side(1024)])
}

#[test]
fn taps_stay_inside_photos_of_any_size() {
    let mut random = Random(9);
    for case in 0..300 {
        let (photo, size) = sides(&mut random);
        for (preprocessing, name) in ways() {
            let preprocessing = Preprocessing { crop: [1.0, 0.8975, 0.01][case % 3], ..preprocessing };
            let (across, down) = taps(preprocessing, photo, size);
            let what = format!("{name} of {photo:?} to {size:?}");
            check_taps(preprocessing.filter, &across, photo.0, size[1], &format!("{what}, across"));
            check_taps(preprocessing.filter, &down, photo.1, size[0], &format!("{what}, down"));
        }
    }
    // Of a strip timm makes an image with more columns than 32 bits count, and keeps few.
    for (preprocessing, name) in ways().filter(|(preprocessing, _)| preprocessing.fit == Fit::Crop) {
        let preprocessing = Preprocessing { crop: 0.01, ..preprocessing };
        let (across, down) = taps(preprocessing, (1 << 27, 1), [71, 299]);
        check_taps(preprocessing.filter, &across, 1 << 27, 299, &name);
        check_taps(preprocessing.filter, &down, 1, 71, &name);
    }
}

/// The visible region agrees with where nearest-neighbour resizing samples.
#[test]
fn what_is_seen_is_what_is_resized() {
    let timm = Preprocessing { fit: Fit::Crop, crop: 0.8975, ..Preprocessing::default() };
    // Resized to 444×333; of the 145 columns that go, 72 are on the left.
    let expected = [72.0 / 444.0, 17.0 / 333.0, 299.0 / 444.0, 299.0 / 333.0];
    assert!(seen(timm, (640, 480), [299; 2]).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
    let mut random = Random(31);
    for case in 0..300 {
        let (photo, size) = sides(&mut random);
        for (preprocessing, name) in ways().filter(|(_, name)| name.contains("nearest")) {
            let preprocessing = Preprocessing { crop: [1.0, 0.8975][case % 2], ..preprocessing };
            let [x, y, width, height] = seen(preprocessing, photo, size);
            let (across, down) = taps(preprocessing, photo, size);
            for (begin, share, length, taps) in [(x, width, photo.0, across), (y, height, photo.1, down)] {
                let what = format!("{name} of {photo:?} to {size:?}: {share} from {begin}");
                assert!(begin >= 0.0 && begin + share < 1.0 + 1e-9, "{what}");
                for (index, &(first, _)) in taps.spans.iter().enumerate() {
                    let place = (begin + share * (index as f64 + 0.5) / taps.spans.len() as f64) * length as f64;
                    // The filters compute in f32.
                    let off = (place - f64::from(first) - 0.5).abs();
                    assert!(off < 0.51, "{what}: pixel {first} instead of {place}");
                }
            }
        }
    }
}
