//! What runs on the CPU before the GPU has anything to do: `cargo bench`.

use std::fs;
use std::hint::black_box;
use std::io::{Cursor, Read};
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use xception::image::decode;
use xception::limits::Limits;
use xception::resize::{Filter, Fit, Preprocessing, Rgba, resize};
use xception::weights::{Overrides, convert};

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A picture of the size that phones make, 12 megapixels: gradients, edges and some noise.
fn picture() -> RgbImage {
    RgbImage::from_fn(4000, 3000, |x, y| {
        let noise = x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519);
        let value = |c: u32| x / 16 + y / 12 * c + (x / 90 + y / 70) % 2 * 60 + (noise >> 29);
        Rgb([1, 2, 3].map(|c| value(c) as u8))
    })
}

fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cpu");
    group.sample_size(10);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    let picture = picture();
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).expect("an encoder");
        let name = format!("decode {format:?}, 12 MP");
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(file.get_ref()), &Limits::default())));
    }
    let photo = DynamicImage::ImageRgb8(picture).into_rgba8();
    let photo = Rgba::new(4000, 3000, photo.into_raw()).expect("the pixels of its size");
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
        for fit in [Fit::Squash, Fit::Crop] {
            let preprocessing = Preprocessing { filter, fit, ..Preprocessing::default() };
            group.bench_function(format!("resize {filter:?} {fit:?}, 12 MP to 299×299"), |bencher| {
                bencher.iter(|| resize(black_box(&photo), preprocessing, [299; 2]));
            });
        }
    }
    // Reading HDF5, folding batch norm, and writing this project's format.
    for name in ["keras3.weights.h5", "timm.safetensors"] {
        let packed = data(&format!("{name}.zst"));
        let mut file = Vec::new();
        let mut reader = ruzstd::decoding::StreamingDecoder::new(&packed[..]).expect("zstd");
        reader.read_to_end(&mut file).expect("zstd");
        group.bench_function(format!("fold {name}"), |bencher| {
            bencher.iter_batched(
                || file.clone(),
                |file| convert(file, Overrides::default()),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
