//! The network against Keras and timm: values that `tools/make_golden.py` wrote are the only witnesses of a planning error.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{KITCHEN_LABELS, assert_close, block_on, fixture, golden, gpu, pattern};
use xception::classifier::Classifier;
use xception::image::decode;
use xception::resize::Filter;
use xception::weights::safetensors::Model;
use xception::weights::{Overrides, convert};

const KERAS: &str = "keras3.weights.h5";
const ATOL: f32 = 1e-3;
const RTOL: f32 = 1e-3;

fn kitchenware() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/kitchenware");
    assert!(
        folder.join("kitchenware.keras").exists(),
        "the kitchenware model is missing: run `npm test`, which fetches it"
    );
    folder
}

fn kitchen_classifier() -> Classifier {
    let labels = ["cup", "fork", "glass", "knife", "plate", "spoon"].map(str::to_owned).to_vec();
    let overrides = Overrides { labels: Some(labels), filter: Some(Filter::Nearest), ..Overrides::default() };
    let file = convert(fs::read(kitchenware().join("kitchenware.keras")).unwrap(), overrides).unwrap();
    block_on(Classifier::load(&gpu(), &file)).unwrap()
}

fn photos() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(kitchenware().join("photos")).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// The random network of a fixture for another input size, one of its weights changed where asked.
fn random_network(file: &str, side: usize, change: Option<&str>) -> Classifier {
    let mut model = Model::deserialize(&convert(fixture(file), Overrides::default()).unwrap()).unwrap();
    model.meta.input_size = [side; 2];
    if let Some(name) = change {
        let names = model.meta.network().unwrap().tensors();
        let tensor = names.iter().position(|(tensor, _)| tensor == name).unwrap();
        model.tensors[tensor][0] += 1.0;
    }
    block_on(Classifier::load(&gpu(), &model.serialize().unwrap())).unwrap()
}

/// Runs the plan piece by piece and compares each layer that the witness wrote down: 18 of them.
fn compare_layers(classifier: &mut Classifier, witness: &str, side: usize) {
    classifier.upload_pixels(&pattern(side, side));
    let plan = classifier.plan().clone();
    let golden = golden();
    let mut next = 0;
    let mut compared = 0;
    for (index, pass) in plan.passes.iter().enumerate() {
        // A .weights.h5 file does not know what its dense layer was called.
        let layer = if pass.label == "dense" { "predictions" } else { pass.label.trim_end_matches(".pointwise") };
        let Some(sums) = golden.floats(&format!("{witness}{side}.{layer}.sums")) else { continue };
        let len = pass.op.output_len();
        let bytes = block_on(classifier.runner().run(|_| {}, next..=index, pass.writes, 4 * len as u64)).unwrap();
        next = index + 1;
        compared += 1;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        let channels = sums.len();
        let pixels = (len / channels) as f32;
        let means: Vec<f32> =
            (0..channels).map(|c| values[c..].iter().step_by(channels).sum::<f32>() / pixels).collect();
        let expected: Vec<f32> = sums.iter().map(|sum| sum / pixels).collect();
        assert_close(&format!("{layer}'s channel means at {side}"), &means, &expected, &[channels], ATOL, RTOL);
        let places = golden.integers(&format!("{witness}{side}.{layer}.places")).unwrap();
        let samples: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
        let expected = golden.floats(&format!("{witness}{side}.{layer}.values")).unwrap();
        assert_close(&format!("{layer} at {side}, sampled"), &samples, &expected, &[expected.len()], ATOL, RTOL);
    }
    assert_eq!(compared, 18, "every layer that was written down is compared");
}

#[test]
fn layers_agree_with_keras_at_150() {
    compare_layers(&mut random_network(KERAS, 150, None), "", 150);
}

#[test]
fn layers_agree_with_keras_at_299() {
    compare_layers(&mut random_network(KERAS, 299, None), "", 299);
}

/// timm pads its max pooling otherwise, which counts where a length is even: 72 and 36 at 150 pixels, 74 at 299.
#[test]
fn layers_agree_with_timm() {
    for side in [150, 299] {
        compare_layers(&mut random_network("timm.safetensors", side, None), "timm.", side);
    }
}

#[test]
#[should_panic(expected = "block9_sepconv3's channel means at 150")]
fn one_changed_weight_is_noticed() {
    compare_layers(&mut random_network(KERAS, 150, Some("block9_sepconv2.pointwise.weight")), "", 150);
}

#[test]
fn kitchenware_logits_agree_with_keras() {
    let mut classifier = kitchen_classifier();
    let golden = golden();
    let photos = photos();
    assert_eq!(photos.len(), 18);
    let mut largest = 0.0_f32;
    for (name, path) in photos {
        let photo = decode(&fs::read(path).unwrap()).unwrap();
        block_on(classifier.upload(&photo)).unwrap();
        let logits = block_on(classifier.logits()).unwrap();
        let expected = golden.floats(&format!("kitchen.{name}")).unwrap();
        assert_close(&format!("logits of {name}"), &logits, &expected, &[6], ATOL, RTOL);
        largest = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(largest, f32::max);
    }
    println!("largest difference of a logit from Keras's: {largest:.1e}");
}

#[test]
fn labelled_photos_are_right() {
    let mut classifier = kitchen_classifier();
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
    let mut classifier = kitchen_classifier();
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
