//! Photos of the kitchenware package: logits against Keras's, labels, and batches.

use std::ops::Range;

use xception::limits::Limits;
use xception::prediction::Prediction;
use xception::shader::Precision;
use xception::tile::ProblemSize;

use super::*;
use crate::common::KITCHEN_LABELS;

/// Logits within a tolerance of Keras's, and the same top class.
fn compare_logits<B: Backend>(classifier: &mut Classifier<B>, what: &str, count: usize, tolerance: f32) {
    let photos = photos();
    assert_eq!(photos.len(), 18);
    let first = |logits: &[f32]| (0..6).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    let mut largest = 0.0_f32;
    for (name, path) in photos.into_iter().take(count) {
        upload(classifier, &path);
        let logits = block_on(classifier.logits()).unwrap();
        let expected = golden().floats(&format!("kitchen.{name}")).unwrap();
        let name = format!("{what}, logits of {name}");
        assert_close(&name, &logits, &expected, &[6], tolerance, tolerance);
        assert_eq!(first(&logits), first(&expected), "{name}: {logits:?}");
        largest = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(largest, f32::max);
    }
    println!("{what}: largest difference of a logit from Keras's {largest:.1e}");
}

/// The number of photos: all on the CPU, few on a software adapter, which takes seconds for each.
fn count(gpu: &Gpu) -> usize {
    if gpu.is_software() { 2 } else { 18 }
}

/// Files of every dtype, loaded as every dtype: f16 and i8 change logits slightly, and never the top class.
#[test]
fn kitchenware_logits_agree_with_keras_on_a_gpu() {
    let gpu = gpu();
    for (dtype, storage, tolerance) in [
        (Dtype::F32, Dtype::F32, ATOL),
        (Dtype::F16, Dtype::F16, 2e-2),
        (Dtype::I8, Dtype::F32, 4e-1),
        (Dtype::I8, Dtype::F16, 4e-1),
    ] {
        let mut classifier = load(&gpu, &kitchen_file(dtype), stored(storage, GpuKind::Software));
        compare_logits(&mut classifier, &format!("{dtype} on the GPU as {storage}"), count(&gpu), tolerance);
    }
}

#[test]
fn kitchenware_logits_agree_with_keras_on_the_cpu() {
    for (dtype, tolerance) in [(Dtype::F32, ATOL), (Dtype::F16, 2e-2), (Dtype::I8, 4e-1)] {
        let mut classifier = load(&Cpu::new(), &kitchen_file(dtype), Options::default());
        assert_eq!(classifier.storage(), dtype);
        compare_logits(&mut classifier, &format!("{dtype} on the CPU"), 18, tolerance);
    }
}

/// Products computed in f16, where the device has shader-f16: the same top classes, and logits nearly as close.
#[test]
fn kitchenware_logits_computed_in_f16_agree_with_keras() {
    let file = kitchen_file(Dtype::F16);
    let network = Header::parse(&file).unwrap().network;
    let mut tuning = Tuning::untuned(GpuKind::FewRegisters);
    for layer in &network.layers {
        let Some(size) = ProblemSize::of(layer, 1) else { continue };
        tuning.insert(size, tuning.algorithm(layer, 1).halved().unwrap());
    }
    let gpu = gpu();
    assert!(gpu.has_f16(), "{} has no shader-f16", gpu.info.name);
    let options = Options { storage: Some(Dtype::F16), tuning: Some(tuning) };
    let mut classifier = load(&gpu, &file, options);
    let plan = classifier.plan();
    let halves = plan.pipelines(&plan.passes).0.into_iter().filter(|pipeline| pipeline.precision == Precision::Half);
    assert!(halves.count() >= 10);
    compare_logits(&mut classifier, "computed in f16", count(&gpu), 2e-2);
}

/// A batch gets the answers of single photos, also after smaller and larger batches on the same device.
fn compare_batches<B: Backend>(backend: &B, ranges: &[Range<usize>]) {
    let mut classifier = load(backend, &kitchen_file(Dtype::F32), Options::default());
    let all: Vec<_> =
        photos().values().take(3).map(|path| decode(&fs::read(path).unwrap(), &Limits::default()).unwrap()).collect();
    let mut alone = Vec::new();
    for photo in &all {
        block_on(classifier.upload(photo)).unwrap();
        alone.push(block_on(classifier.classify(6)).unwrap());
    }
    for range in ranges {
        let (photos, expected) = (&all[range.clone()], &alone[range.clone()]);
        let together = block_on(classifier.classify_batch(photos, 6)).unwrap();
        for (together, expected) in together.iter().zip(expected) {
            let scores = |answer: &[Prediction]| answer.iter().map(|p| p.score).collect::<Vec<_>>();
            assert_eq!(together[0].label, expected[0].label);
            assert_close("scores", &scores(together), &scores(expected), &[6], 1e-5, 1e-4);
        }
        assert_eq!(together.len(), photos.len());
    }
}

#[test]
fn photos_at_once_are_answered_as_one_by_one() {
    compare_batches(&gpu(), &[0..3, 1..3]);
    compare_batches(&Cpu::new(), &[0..2, 0..3, 1..3]);
}

fn compare_labels<B: Backend>(backend: &B, labelled: &[(&str, &str)]) {
    let mut classifier = load(backend, &kitchen_file(Dtype::F32), Options::default());
    for &(name, label) in labelled {
        upload(&mut classifier, &photos()[name]);
        let five = block_on(classifier.classify(5)).unwrap();
        assert_eq!(five[0].label, label, "photo {name}: {five:?}");
        assert_eq!(five.len(), 5);
        assert!(five.windows(2).all(|pair| pair[0].score >= pair[1].score), "{five:?}");
        // A top of more than the number of classes gives all of them, which sum to one.
        let all = block_on(classifier.classify(100)).unwrap();
        assert_eq!(all.len(), 6);
        assert_close("sum of probabilities", &[all.iter().map(|p| p.score).sum()], &[1.0], &[1], 1e-5, 0.0);
        assert_eq!(all[..5], five);
    }
}

#[test]
fn labelled_photos_are_right() {
    compare_labels(&gpu(), &KITCHEN_LABELS[..2]);
    compare_labels(&Cpu::new(), &KITCHEN_LABELS);
}

/// Nothing of a photo remains in the answer to the next one.
#[test]
fn photos_do_not_influence_each_other() {
    let mut classifier = load(&gpu(), &kitchen_file(Dtype::F32), stored(Dtype::F32, GpuKind::Software));
    let photos = photos();
    let mut logits = |name: &str| {
        upload(&mut classifier, &photos[name]);
        block_on(classifier.logits()).unwrap()
    };
    let first = logits("0004");
    let second = logits("0207");
    assert_ne!(first, second);
    assert_eq!(logits("0004"), first, "the same photo gives the same logits to the bit");
}
