//! The network against Keras and timm: values that `tools/make_golden.py` wrote are the only oracles of a planning error.

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::fixtures::{kitchen_file, overflowing_file, photos, random_file};
use common::{KITCHEN_LABELS, Random, assert_close, block_on, fixture, golden, gpu, pattern};
use xception::classifier::{Classifier, Options};
use xception::dtype::Dtype;
use xception::gpu::Gpu;
use xception::image::decode;
use xception::network::layer::Shape;
use xception::shader::Precision;
use xception::tile::{Algorithm, ProblemSize, Tuning};
use xception::weights::safetensors::{Header, Model};
use xception::weights::{Overrides, convert};

const KERAS: &str = "keras3.weights.h5";
const ATOL: f32 = 1e-3;
const RTOL: f32 = 1e-3;

/// As a GPU or as a software adapter would compute it.
fn stored(storage: Dtype, software: bool) -> Options {
    Options { storage: Some(storage), tuning: Some(Tuning::untuned(software)) }
}

/// The kitchenware model on the GPU, stored there as `storage`.
fn kitchen_classifier(dtype: Dtype, storage: Dtype, software: bool) -> Classifier {
    block_on(Classifier::load(&gpu(), &kitchen_file(dtype), stored(storage, software))).unwrap()
}

/// The random network of a fixture on the GPU.
fn random_network(file: &str, side: usize, how: Options, change: Option<&str>) -> Classifier {
    block_on(Classifier::load(&gpu(), &random_file(file, side, change), how)).unwrap()
}

/// Runs the plan piece by piece and compares each layer that the oracle wrote down: 18 of them.
fn compare_layers(classifier: &mut Classifier, oracle: &str, side: usize) {
    // f16 rounds to 11 bits, layer after layer.
    let (atol, rtol) = if classifier.plan().storage == Dtype::F16 { (5e-2, 2e-2) } else { (ATOL, RTOL) };
    classifier.upload_pixels(&pattern(side, side)).unwrap();
    let plan = classifier.plan().clone();
    let golden = golden();
    let mut next = 0;
    let mut compared = 0;
    for (index, pass) in plan.passes.iter().enumerate() {
        // A .weights.h5 file does not know what its dense layer was called.
        let layer = if pass.label == "dense" { "predictions" } else { pass.label.trim_end_matches(".pointwise") };
        let Some(sums) = golden.floats(&format!("{oracle}{side}.{layer}.sums")) else { continue };
        let len = pass.op.output_len();
        let values =
            block_on(classifier.runner().submit(|_| {}, next..=index, 1, pass.writes, len).unwrap().read()).unwrap();
        next = index + 1;
        compared += 1;
        let channels = sums.len();
        let pixels = (len / channels) as f32;
        let means: Vec<f32> =
            (0..channels).map(|c| values[c..].iter().step_by(channels).sum::<f32>() / pixels).collect();
        let expected: Vec<f32> = sums.iter().map(|sum| sum / pixels).collect();
        assert_close(&format!("{layer}'s channel means at {side}"), &means, &expected, &[channels], atol, rtol);
        let places = golden.integers(&format!("{oracle}{side}.{layer}.places")).unwrap();
        let samples: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
        let expected = golden.floats(&format!("{oracle}{side}.{layer}.values")).unwrap();
        assert_close(&format!("{layer} at {side}, sampled"), &samples, &expected, &[expected.len()], atol, rtol);
    }
    assert_eq!(compared, 18, "every layer that was written down is compared");
}

#[test]
fn layers_agree_with_keras_at_150() {
    for storage in [Dtype::F32, Dtype::F16] {
        for software in [false, true] {
            compare_layers(&mut random_network(KERAS, 150, stored(storage, software), None), "", 150);
        }
    }
}

#[test]
fn layers_agree_with_keras_at_299() {
    compare_layers(&mut random_network(KERAS, 299, stored(Dtype::F32, false), None), "", 299);
}

/// timm pads its max pooling otherwise, which counts where a length is even: 72 and 36 at 150 pixels, 74 at 299.
#[test]
fn layers_agree_with_timm() {
    for side in [150, 299] {
        compare_layers(&mut random_network("timm.safetensors", side, stored(Dtype::F32, true), None), "timm.", side);
    }
}

#[test]
#[should_panic(expected = "block9_sepconv3's channel means at 150")]
fn one_changed_weight_is_noticed() {
    compare_layers(
        &mut random_network(KERAS, 150, stored(Dtype::F32, false), Some("block9_sepconv2.pointwise.weight")),
        "",
        150,
    );
}

#[test]
fn activations_of_any_layer_agree_with_keras() {
    let mut classifier = random_network(KERAS, 150, stored(Dtype::F32, true), None);
    let layers: Vec<_> = classifier.network().readable().map(|(name, shape)| (name.to_owned(), shape)).collect();
    assert_eq!(layers.len(), 42, "36 convolutions, 4 poolings, the mean, the dense layer");
    let mut compared = 0;
    for (layer, shape) in layers {
        // A .weights.h5 file does not know what its dense layer was called.
        let oracle = if layer == "dense" { "predictions" } else { &layer };
        let Some(places) = golden().integers(&format!("150.{oracle}.places")) else { continue };
        classifier.upload_pixels(&pattern(150, 150)).unwrap();
        let values = block_on(classifier.activations(&layer).unwrap().read()).unwrap();
        assert_eq!(values.len(), shape.len());
        let samples: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
        let expected = golden().floats(&format!("150.{oracle}.values")).unwrap();
        assert_close(&layer, &samples, &expected, &[expected.len()], ATOL, RTOL);
        compared += 1;
    }
    assert_eq!(compared, 18);
    for name in ["block3_shortcut", "block99", ""] {
        assert_eq!(classifier.activations(name).err().unwrap().code(), "bad-argument");
    }
}

/// Class activation maps of some classes against the oracle's.
fn compare_maps(classifier: &mut Classifier, oracle: &str, classes: &[usize], atol: f32, rtol: f32) {
    for &class in classes {
        let map = block_on(classifier.explain(class).unwrap().read()).unwrap();
        let expected = golden().floats(&format!("explain.{oracle}.{class}")).unwrap();
        let Shape { height, width, .. } = classifier.network().features();
        assert_close(&format!("map of {class} in {oracle}"), &map, &expected, &[height, width], atol, rtol);
    }
}

/// One dense layer, and two of which the first has a ReLU.
#[test]
fn class_maps_agree_with_keras() {
    for (storage, atol, rtol) in [(Dtype::F32, ATOL, RTOL), (Dtype::F16, 2e-1, 2e-2)] {
        let mut random = random_network(KERAS, 150, stored(storage, false), None);
        random.upload_pixels(&pattern(150, 150)).unwrap();
        block_on(random.classify(1)).unwrap();
        compare_maps(&mut random, "150", &[0, 7, 999], atol, rtol);
        let mut kitchen = kitchen_classifier(Dtype::F32, storage, true);
        for name in ["0009", "0412"] {
            let photo = decode(&fs::read(&photos()[name]).unwrap()).unwrap();
            block_on(kitchen.upload(&photo)).unwrap();
            block_on(kitchen.classify(1)).unwrap();
            compare_maps(&mut kitchen, &format!("kitchen.{name}"), &[0, 1, 2, 3, 4, 5], atol, rtol);
        }
        assert_eq!(kitchen.explain(6).err().unwrap().code(), "bad-argument");
    }
}

/// Logits of all photos against Keras's, within a tolerance; the largest difference.
fn compare_logits(classifier: &mut Classifier, atol: f32, rtol: f32) -> f32 {
    let golden = golden();
    let photos = photos();
    assert_eq!(photos.len(), 18);
    let mut largest = 0.0_f32;
    for (name, path) in photos {
        let photo = decode(&fs::read(path).unwrap()).unwrap();
        block_on(classifier.upload(&photo)).unwrap();
        let logits = block_on(classifier.logits()).unwrap();
        let expected = golden.floats(&format!("kitchen.{name}")).unwrap();
        assert_close(&format!("logits of {name}"), &logits, &expected, &[6], atol, rtol);
        largest = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(largest, f32::max);
    }
    largest
}

#[test]
fn kitchenware_logits_agree_with_keras() {
    let largest = compare_logits(&mut kitchen_classifier(Dtype::F32, Dtype::F32, true), ATOL, RTOL);
    println!("largest difference of a logit from Keras's: {largest:.1e}");
}

#[test]
fn kitchenware_logits_from_f16_agree_with_keras() {
    let largest = compare_logits(&mut kitchen_classifier(Dtype::F16, Dtype::F16, true), 2e-2, 2e-2);
    println!("largest difference of a logit from Keras's, stored as f16: {largest:.1e}");
}

/// Every product from f16 too, where the device computes with it: the same first classes, and logits nearly as close.
#[test]
fn kitchenware_logits_computed_in_f16_agree_with_keras() {
    let file = kitchen_file(Dtype::F16);
    let network = Header::parse(&file).unwrap().network;
    let mut tuning = Tuning::untuned(false);
    for layer in &network.layers {
        let Some(kind) = ProblemSize::of(layer, 1) else { continue };
        tuning.insert(kind, tuning.algorithm(layer, 1).halved().unwrap());
    }
    let gpu = gpu();
    assert!(gpu.has_f16(), "{} has no shader-f16", gpu.info.name);
    let options = Options { storage: Some(Dtype::F16), tuning: Some(tuning) };
    let mut classifier = block_on(Classifier::load(&gpu, &file, options)).unwrap();
    let halves = classifier.plan().pipelines().0.into_iter().filter(|pipeline| pipeline.precision == Precision::Half);
    assert!(halves.count() >= 10);
    let largest = compare_logits(&mut classifier, 2e-2, 2e-2);
    println!("largest difference of a logit from Keras's, computed in f16: {largest:.1e}");
}

/// A file of 8 bits, computed from f32 and from f16, has the same first class as one of 32 bits.
#[test]
fn every_dtype_agrees_on_the_first_class() {
    let ways = [(Dtype::F32, Dtype::F32), (Dtype::I8, Dtype::F32), (Dtype::I8, Dtype::F16)];
    let first = ways.map(|(dtype, storage)| {
        let mut classifier = kitchen_classifier(dtype, storage, true);
        let first = |path: PathBuf| {
            let photo = decode(&fs::read(path).unwrap()).unwrap();
            block_on(classifier.upload(&photo)).unwrap();
            block_on(classifier.classify(1)).unwrap()[0].label.clone()
        };
        photos().into_values().map(first).collect::<Vec<_>>()
    });
    for (way, labels) in ways.iter().zip(&first) {
        assert_eq!(labels, &first[0], "{way:?}");
    }
}

/// The paper's JFT head, with the limits that every WebGPU device grants: more weights than a binding holds.
#[test]
fn seventeen_thousand_classes_are_answered() {
    let gpu = block_on(Gpu::with_default_limits()).unwrap();
    let mut model = Model::deserialize(&convert(fixture(KERAS), Overrides::default()).unwrap()).unwrap();
    model.meta.input_size = [71; 2];
    model.meta.head[0].units = 17_000;
    let mut random = Random(17);
    let backbone = model.tensors.len() - 2;
    model.tensors.truncate(backbone);
    model.tensors.extend([random.values(17_000 * 2048), random.values(17_000)]);
    let file = model.serialize(Dtype::F32).unwrap();
    for storage in [Dtype::F32, Dtype::F16] {
        let mut classifier = block_on(Classifier::load(&gpu, &file, stored(storage, true))).unwrap();
        assert!(storage == Dtype::F16 || classifier.plan().weight_bytes() > 200_000_000);
        classifier.upload_pixels(&pattern(71, 71)).unwrap();
        let logits = block_on(classifier.logits()).unwrap();
        let plan = classifier.plan();
        let features =
            block_on(classifier.runner().submit(|_| {}, ..0, 1, plan.embedding, 2048).unwrap().read()).unwrap();
        let [weight, bias] = &model.tensors[backbone..] else { panic!("no head") };
        let weight = storage.decode(&storage.encode(weight));
        let rows = weight.chunks_exact(2048).zip(bias);
        let logit = |(row, bias): (&[f32], &f32)| row.iter().zip(&features).map(|(w, x)| w * x).sum::<f32>() + bias;
        let expected: Vec<f32> = rows.map(logit).collect();
        assert_close(&format!("logits as {storage}"), &logits, &expected, &[17_000], ATOL, RTOL);
        let best = (0..17_000).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        assert_eq!(block_on(classifier.classify(1)).unwrap()[0].index, best);
        // The last class's weights are in the second part of them.
        classifier.upload_pixels(&pattern(71, 71)).unwrap();
        block_on(classifier.classify(1)).unwrap();
        let map = block_on(classifier.explain(16_999).unwrap().read()).unwrap();
        let mean = map.iter().sum::<f32>() / map.len() as f32;
        assert_close("a map's mean", &[mean + bias[16_999]], &logits[16_999..], &[1], ATOL, RTOL);
    }
}

/// They would be part of a photo, or beyond it.
#[test]
fn another_number_of_pixels_is_refused() {
    let mut classifier = kitchen_classifier(Dtype::F32, Dtype::F32, true);
    classifier.upload_pixels(&pattern(150, 150)).unwrap();
    let input = block_on(classifier.input()).unwrap();
    for length in [0, 3, 3 * 150 * 150 - 1, 3 * 150 * 150 + 1] {
        let error = classifier.upload_pixels(&vec![0; length]).expect_err(&format!("{length} bytes"));
        assert_eq!((error.code(), error.to_string().contains("67500 values")), ("bad-argument", true), "{error}");
    }
    assert!(input == block_on(classifier.input()).unwrap(), "the photo before is still there");
}

#[test]
fn labelled_photos_are_right() {
    let mut classifier = kitchen_classifier(Dtype::F32, Dtype::F32, true);
    let photos = photos();
    for (name, label) in KITCHEN_LABELS {
        let photo = decode(&fs::read(&photos[name]).unwrap()).unwrap();
        block_on(classifier.upload(&photo)).unwrap();
        let five = block_on(classifier.classify(5)).unwrap();
        assert_eq!(five[0].label, label, "photo {name}: {five:?}");
        assert_eq!(five.len(), 5);
        assert!(five.windows(2).all(|pair| pair[0].score >= pair[1].score), "{five:?}");
        // All classes are more than five, so they sum to one; more than there are is all of them.
        let all = block_on(classifier.classify(100)).unwrap();
        assert_eq!(all.len(), 6);
        assert_close("sum of probabilities", &[all.iter().map(|p| p.score).sum()], &[1.0], &[1], 1e-5, 0.0);
        assert_eq!(all[..5], five);
    }
}

/// A photo after a photo: nothing of the first one stays.
#[test]
fn photos_do_not_influence_each_other() {
    let mut classifier = kitchen_classifier(Dtype::F32, Dtype::F32, true);
    let photos = photos();
    let mut logits = |name: &str| {
        let photo = decode(&fs::read(&photos[name]).unwrap()).unwrap();
        block_on(classifier.upload(&photo)).unwrap();
        block_on(classifier.logits()).unwrap()
    };
    let first = logits("0004");
    let second = logits("0207");
    assert_ne!(first, second);
    assert_eq!(logits("0004"), first, "the same photo gives the same logits to the bit");
}

/// Weights that are too large for f32 are no fault of the device's.
#[test]
fn an_output_that_is_no_number_is_refused() {
    let mut classifier = block_on(Classifier::load(&gpu(), &overflowing_file(), stored(Dtype::F32, true))).unwrap();
    classifier.upload_pixels(&pattern(71, 71)).unwrap();
    let error = block_on(classifier.classify(5)).unwrap_err();
    assert_eq!(error.code(), "bad-output", "{error}");
}

/// However short the time, a method is tried each time, and no more photos than are ever computed at once.
#[test]
fn tuning_goes_on_where_it_ended() {
    let gpu = gpu();
    let network = Header::parse(&random_file(KERAS, 71, None)).unwrap().network;
    let mut text = String::new();
    for tried in 1..=2 {
        let mut tuning = gpu.untuned();
        tuning.read(&text);
        block_on(gpu.tune(&mut tuning, &network, Dtype::F32, 2, Duration::ZERO)).unwrap();
        text = tuning.to_string();
        let left = Algorithm::exact().count() - tried;
        assert!(text.lines().count() == 1 && text.contains("5×5×728 to 728, 2 at once: "), "{text}");
        assert!(text.ends_with(&format!(" ns, {left} left\n")), "{text}");
    }
    let error = block_on(gpu.tune(&mut gpu.untuned(), &network, Dtype::F32, 33, Duration::ZERO)).unwrap_err();
    assert_eq!(error.code(), "bad-argument", "{error}");
    assert!(error.to_string().contains("32 photos"), "{error}");
}
