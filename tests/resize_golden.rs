//! Resized photos equal Python's: Pillow's and timm's bytes, and TensorFlow's values, on the CPU and the GPU.

mod common;

use std::collections::BTreeMap;

use common::{Random, assert_close, block_on, data, gpu, read};
use safetensors::{Dtype as Stored, SafeTensors};
use sha2::{Digest, Sha256};
use xception::backend::gpu::{Preprocessor, Runner, Tensors};
use xception::backend::{Gpu, Readback};
use xception::dtype::Dtype;
use xception::error::Result;
use xception::plan::{Plan, Slot};
use xception::resize::{Preprocessing, Rgba, resize};

/// A photo and how it is resized.
#[derive(Debug)]
struct Case {
    seed: u64,
    photo: [usize; 2],
    preprocessing: Preprocessing,
    size: [usize; 2],
}

impl Case {
    /// The photo of `tools/oracle.py`.
    fn photo(&self) -> Rgba {
        let mut random = Random(self.seed);
        let [width, height] = self.photo;
        let words = 3 * width * height / 8 + 1;
        let bytes: Vec<u8> = (0..words).flat_map(|_| random.bits().to_le_bytes()).collect();
        let level = |&byte: &u8| if self.seed.is_multiple_of(3) { [0, 255][usize::from(byte >> 7)] } else { byte };
        let rgb = |rgb: &[u8]| [level(&rgb[0]), level(&rgb[1]), level(&rgb[2]), 255];
        Rgba::new(width, height, bytes[..3 * width * height].chunks_exact(3).flat_map(rgb).collect()).unwrap()
    }
}

/// Levels from 0 to 255, unscaled.
fn plain(filter: &str, fit: &str, crop: f64) -> Preprocessing {
    Preprocessing {
        filter: filter.parse().unwrap(),
        fit: fit.parse().unwrap(),
        crop,
        scale: [1.0; 3],
        offset: [0.0; 3],
        bgr: false,
    }
}

/// The cases of `tests/data/resize.txt`, with the SHA-256 of their bytes.
fn hashed() -> Vec<(Case, String)> {
    let text = String::from_utf8(read(&data("resize.txt"))).unwrap();
    let case = |line: &str| {
        let [seed, width, height, filter, fit, crop, rows, columns, hash] = line.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{line}");
        };
        let number = |text: &str| text.parse::<usize>().unwrap();
        let preprocessing = plain(filter, fit, crop.parse().unwrap());
        let (photo, size) = ([number(width), number(height)], [number(rows), number(columns)]);
        (Case { seed: number(seed) as u64, photo, preprocessing, size }, hash.to_owned())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(case).collect()
}

/// The cases of `tests/data/resize_tf.safetensors`, with their levels.
fn tensorflow() -> Vec<(Case, Vec<f32>)> {
    let file = read(&data("resize_tf.safetensors"));
    let case = |(name, tensor): (String, safetensors::tensor::TensorView)| {
        let [seed, _, filter, fit, _] = name.split('.').collect::<Vec<_>>()[..] else { panic!("{name}") };
        let sides = |field: usize| name.split('.').nth(field).unwrap().split('x').map(|side| side.parse().unwrap());
        let (photo, size) = (Vec::from_iter(sides(1)), Vec::from_iter(sides(4)));
        let [photo, size] = [photo, size].map(|sides| sides.try_into().unwrap());
        let levels = match tensor.dtype() {
            Stored::U8 => tensor.data().iter().map(|&level| level.into()).collect(),
            _ => bytemuck::pod_collect_to_vec(tensor.data()),
        };
        (Case { seed: seed.parse().unwrap(), photo, preprocessing: plain(filter, fit, 1.0), size }, levels)
    };
    SafeTensors::deserialize(&file).unwrap().tensors().into_iter().map(case).collect()
}

/// The cases for which the GPU has the same pipelines.
fn grouped<T>(cases: Vec<(Case, T)>) -> Vec<Vec<(Case, T)>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for case in cases {
        let interpolates = case.0.preprocessing.filter.to_string() == "tf-bilinear";
        groups.entry((case.0.size, interpolates)).or_default().push(case);
    }
    groups.into_values().collect()
}

/// The GPU's levels for the photos of one group, `[height][width][3]`.
fn on_the_gpu<'a>(gpu: &Gpu, cases: impl Iterator<Item = &'a Case>) -> Result<Vec<Vec<f32>>> {
    let mut cases = cases.peekable();
    let Case { size, preprocessing, .. } = cases.peek().expect("a case");
    let slot = Slot { len: size[0] * size[1] * 4, dtype: Dtype::F32 };
    let plan = Plan { slots: vec![slot], ..Plan::default() };
    block_on(async {
        let runner = Runner::new(&plan, Tensors::new(gpu, &plan).await?).await?;
        let mut preprocessor = Preprocessor::new(gpu, *preprocessing, *size, runner.slot(0), Dtype::F32).await?;
        let mut images = Vec::new();
        for case in cases {
            let sides = case.photo.map(|side| side as u32);
            preprocessor.prepare(sides, case.preprocessing, 0, runner.slot(0)).await?;
            preprocessor.upload(&case.photo());
            let values = runner.submit(|pass| preprocessor.encode(pass), .., 1, 0, slot.len)?.read().await?;
            images.push(values.chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect());
        }
        Ok(images)
    })
}

/// The SHA-256 of levels that are whole numbers.
fn hash(levels: &[f32]) -> String {
    let bytes: Vec<u8> = levels.iter().map(|&level| level as u8).collect();
    assert!(levels.iter().zip(&bytes).all(|(&level, &byte)| level == f32::from(byte)), "levels are not whole numbers");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Panics unless all cases have the same bytes, and names those that have not.
fn check(what: &str, results: Vec<(&Case, &String, Vec<f32>)>) {
    let count = results.len();
    let off: Vec<_> = results.into_iter().filter(|(_, expected, levels)| hash(levels) != **expected).collect();
    let names: Vec<_> = off.iter().map(|(case, ..)| format!("{case:?}")).collect();
    assert!(off.is_empty(), "{what}: {} of {count} images have other bytes:\n{}", off.len(), names.join("\n"));
}

#[test]
fn bytes_on_the_cpu_are_those_of_pillow_and_timm() {
    let cases = hashed();
    assert_eq!(cases.len(), 300);
    let resized = |(case, expected)| (case, expected, resize(&Case::photo(case), case.preprocessing, case.size));
    check("CPU", cases.iter().map(|(case, expected)| (case, expected)).map(resized).collect());
}

#[test]
fn bytes_on_the_gpu_are_those_of_pillow_and_timm() {
    let gpu = gpu();
    for cases in grouped(hashed()) {
        let images = on_the_gpu(&gpu, cases.iter().map(|(case, _)| case)).unwrap();
        check("GPU", cases.iter().zip(images).map(|((case, expected), image)| (case, expected, image)).collect());
    }
}

#[test]
fn levels_are_those_of_tensorflow() {
    let gpu = gpu();
    let groups = grouped(tensorflow());
    assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 48);
    for cases in groups {
        let images = on_the_gpu(&gpu, cases.iter().map(|(case, _)| case)).unwrap();
        for ((case, expected), on_gpu) in cases.iter().zip(images) {
            let on_cpu = resize(&case.photo(), case.preprocessing, case.size);
            // Nearest chooses, bilinear rounds to f32 five times.
            let atol = if case.preprocessing.filter.to_string() == "tf-nearest" { 0.0 } else { 1e-4 };
            for (actual, unit) in [(on_cpu, "CPU"), (on_gpu, "GPU")] {
                assert_close(
                    &format!("{unit}, {case:?}"),
                    &actual,
                    expected,
                    &[case.size[0], case.size[1], 3],
                    atol,
                    0.0,
                );
            }
        }
    }
}
