//! The network on every backend against values of Keras and timm, by `tools/make_golden.py`.

#[path = "../common/mod.rs"]
mod common;
mod photos;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::fixtures::{kitchen_file, overflowing_file, photos, random_file};
use common::layers::compare_layers;
use common::{Random, assert_close, block_on, golden, gpu, pattern};
use xception::backend::{Backend, Cpu, Gpu, Readback, Reference};
use xception::classifier::{Classifier, Options};
use xception::dtype::Dtype;
use xception::image::decode;
use xception::limits::Limits;
use xception::network::layer::Shape;
use xception::ops::Op;
use xception::tile::{GpuKind, Tuning};
use xception::weights::safetensors::{Header, Model};

const KERAS: &str = "keras3.weights.h5";
const TIMM: &str = "timm.safetensors";
const ATOL: f32 = 1e-3;
const RTOL: f32 = 1e-3;

/// Planned for a kind of GPU.
fn stored(storage: Dtype, kind: GpuKind) -> Options {
    Options { storage: Some(storage), tuning: Some(Tuning::untuned(kind)) }
}

/// A model on a backend.
fn load<B: Backend>(backend: &B, file: &[u8], how: Options) -> Classifier<B> {
    block_on(Classifier::load(backend, file, how)).unwrap()
}

/// The storage that a backend uses.
fn read(values: xception::error::Result<impl Readback>) -> Vec<f32> {
    block_on(values.unwrap().read()).unwrap()
}

/// Uploads a photo of the kitchenware package.
fn upload<B: Backend>(classifier: &mut Classifier<B>, photo: &Path) {
    let photo = decode(&fs::read(photo).unwrap(), &Limits::default()).unwrap();
    block_on(classifier.upload(&photo)).unwrap();
}

/// The network of a fixture, with random weights.
#[derive(Clone, Copy)]
struct RandomNetwork {
    file: &'static str,
    side: usize,
    /// The tensor with one changed value.
    change: Option<&'static str>,
}

impl RandomNetwork {
    const fn new(file: &'static str, side: usize) -> Self {
        Self { file, side, change: None }
    }

    fn load<B: Backend>(self, backend: &B, how: Options) -> Classifier<B> {
        let mut classifier = load(backend, &random_file(self.file, self.side, self.change), how);
        classifier.upload_pixels(&pattern(self.side, self.side)).unwrap();
        classifier
    }

    /// The oracle's name of a layer: a .weights.h5 file does not have the dense layer's name.
    fn golden_name(self, layer: &str) -> String {
        let layer = if layer == "dense" { "predictions" } else { layer };
        format!("{}{}.{layer}", if self.file == TIMM { "timm." } else { "" }, self.side)
    }

    /// Runs the plan layer by layer and compares the 18 layers that the oracle has.
    fn compare_layers<B: Backend>(self, backend: &B, how: Options) {
        let compared = compare_layers(&self.load(backend, how), |layer| self.golden_name(layer));
        assert_eq!(compared, 18, "every layer that was written down is compared");
    }
}

#[test]
fn layers_agree_with_keras_on_a_gpu() {
    let gpu = gpu();
    let all = [
        (150, Dtype::F32, GpuKind::FewRegisters),
        (150, Dtype::F16, GpuKind::Software),
        (299, Dtype::F16, GpuKind::ManyRegisters),
        (150, Dtype::F32, GpuKind::Software),
        (150, Dtype::F16, GpuKind::FewRegisters),
        (299, Dtype::F32, GpuKind::ManyRegisters),
    ];
    // The first three and timm's, below, have every storage with every kernel, which is what a software adapter has time for.
    for &(side, storage, kind) in &all[..if gpu.is_software() { 3 } else { all.len() }] {
        RandomNetwork::new(KERAS, side).compare_layers(&gpu, stored(storage, kind));
    }
}

/// timm pads max pooling differently, which shows on even lengths: 72 and 36 at 150 pixels, 74 at 299.
#[test]
fn layers_agree_with_timm_on_a_gpu() {
    for side in [150, 299] {
        RandomNetwork::new(TIMM, side).compare_layers(&gpu(), stored(Dtype::F32, GpuKind::Software));
    }
}

#[test]
fn layers_agree_on_the_cpu() {
    for side in [150, 299] {
        for file in [KERAS, TIMM] {
            RandomNetwork::new(file, side).compare_layers(&Cpu::new(), Options::default());
        }
    }
}

#[test]
fn layers_agree_in_the_reference() {
    RandomNetwork::new(KERAS, 150).compare_layers(&Reference, Options::default());
}

const CHANGED: RandomNetwork =
    RandomNetwork { file: KERAS, side: 150, change: Some("block9_sepconv2.pointwise.weight") };

#[test]
#[should_panic(expected = "150.block9_sepconv3's channel means")]
fn one_changed_weight_is_noticed_on_a_gpu() {
    CHANGED.compare_layers(&gpu(), stored(Dtype::F32, GpuKind::FewRegisters));
}

#[test]
#[should_panic(expected = "150.block9_sepconv3's channel means")]
fn one_changed_weight_is_noticed_on_the_cpu() {
    CHANGED.compare_layers(&Cpu::new(), Options::default());
}

/// Activations of every `step`-th layer, asked for by name.
fn compare_activations<B: Backend>(backend: &B, how: Options, step: usize) {
    let network = RandomNetwork::new(KERAS, 150);
    let classifier = network.load(backend, how);
    let layers: Vec<_> = classifier.network().readable().map(|(name, shape)| (name.to_owned(), shape)).collect();
    assert_eq!(layers.len(), 42, "36 convolutions, 4 poolings, the mean, the dense layer");
    let places = |layer: &str| golden().integers(&format!("{}.places", network.golden_name(layer)));
    let known: Vec<_> = layers.into_iter().filter_map(|(layer, shape)| Some((places(&layer)?, layer, shape))).collect();
    assert_eq!(known.len(), 18);
    for (places, layer, shape) in known.into_iter().step_by(step) {
        let name = network.golden_name(&layer);
        let values = read(classifier.activations(&layer));
        assert_eq!(values.len(), shape.len());
        let samples: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
        let expected = golden().floats(&format!("{name}.values")).unwrap();
        assert_close(&layer, &samples, &expected, &[expected.len()], ATOL, RTOL);
    }
    for name in ["block3_shortcut", "block99", ""] {
        assert_eq!(classifier.activations(name).err().unwrap().code(), "bad-argument");
    }
}

#[test]
fn activations_of_any_layer_agree_with_keras() {
    let gpu = gpu();
    // Each runs the network up to its layer, which takes a software adapter seconds.
    compare_activations(&gpu, stored(Dtype::F32, GpuKind::Software), if gpu.is_software() { 3 } else { 1 });
    compare_activations(&Cpu::new(), Options::default(), 1);
}

/// Class activation maps of some classes against the oracle's.
fn compare_maps<B: Backend>(classifier: &mut Classifier<B>, oracle: &str, classes: &[usize], atol: f32, rtol: f32) {
    block_on(classifier.classify(1)).unwrap();
    for &class in classes {
        let map = read(block_on(classifier.explain(class)));
        let expected = golden().floats(&format!("explain.{oracle}.{class}")).unwrap();
        let Shape { height, width, .. } = classifier.network().features();
        assert_close(&format!("map of {class} in {oracle}"), &map, &expected, &[height, width], atol, rtol);
    }
}

/// Heads of one dense layer, and of two with a ReLU between.
fn compare_all_maps<B: Backend>(backend: &B, storage: Dtype, kind: GpuKind, atol: f32, rtol: f32) {
    let mut random = RandomNetwork::new(KERAS, 150).load(backend, stored(storage, GpuKind::FewRegisters));
    compare_maps(&mut random, "150", &[0, 7, 999], atol, rtol);
    let mut kitchen = load(backend, &kitchen_file(Dtype::F32), stored(storage, kind));
    for name in ["0009", "0412"] {
        upload(&mut kitchen, &photos()[name]);
        compare_maps(&mut kitchen, &format!("kitchen.{name}"), &[0, 1, 2, 3, 4, 5], atol, rtol);
    }
    assert_eq!(block_on(kitchen.explain(6)).err().unwrap().code(), "bad-argument");
}

#[test]
fn class_maps_agree_with_keras() {
    compare_all_maps(&gpu(), Dtype::F32, GpuKind::Software, ATOL, RTOL);
    compare_all_maps(&gpu(), Dtype::F16, GpuKind::Software, 2e-1, 2e-2);
    compare_all_maps(&Cpu::new(), Dtype::F32, GpuKind::default(), ATOL, RTOL);
    compare_all_maps(&Cpu::new(), Dtype::F16, GpuKind::default(), 2e-1, 2e-2);
}

/// The paper's JFT head, whose weights exceed one binding.
fn answer_seventeen_thousand_classes<B: Backend>(backend: &B, how: Options) {
    let mut model = Model::deserialize(&random_file(KERAS, 71, None)).unwrap();
    model.meta.head[1].units = 17_000;
    let mut random = Random(17);
    let backbone = model.tensors.len() - 2;
    model.tensors.truncate(backbone);
    model.tensors.extend([random.values(17_000 * 2048), random.values(17_000)]);
    let mut classifier = load(backend, &model.serialize(Dtype::F32).unwrap(), how);
    let storage = classifier.storage();
    assert!(storage == Dtype::F16 || classifier.bytes() > 200_000_000);
    let parts = classifier.plan().passes.iter().filter(|pass| matches!(pass.op, Op::Dense(_))).count();
    assert_eq!(parts > 1, storage == Dtype::F32, "{parts} passes of the dense layer as {storage}");
    classifier.upload_pixels(&pattern(71, 71)).unwrap();
    let logits = block_on(classifier.logits()).unwrap();
    let features = read(classifier.embed(None));
    let [weight, bias] = &model.tensors[backbone..] else { panic!("no head") };
    let weight = storage.decode(&storage.encode(weight));
    let rows = weight.chunks_exact(2048).zip(bias);
    let logit = |(row, bias): (&[f32], &f32)| row.iter().zip(&features).map(|(w, x)| w * x).sum::<f32>() + bias;
    let expected: Vec<f32> = rows.map(logit).collect();
    assert_close(&format!("logits as {storage}"), &logits, &expected, &[17_000], ATOL, RTOL);
    let best = (0..17_000).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    assert_eq!(block_on(classifier.classify(1)).unwrap()[0].index, best);
    // The last class's weights are in the second part.
    for class in [0, 16_999] {
        let map = read(block_on(classifier.explain(class)));
        let mean = map.iter().sum::<f32>() / map.len() as f32;
        assert_close("a map's mean", &[mean + bias[class]], &[logits[class]], &[1], ATOL, RTOL);
    }
}

/// WebGPU's default limits are enough.
#[test]
fn seventeen_thousand_classes_are_answered_on_a_gpu() {
    let gpu = block_on(Gpu::with_default_limits()).unwrap();
    for storage in [Dtype::F32, Dtype::F16] {
        answer_seventeen_thousand_classes(&gpu, stored(storage, GpuKind::Software));
    }
}

#[test]
fn seventeen_thousand_classes_are_answered_on_the_cpu() {
    answer_seventeen_thousand_classes(&Cpu::new(), Options::default());
}

/// Inputs of a wrong length are refused and leave the previous photo in place; a run does not change uploaded pixels.
fn refuse_other_inputs<B: Backend>(backend: &B) {
    let mut classifier = RandomNetwork::new(KERAS, 71).load(backend, Options::default());
    let input = block_on(classifier.input()).unwrap();
    let answer = block_on(classifier.classify(1000)).unwrap();
    for length in [0, 3, 3 * 71 * 71 - 1, 3 * 71 * 71 + 1] {
        let error = classifier.upload_pixels(&vec![0; length]).expect_err(&format!("{length} bytes"));
        assert_eq!((error.code(), error.to_string().contains("15123 values")), ("bad-argument", true), "{error}");
    }
    assert!(input == block_on(classifier.input()).unwrap(), "the photo before is still there");
    assert_eq!(answer, block_on(classifier.classify(2000)).unwrap());
    assert_eq!(block_on(classifier.classify(0)).unwrap_err().code(), "bad-argument");
    assert_eq!(classifier.start(Some(2), 1).err().unwrap().code(), "bad-argument");
}

#[test]
fn another_number_of_pixels_is_refused() {
    refuse_other_inputs(&gpu());
    refuse_other_inputs(&Cpu::new());
    refuse_other_inputs(&Reference);
}

/// Logits that overflow f32 are reported as the weights' fault, not the device's.
fn refuse_bad_output<B: Backend>(backend: &B) {
    let mut classifier = load(backend, &overflowing_file(), Options::default());
    classifier.upload_pixels(&pattern(71, 71)).unwrap();
    let error = block_on(classifier.classify(5)).unwrap_err();
    assert_eq!(error.code(), "bad-output", "{error}");
}

#[test]
fn an_output_that_is_no_number_is_refused() {
    refuse_bad_output(&gpu());
    refuse_bad_output(&Cpu::new());
}

/// However short its time, each tuning run tries an algorithm, with batches no larger than the plan's.
#[test]
fn tuning_goes_on_where_it_ended() {
    let gpu = gpu();
    let network = Header::parse(&random_file(KERAS, 71, None)).unwrap().network;
    let layer = network.layers.iter().find(|layer| layer.name == "block5_sepconv1").unwrap();
    let mut text = String::new();
    for tried in 1..=2 {
        let mut tuning = gpu.untuned();
        tuning.read(&text);
        block_on(gpu.tune(&mut tuning, &network, Dtype::F32, 2, Duration::ZERO)).unwrap();
        text = tuning.to_string();
        let left = gpu.untuned().candidates(layer, 2).len() - tried;
        assert!(text.lines().count() == 1 && text.contains("5×5×728 to 728, 2 at once: "), "{text}");
        assert!(text.ends_with(&format!(" ns, {left} left\n")), "{text}");
    }
    let error = block_on(gpu.tune(&mut gpu.untuned(), &network, Dtype::F32, 33, Duration::ZERO)).unwrap_err();
    assert_eq!(error.code(), "bad-argument", "{error}");
    assert!(error.to_string().contains("32 photos"), "{error}");
}
