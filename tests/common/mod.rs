//! Shared by the test files: the test image, random numbers, the comparison, the GPU, and the files of `tests/data`.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code)]

pub mod fixtures;
#[cfg(feature = "gpu")]
pub mod layers;
#[cfg(feature = "cli")]
pub mod resize;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use ruzstd::decoding::StreamingDecoder;
use safetensors::SafeTensors;
#[cfg(feature = "gpu")]
use xception::backend::Gpu;
use xception::network::HeadLayer;
use xception::network::activation::Function;

/// The labelled photos of the kitchenware package; its `train.csv` names them.
pub const KITCHEN_LABELS: [(&str, &str); 9] = [
    ("0004", "plate"),
    ("0009", "cup"),
    ("0013", "knife"),
    ("0020", "cup"),
    ("0026", "plate"),
    ("0207", "spoon"),
    ("0299", "cup"),
    ("0403", "cup"),
    ("0412", "fork"),
];

/// The test image of `tools/make_golden.py`: RGB, `[height][width][3]`.
pub fn pattern(height: usize, width: usize) -> Vec<u8> {
    let value = |y: usize, x: usize, c: usize| y * 31 + x * 17 + c * 101 + x * y % 53 * 5 + (x / 9 + y / 7) % 2 * 90;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    pixels.flat_map(|(y, x)| [0, 1, 2].map(|c| (value(y, x, c) % 256) as u8)).collect()
}

/// Panics unless `|actual − expected| ≤ atol + rtol · |expected|` everywhere; NaN is never close.
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], shape: &[usize], atol: f32, rtol: f32) {
    let len: usize = shape.iter().product();
    assert_eq!((actual.len(), expected.len()), (len, len), "{what}: lengths, for the shape {shape:?}");
    // The error of a value in units of its tolerance.
    let excess = |(&a, &b): (&f32, &f32)| {
        let (error, tolerance) = ((a - b).abs(), atol + rtol * b.abs());
        if error <= tolerance {
            0.0
        } else if error.is_nan() {
            f32::INFINITY
        } else {
            error / tolerance
        }
    };
    let excesses: Vec<f32> = actual.iter().zip(expected).map(excess).collect();
    let off = excesses.iter().filter(|&&excess| excess > 0.0).count();
    let Some((worst, _)) = excesses.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).filter(|_| off > 0) else {
        return;
    };
    let (mut place, mut rest) = (vec![0; shape.len()], worst);
    for (coordinate, &length) in place.iter_mut().zip(shape).rev() {
        (*coordinate, rest) = (rest % length, rest / length);
    }
    let (a, b) = (actual[worst], expected[worst]);
    panic!(
        "{what}: {off} of {len} values are off; worst at {place:?} of {shape:?}: {a} instead of {b}, error {}, \
         tolerance {atol} + {rtol}·|{b}|",
        (a - b).abs()
    );
}

/// SplitMix64: the same numbers on every machine.
pub struct Random(pub u64);

impl Random {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to but not including `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// A value from −1 up to but not including 1.
    pub fn value(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Many of them.
    pub fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.value()).collect()
    }
}

/// The mean, and dense layers of these names and units with ReLU between.
pub fn dense_head(dense: &[(&str, usize)]) -> Vec<HeadLayer> {
    let relu = |place: usize| (place + 1 < dense.len()).then_some(Function::Relu);
    let dense = dense.iter().enumerate().map(|(place, &(name, units))| HeadLayer::dense(name, units, relu(place)));
    [HeadLayer::average()].into_iter().chain(dense).collect()
}

/// Waits for a future that the GPU completes.
#[cfg(not(target_arch = "wasm32"))]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// The machine's GPU.
///
/// # Panics
/// Without one: a test that skips proves nothing.
#[cfg(feature = "gpu")]
pub fn gpu() -> Gpu {
    block_on(Gpu::new()).unwrap_or_else(|error| panic!("these tests need a GPU, lavapipe will do: {error}"))
}

/// The path of a file of `tests/data`.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The bytes of a file.
///
/// # Panics
/// If the file is missing.
pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{} (tools/make_golden.py writes it): {error}", path.display()))
}

/// A weights file of `tests/data`, decompressed once.
pub fn fixture(name: &str) -> Vec<u8> {
    static FILES: LazyLock<Mutex<HashMap<String, Arc<[u8]>>>> = LazyLock::new(Mutex::default);
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let file = files.entry(name.to_owned()).or_insert_with(|| decompressed(name).into()).clone();
    drop(files);
    file.to_vec()
}

/// A weights file of `tests/data`, decompressed.
pub fn decompressed(name: &str) -> Vec<u8> {
    let packed = read(&data(&format!("{name}.zst")));
    let mut decoder = StreamingDecoder::new(packed.as_slice()).expect("a zstd file");
    let mut file = Vec::new();
    decoder.read_to_end(&mut file).expect("an undamaged zstd file");
    file
}

/// Values computed by Keras, PIL and timm, by name; `None` for others.
pub struct Golden([SafeTensors<'static>; 4]);

impl Golden {
    /// Images of 8 bits.
    pub fn bytes(&self, name: &str) -> Option<&'static [u8]> {
        self.0.iter().find_map(|file| file.tensor(name).ok()).map(|tensor| tensor.data())
    }

    /// Values.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.bytes(name).map(bytemuck::pod_collect_to_vec)
    }

    /// Indices.
    pub fn integers(&self, name: &str) -> Option<Vec<i64>> {
        self.bytes(name).map(bytemuck::pod_collect_to_vec)
    }
}

/// The values in `tests/data/golden*.safetensors` and `networks.safetensors`.
pub fn golden() -> &'static Golden {
    static GOLDEN: LazyLock<Golden> = LazyLock::new(|| {
        Golden(
            ["golden.safetensors", "golden_timm.safetensors", "networks.safetensors", "inception.safetensors"]
                .map(|name| SafeTensors::deserialize(read(&data(name)).leak()).expect("an undamaged safetensors file")),
        )
    });
    &GOLDEN
}
