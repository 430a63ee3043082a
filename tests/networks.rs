//! Other networks than the classic Xception against timm and Keras, by files and values of `tools/make_networks.py` and
//! `tools/make_inception.py`.

mod common;

use common::layers::{compare_layers, tolerance};
use common::{assert_close, block_on, decompressed, golden, gpu, pattern};
use xception::backend::{Backend, Cpu, Reference};
use xception::classifier::{Classifier, Options};
use xception::dtype::Dtype;
use xception::network::layer::{Layer, Shape};
use xception::network::{Architecture, HeadLayer, Network, Output, Published};
use xception::plan::Plan;
use xception::tile::{GpuKind, Tuning};
use xception::weights::safetensors::Model;
use xception::weights::{Overrides, convert};

/// Each network's file, trainable parameters with 1000 classes, and multiply-accumulates at 299×299, as timm publishes them: two for each
/// value of a batch norm too.
const NETWORKS: [(&str, Architecture, &str, &str); 6] = [
    ("xception41.safetensors", Architecture::Xception41, "26.97", "9.28"),
    ("xception65.safetensors", Architecture::Xception65, "39.92", "13.96"),
    ("xception71.safetensors", Architecture::Xception71, "42.34", "18.09"),
    ("xception41p.pth", Architecture::Xception41p, "26.91", "9.25"),
    ("xception65p.pth", Architecture::Xception65p, "39.82", "13.91"),
    ("inception_v3.pth", Architecture::TorchInceptionV3, "23.83", "5.73"),
];

/// The number of values of each network that the oracle has: two of the stem, and of seven or eight blocks.
fn blocks(architecture: Architecture) -> usize {
    match architecture {
        Architecture::InceptionV3 => 8,
        Architecture::TorchInceptionV3 => 10,
        _ => 9,
    }
}

/// The sizes that it has; the first is the smallest.
fn sizes(architecture: Architecture) -> [[usize; 2]; 2] {
    [[architecture.min_side(); 2], [150, 107]]
}

#[test]
fn parameters_and_work_are_the_published_ones() {
    for (name, architecture, parameters, macs) in NETWORKS {
        let network = Network::backbone([299, 299], architecture).unwrap();
        let is_trained = |(name, _): &(&str, Vec<usize>)| !name.contains("moving");
        let trained = network.layers.iter().flat_map(Layer::parameters).filter(is_trained);
        let count: usize = trained.map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let norms = |layer: &Layer| {
            let depthwise = if layer.depthwise_norm { layer.output.pixels() * layer.input.channels } else { 0 };
            depthwise + if layer.batch_norm { layer.output.len() } else { 0 }
        };
        let work = network.macs() as usize + 2 * network.layers.iter().map(norms).sum::<usize>();
        let counts = [count + 2049 * 1000, work + 2048 * 1000].map(|count| count as f64);
        let counts = (format!("{:.2}", counts[0] / 1e6), format!("{:.2}", counts[1] / 1e9));
        assert_eq!((&*counts.0, &*counts.1), (parameters, macs), "{name}");
        let side = if architecture == Architecture::TorchInceptionV3 { 8 } else { 10 };
        assert_eq!(network.features(), Shape::new(side, side, 2048), "{name}");
    }
}

/// The facts that the page and the command line show beside the published accuracy.
#[test]
fn what_is_published_has_the_tables_counts() {
    let head = [HeadLayer::average(), HeadLayer::dense("predictions", 1000, None)];
    let all = Published::all();
    assert_eq!(all.len(), 9);
    for Published { network: architecture, parameters, macs, passes, top1, top5, .. } in all {
        let network = Network::new([299, 299], &head, Output::Softmax, architecture).unwrap();
        assert_eq!((network.parameter_count(), network.macs()), (parameters, macs), "{architecture}");
        let plan = Plan::new(&network, Dtype::F16, &Tuning::untuned(GpuKind::ManyRegisters), 1);
        assert_eq!(plan.passes.len(), passes, "{architecture}");
        assert!(top1 > 77.0 && top1 < top5 && top5 < 97.0, "{architecture}");
    }
}

/// Compares the outputs of blocks, and the logits.
fn compare<B: Backend>(backend: &B, (name, architecture): (&str, Architecture), size: [usize; 2], options: Options) {
    let overrides = Overrides { input_size: Some(size), ..Overrides::default() };
    let folder = if architecture == Architecture::InceptionV3 { "inception" } else { "networks" };
    let file =
        convert(decompressed(&format!("{folder}/{name}")), overrides).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut classifier = block_on(Classifier::load(backend, &file, options)).unwrap();
    assert_eq!(classifier.meta().architecture, architecture);
    let [height, width] = size;
    classifier.upload_pixels(&pattern(height, width)).unwrap();
    let model = if folder == "inception" { "inception_v3_keras" } else { name.split('.').next().unwrap() };
    let start = format!("{model}.{height}x{width}");
    let compared = compare_layers(&classifier, |layer| format!("{start}.{layer}"));
    assert_eq!(compared, blocks(architecture), "every block that was written down is compared");
    let ((atol, rtol), logits) = (tolerance(&classifier), block_on(classifier.logits()).unwrap());
    let expected = golden().floats(&format!("{start}.logits")).unwrap();
    assert_close(&format!("{start}'s logits"), &logits, &expected, &[expected.len()], atol, rtol);
}

#[test]
fn blocks_agree_with_timm_on_the_cpu() {
    for (name, architecture, ..) in NETWORKS {
        for size in sizes(architecture) {
            compare(&Cpu::new(), (name, architecture), size, Options::default());
        }
    }
}

#[test]
fn blocks_agree_with_timm_on_a_gpu() {
    let gpu = gpu();
    // Of each kind one, by the kernels of GPUs in f16 and by those of software adapters in f32, which is what such an adapter has time for.
    let all = NETWORKS.map(|(name, architecture, ..)| (name, architecture));
    for (index, network) in
        all.into_iter().enumerate().filter(|(index, _)| !gpu.is_software() || [0, 3, 5].contains(index))
    {
        let (storage, kind) =
            if index == 0 { (Dtype::F32, GpuKind::Software) } else { (Dtype::F16, GpuKind::FewRegisters) };
        let options = Options { storage: Some(storage), tuning: Some(Tuning::untuned(kind)) };
        compare(&gpu, network, sizes(network.1)[0], options);
    }
}

#[test]
fn blocks_agree_with_timm_in_the_reference() {
    for (name, architecture, ..) in [NETWORKS[3], NETWORKS[5]] {
        compare(&Reference, (name, architecture), sizes(architecture)[0], Options::default());
    }
}

/// Keras's Inception V3, in the files that it has been saved in; all have the same weights.
const KERAS: [&str; 4] = ["model.keras", "weights.weights.h5", "whole.h5", "weights.h5"];

#[test]
fn inception_blocks_agree_with_keras() {
    let network = Network::new(
        [299, 299],
        &[HeadLayer::average(), HeadLayer::dense("predictions", 1000, None)],
        Output::Softmax,
        Architecture::InceptionV3,
    )
    .unwrap();
    assert_eq!((network.parameter_count(), network.macs() / 10_000_000), (23_851_784, 571));
    for size in sizes(Architecture::InceptionV3) {
        compare(&Cpu::new(), (KERAS[0], Architecture::InceptionV3), size, Options::default());
    }
}

#[test]
fn every_file_of_an_inception_has_the_same_weights() {
    let read = |name: &str| {
        let overrides = Overrides { input_size: Some([75, 75]), ..Overrides::default() };
        let file = convert(decompressed(&format!("inception/{name}")), overrides);
        Model::deserialize(&file.unwrap_or_else(|error| panic!("{name}: {error}"))).unwrap()
    };
    let expected = read(KERAS[0]);
    for name in &KERAS[1..] {
        let model = read(name);
        assert_eq!(model.meta.head.len(), expected.meta.head.len(), "{name}");
        assert!(model.tensors == expected.tensors, "{name} has other weights");
    }
}
