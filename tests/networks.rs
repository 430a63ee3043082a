//! Other networks than the classic Xception against timm, by files and values of `tools/make_networks.py`.

mod common;

use std::fs;

use common::{assert_close, block_on, data, decompressed, gpu, pattern};
use safetensors::SafeTensors;
use xception::backend::{Backend, Cpu, Engine, Readback, Reference};
use xception::classifier::{Classifier, Options};
use xception::dtype::Dtype;
use xception::network::layer::Layer;
use xception::network::{Architecture, Network};
use xception::tile::Tuning;
use xception::weights::{Overrides, convert};

/// Each network's file, trainable parameters with 1000 classes, and multiply-accumulates at 299×299, as timm publishes them: two for each
/// value of a batch norm too.
const NETWORKS: [(&str, Architecture, &str, &str); 5] = [
    ("xception41.safetensors", Architecture::Xception41, "26.97", "9.28"),
    ("xception65.safetensors", Architecture::Xception65, "39.92", "13.96"),
    ("xception71.safetensors", Architecture::Xception71, "42.34", "18.09"),
    ("xception41p.pth", Architecture::Xception41p, "26.91", "9.25"),
    ("xception65p.pth", Architecture::Xception65p, "39.82", "13.91"),
];

/// The sizes that the oracle has.
const SIZES: [[usize; 2]; 2] = [[71, 71], [150, 107]];

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
        assert_eq!(network.features().len(), 10 * 10 * 2048, "{name}");
    }
}

/// Compares the outputs of blocks, and the logits.
fn compare<B: Backend>(backend: &B, (name, architecture): (&str, Architecture), size: [usize; 2], options: Options) {
    let overrides = Overrides { input_size: Some(size), ..Overrides::default() };
    let file =
        convert(decompressed(&format!("networks/{name}")), overrides).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut classifier = block_on(Classifier::load(backend, &file, options)).unwrap();
    assert_eq!(classifier.meta().architecture, architecture);
    let [height, width] = size;
    classifier.upload_pixels(&pattern(height, width)).unwrap();
    let golden = fs::read(data("networks.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let (plan, mut next, mut compared) = (classifier.plan().clone(), 0, 0);
    let start = format!("{architecture}.{height}x{width}");
    // f16 rounds to 11 bits, layer after layer.
    let (atol, rtol) = if classifier.storage() == Dtype::F16 { (5e-2, 2e-2) } else { (1e-3, 1e-3) };
    for (index, pass) in plan.passes.iter().enumerate() {
        let name = format!("{start}.{}", pass.label.trim_end_matches(".pointwise"));
        let Ok(sums) = golden.tensor(&format!("{name}.sums")) else { continue };
        let sums: Vec<f32> = bytemuck::pod_collect_to_vec(sums.data());
        let len = pass.op.output_len();
        let values =
            block_on(classifier.engine(1).submit(next..index + 1, 1, pass.writes, len).unwrap().read()).unwrap();
        (next, compared) = (index + 1, compared + 1);
        let (channels, pixels) = (sums.len(), (len / sums.len()) as f32);
        let mean = |c: usize| values[c..].iter().step_by(channels).sum::<f32>() / pixels;
        let means: Vec<f32> = (0..channels).map(mean).collect();
        let expected: Vec<f32> = sums.iter().map(|sum| sum / pixels).collect();
        assert_close(&format!("{name}'s channel means"), &means, &expected, &[channels], atol, rtol);
        let places: Vec<u64> = bytemuck::pod_collect_to_vec(golden.tensor(&format!("{name}.places")).unwrap().data());
        let samples: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
        let expected: Vec<f32> = bytemuck::pod_collect_to_vec(golden.tensor(&format!("{name}.values")).unwrap().data());
        assert_close(&format!("{name}, sampled"), &samples, &expected, &[expected.len()], atol, rtol);
    }
    let blocks = golden.names().iter().filter(|name| name.starts_with(&start) && name.ends_with(".sums")).count();
    assert_eq!(compared, blocks, "every block that was written down is compared");
    let logits = block_on(classifier.logits()).unwrap();
    let expected: Vec<f32> = bytemuck::pod_collect_to_vec(golden.tensor(&format!("{start}.logits")).unwrap().data());
    assert_close(&format!("{start}'s logits"), &logits, &expected, &[expected.len()], atol, rtol);
}

#[test]
fn blocks_agree_with_timm_on_the_cpu() {
    for (name, architecture, ..) in NETWORKS {
        for size in SIZES {
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
        all.into_iter().enumerate().filter(|(index, _)| !gpu.is_software() || [0, 3].contains(index))
    {
        let (storage, software) = if index == 0 { (Dtype::F32, true) } else { (Dtype::F16, false) };
        let options = Options { storage: Some(storage), tuning: Some(Tuning::untuned(software)) };
        compare(&gpu, network, SIZES[0], options);
    }
}

#[test]
fn blocks_agree_with_timm_in_the_reference() {
    compare(&Reference, (NETWORKS[3].0, NETWORKS[3].1), SIZES[0], Options::default());
}
