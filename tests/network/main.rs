//! Xception's table against the published figures, and the plan against the table.

#[path = "../common/mod.rs"]
mod common;
mod simulation;

use std::time::Duration;

use common::{Random, dense_head};
use xception::dtype::Dtype;
use xception::network::head::MAX_UNITS;
use xception::network::layer::{Layer, Operation, Role, Shape, Tensor, Window};
use xception::network::{Architecture, HeadLayer, MAX_SIDE, MAX_WEIGHTS, Network, Output};
use xception::ops::Dense as DenseOp;
use xception::plan::{Binding, MAX_BINDING, Plan};
use xception::tile::{Algorithm, GpuKind, ProblemSize, TILES, Tuning};

/// The network with dense layers of these names and units.
fn network(size: [usize; 2], dense: &[(&str, usize)]) -> Network {
    Network::new(size, &dense_head(dense), Output::Softmax, Architecture::Xception).unwrap()
}

fn imagenet(size: [usize; 2]) -> Network {
    network(size, &[("predictions", 1000)])
}

const KINDS: [GpuKind; 3] = [GpuKind::FewRegisters, GpuKind::ManyRegisters, GpuKind::Software];

/// The plan for one image on a GPU.
fn gpu_plan(network: &Network, storage: Dtype) -> Plan {
    Plan::new(network, storage, &Tuning::default(), 1)
}

/// The output shape of a layer.
fn output(network: &Network, layer: &str) -> Shape {
    network.layers.iter().find(|candidate| candidate.name == layer).unwrap_or_else(|| panic!("no {layer}")).output
}

#[test]
fn parameters_are_the_published_ones() {
    let network = imagenet([299, 299]);
    assert_eq!(network.parameter_count(), 22_910_480);
    let statistics = network.layers.iter().flat_map(Layer::parameters).filter(|(name, _)| name.starts_with("moving"));
    let frozen: usize = statistics.map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(network.parameter_count() - frozen, 22_855_952);
}

#[test]
fn layers_are_the_published_ones() {
    let network = imagenet([299, 299]);
    let count = |is: fn(&Layer) -> bool| network.layers.iter().filter(|layer| is(layer)).count();
    assert_eq!(count(|layer| layer.batch_norm && !layer.is_pointwise()), 36);
    assert_eq!(count(Layer::is_pointwise), 4);
    assert_eq!(count(Layer::is_joining_pool), 4);
    assert_eq!(network.layers.iter().filter(|layer| layer.add.is_some()).count(), 12);
    assert_eq!(format!("{:.3}", network.macs() as f64 / 1e9), "8.357");
    assert_eq!(network.features(), Shape::new(10, 10, 2048));
}

#[test]
fn blocks_have_the_sides_that_keras_computes() {
    const NAMES: [&str; 8] = [
        "block1_conv1",
        "block1_conv2",
        "block2_pool",
        "block3_pool",
        "block4_pool",
        "block12_sepconv3",
        "block13_pool",
        "block14_sepconv2",
    ];
    const CHANNELS: [usize; 8] = [32, 64, 128, 256, 728, 728, 1024, 2048];
    let sides = [
        (299, [149, 147, 74, 37, 19, 19, 10, 10]),
        (150, [74, 72, 36, 18, 9, 9, 5, 5]),
        (71, [35, 33, 17, 9, 5, 5, 3, 3]),
    ];
    for (height, rows) in sides {
        for (width, columns) in sides {
            let network = imagenet([height, width]);
            for (i, name) in NAMES.into_iter().enumerate() {
                assert_eq!(output(&network, name), Shape::new(rows[i], columns[i], CHANNELS[i]), "{name}");
            }
        }
    }
}

#[test]
fn any_list_of_dense_layers_makes_a_head() {
    for units in [&[1][..], &[7], &[64, 7], &[512, 256, 17_000], &[1, MAX_UNITS], &[250_000]] {
        let names: Vec<String> = (0..units.len()).map(|layer| format!("fc{layer}")).collect();
        let dense: Vec<(&str, usize)> = names.iter().map(|name| &**name).zip(units.iter().copied()).collect();
        let (head, last) = (dense_head(&dense), *units.last().unwrap());
        let output = if last == 1 { Output::Sigmoid } else { Output::Softmax };
        let network = Network::new([71, 71], &head, output, Architecture::Xception).unwrap();
        assert_eq!((network.outputs(), network.classes()), (last, last.max(2)));
        let inputs = [&[2048], units].concat();
        for (layer, (dense, inputs)) in
            network.layers[network.layers.len() - units.len()..].iter().zip(head[1..].iter().zip(inputs))
        {
            assert_eq!((&layer.name, layer.activation_after), (&dense.name, dense.activation));
            assert_eq!((layer.input.len(), layer.output.len()), (inputs, dense.units));
        }
    }
}

#[test]
fn what_is_no_network_is_refused() {
    let one = dense_head(&[("predictions", 7)]);
    let average = || HeadLayer::average();
    let refused = |size, head: &[HeadLayer], reason: &str| {
        let error = Network::new(size, head, Output::Softmax, Architecture::Xception).unwrap_err().to_string();
        assert!(error.contains(reason), "{error:?} does not mention {reason:?}");
    };
    refused([70, 71], &one, "70×71");
    refused([71, 0], &one, "71×0");
    refused([MAX_SIDE + 1, 299], &one, "4097×299");
    refused([299, usize::MAX], &one, &usize::MAX.to_string());
    refused([299, 299], &[], "no classification head");
    refused([299, 299], &dense_head(&[("fc1", 0), ("predictions", 7)]), "fc1 has 0 units");
    refused([299, 299], &dense_head(&[("fc1", MAX_UNITS + 1)]), "fc1 has 262145 units");
    refused([299, 299], &dense_head(&[("fc", 7), ("fc", 7)]), "two layers behind the backbone have the name fc");
    refused([299, 299], &dense_head(&[("fc", 1)]), "softmax of its single output");
    refused([299, 299], &one[1..], "predictions is a dense layer before pooling");
    refused(
        [299, 299],
        &[average(), HeadLayer::new("flat", Operation::Flatten)],
        "flat pools or flattens what has no pixels",
    );
    let pool = |window| HeadLayer::new("pool", Operation::MaxPool(window));
    for window in [
        Window::valid(11, 1),
        Window::valid(0, 1),
        Window::valid(2, 0),
        Window::padded(2, 1, 2),
        Window::valid(usize::MAX, 1),
    ] {
        refused([299, 299], &[pool(window)], "pool pools by a window that does not fit 10×10×2048");
    }
    refused([299, 299], &[HeadLayer::new("conv", Operation::Conv(Window::valid(1, 1)))], "conv is a convolution");
    refused([299, 299], &[average(), HeadLayer::new("act", Operation::Activation)], "act has no activation function");
    let flat = [HeadLayer::new("flat", Operation::Flatten), HeadLayer::dense("fc", 2, None)];
    refused([600, 600], &flat, "fc has 739328 inputs: up to 524288");
    let names: Vec<String> = (0..64).map(|layer| layer.to_string()).collect();
    refused(
        [299, 299],
        &dense_head(&names.iter().map(|name| (&**name, 1)).collect::<Vec<_>>()),
        "65 layers behind the backbone",
    );
    let huge = dense_head(&[("fc1", MAX_UNITS)]);
    refused([299, 299], &huge, &format!("fc1.weight has {} bytes", 4_u64 * 2048 * MAX_UNITS as u64));
    let many = dense_head(&[("fc0", 16_000), ("fc1", 16_000), ("fc2", 16_000), ("fc3", 16_000)]);
    refused(
        [299, 299],
        &many,
        &format!("fc2.weight has 1024000000 bytes as f32, with which the weights are more than the {MAX_WEIGHTS}"),
    );
}

#[test]
fn the_plan_for_imagenet_has_its_size() {
    let network = imagenet([299, 299]);
    // The fullest moment is block 2's second product: two activations of 147×147×128 and the shortcut's input.
    let most = 4 * 147 * 147 * (2 * 128 + 64);
    for (kind, passes, slots, bytes) in
        [(GpuKind::default(), 43, 6, 27_751_312), (GpuKind::Software, 77, 6, 27_751_312)]
    {
        let plan = Plan::new(&network, Dtype::F32, &Tuning::untuned(kind), 1);
        assert_eq!((plan.passes.len(), plan.slots.len(), plan.activation_bytes()), (passes, slots, bytes));
        assert!(plan.activation_bytes() < most * 101 / 100, "slots are hardly larger than what they must hold at once");
        let len = |slot: usize| plan.slots[slot].len;
        assert_eq!((plan.top, len(plan.answer), len(plan.logits), len(plan.embedding)), (10, 1020, 1000, 2048));
    }
    let network = self::network([150, 150], &[("fc1", 64), ("predictions", 7)]);
    let plan = gpu_plan(&network, Dtype::F32);
    assert_eq!((plan.passes.len(), plan.top, plan.slots[plan.answer].len), (44, 7, 21));
}

/// Each image of a batch has its own activations; weights are shared.
#[test]
fn a_batch_takes_its_multiple_of_memory() {
    let network = imagenet([150, 150]);
    for kind in [GpuKind::default(), GpuKind::Software] {
        let [one, eight] = [1, 8].map(|batch| Plan::new(&network, Dtype::F16, &Tuning::untuned(kind), batch));
        assert_eq!(eight.activation_bytes(), 8 * one.activation_bytes());
        assert_eq!((eight.weight_bytes(), eight.passes.len()), (one.weight_bytes(), one.passes.len()));
        // The largest buffer is block 2's: 72×72×128 of f16.
        for (images, binding) in [(1, 0), (1, 2 * 72 * 72 * 128 - 1), (3, 3 * 2 * 72 * 72 * 128), (32, 1 << 40)] {
            assert_eq!([&one, &eight].map(|plan| plan.max_batch(binding)), [images; 2]);
        }
    }
}

/// Measurements apply only to the layer shapes and batch size that they were taken for.
#[test]
fn the_plan_follows_its_tuning() {
    let network = imagenet([299, 299]);
    let layer = network.layers.iter().find(|layer| layer.name == "block5_sepconv1").unwrap();
    let mut tuning = Tuning::default();
    tuning.insert(ProblemSize::of(layer, 1).unwrap(), Algorithm::Tiled(TILES[3]));
    // 24 of the middle flow and the first of block 13 compute the same.
    let passes = |tuning: &Tuning, batch| Plan::new(&network, Dtype::F32, tuning, batch).passes.len();
    assert_eq!((passes(&tuning, 1), passes(&tuning, 2)), (43 + 25, 43));
    assert_eq!((tuning.knows(&network, 1), tuning.knows(&network, 2)), (true, false));
    // They apply to the rest of a larger batch, but not to a batch of one.
    let mut batch = Tuning::default();
    batch.insert(ProblemSize::of(layer, 32).unwrap(), Algorithm::Tiled(TILES[3]));
    assert_eq!([1, 2, 7, 32].map(|images| passes(&batch, images)), [43, 43 + 25, 43 + 25, 43 + 25]);
    batch.insert(ProblemSize::of(layer, 8).unwrap(), Algorithm::Fused(TILES[3]));
    assert_eq!([7, 8, 9].map(|images| passes(&batch, images)), [43, 43, 43 + 25]);
    let text = tuning.to_string();
    assert!(text.contains("tiled 52x56/4x4"), "{text}");
    let read = |text: &str| {
        let mut read = Tuning::default();
        read.read(text);
        read
    };
    assert_eq!(read(&text), tuning);
    assert_eq!(read(&text.replace("52x56", "52x57")), Tuning::default(), "what this version has not is left out");
    assert_eq!(read(&text.replace('\n', ", 7 ns, x left")), Tuning::default());
}

/// Tuning in any number of short runs finds what one long run does: each algorithm is tried once for each shape, longest layers first, and
/// the fastest is kept.
#[test]
fn tuning_goes_on_until_all_was_tried() {
    let network = imagenet([299, 299]);
    let mut random = Random(31);
    for (kind, batch) in [(GpuKind::FewRegisters, 1), (GpuKind::Software, 1), (GpuKind::ManyRegisters, 8)] {
        let fresh = || Tuning::untuned(kind);
        let mut text = String::new();
        let mut times: Vec<(ProblemSize, Vec<(Algorithm, Duration)>)> = Vec::new();
        let mut runs = 0;
        loop {
            let mut tuning = fresh();
            tuning.read(&text);
            if tuning.next(&network, batch).is_none() {
                break;
            }
            for _ in 0..=random.below(30) {
                let Some((layer, algorithm, best)) = tuning.next(&network, batch) else { break };
                let (size, time) = (ProblemSize::of(layer, batch).unwrap(), Duration::from_nanos(random.bits() >> 40));
                if times.last().is_none_or(|(last, _)| *last != size) {
                    assert_eq!(algorithm, fresh().algorithm(layer, batch), "first what is best known");
                    times.push((size, Vec::new()));
                }
                let tried = &mut times.last_mut().unwrap().1;
                assert!(tried.iter().all(|(other, _)| *other != algorithm), "{size}: {algorithm} again");
                assert_eq!(best, tried.iter().map(|&(_, time)| time).min().unwrap_or(Duration::from_nanos(u64::MAX)));
                tried.push((algorithm, time));
                tuning.tried(layer, batch, Some((algorithm, time)).filter(|_| time < best));
                let (fastest, _) = *tried.iter().min_by_key(|(_, time)| *time).unwrap();
                assert_eq!(tuning.algorithm(layer, batch), fastest, "{size}: what was found counts at once");
            }
            text = tuning.to_string();
            runs += 1;
        }
        assert!(runs > 3, "{runs} runs");
        let layers: Vec<&Layer> =
            network.layers.iter().filter(|layer| ProblemSize::of(layer, batch).is_some()).collect();
        let size = |layer: &Layer| ProblemSize::of(layer, batch).unwrap();
        let work = |which| layers.iter().filter(|layer| size(layer) == which).map(|layer| layer.macs()).sum::<u64>();
        assert!(times.windows(2).all(|pair| work(pair[0].0) >= work(pair[1].0)), "the longest first");
        assert!(layers.iter().all(|layer| {
            let tried = &times.iter().find(|(other, _)| *other == size(layer)).unwrap().1;
            tried.len() == fresh().candidates(layer, batch).len()
        }));
        assert!(layers.iter().all(|layer| times.iter().filter(|(other, _)| *other == size(layer)).count() == 1));
        assert!(!text.contains("left"), "{text}");

        // A later measurement replaces an earlier one only where it is faster.
        let mut again = fresh();
        again.read(&text);
        let all: Vec<Algorithm> = layers.iter().map(|layer| again.algorithm(layer, batch)).collect();
        again.restart(&network, batch);
        assert_eq!(layers.iter().map(|layer| again.algorithm(layer, batch)).collect::<Vec<_>>(), all);
        let (layer, algorithm, best) = again.next(&network, batch).unwrap();
        assert_eq!((algorithm, best), (fresh().algorithm(layer, batch), Duration::from_nanos(u64::MAX)));
        again.tried(layer, batch, Some((algorithm, Duration::from_secs(1))));
        assert_eq!(again.algorithm(layer, batch), algorithm);
        assert!(again.next(&network, batch + 1).is_some(), "another number of images is another matter");
    }
}

/// Natively names are the drivers', in browsers often vendor and architecture alone.
#[test]
fn gpus_are_told_apart_by_their_names() {
    let many =
        ["NVIDIA GeForce RTX 4090", "nvidia ampere", "AMD Radeon RX 7900 XTX (RADV NAVI31)", "amd rdna-3", "NVK GA106"];
    let few = [
        "Intel(R) Iris(R) Xe Graphics (TGL GT2)",
        "intel gen-12lp",
        "Apple M1",
        "apple metal-3",
        "Adreno (TM) 740",
        "Mali-G610",
        "",
    ];
    assert!(many.iter().all(|name| GpuKind::named(name) == GpuKind::ManyRegisters));
    assert!(few.iter().all(|name| GpuKind::named(name) == GpuKind::FewRegisters));
    // Few registers have no tile of 8×8, and a GPU nothing without tiles; a layer's first candidate is what runs untuned.
    let network = imagenet([299, 299]);
    for (kind, batch) in KINDS.into_iter().flat_map(|kind| [1, 2, 8, 32].map(|batch| (kind, batch))) {
        let tuning = Tuning::untuned(kind);
        for layer in network.layers.iter().filter(|layer| ProblemSize::of(layer, 1).is_some()) {
            let candidates = tuning.candidates(layer, batch);
            assert_eq!(candidates[0], tuning.algorithm(layer, batch), "{} on {kind:?}", layer.name);
            for candidate in &candidates {
                let (Algorithm::Tiled(tile) | Algorithm::Fused(tile)) = candidate else {
                    assert_eq!((kind, candidate), (GpuKind::Software, &Algorithm::Direct));
                    continue;
                };
                assert!(kind != GpuKind::FewRegisters || tile.tile_m * tile.tile_n == 4, "{tile} on {kind:?}");
                assert!(
                    matches!(candidate, Algorithm::Tiled(_)) || layer.is_separable(),
                    "{candidate} for {}",
                    layer.name
                );
            }
        }
    }
}

/// Algorithms have distinct names, and every tile fits WebGPU's default workgroup memory.
#[test]
fn methods_have_names() {
    for algorithm in Algorithm::all() {
        assert_eq!(Algorithm::named(&algorithm.to_string()), Some(algorithm));
    }
    for tile in TILES {
        for channels in [4, 64, 128, 256, 728, 1024, 1536] {
            assert!(16 * (tile.shared(channels) + tile.sums()) <= 16384, "{tile} for {channels}");
            assert!((channels / 4).is_multiple_of(tile.step(channels)), "{tile} for {channels}");
        }
        assert!(tile.split_k == 1 || tile.tile_n == 1, "{tile}: slices hand over one column");
        assert!(tile.group[0] * tile.group[1] * tile.split_k <= 256, "{tile}");
    }
}

#[test]
fn f16_halves_gpu_memory() {
    let [single, half] = [Dtype::F32, Dtype::F16].map(|storage| gpu_plan(&imagenet([299, 299]), storage));
    // Biases and everything behind the global pooling stay f32.
    let kept = 4 * (2048 + 1000 + (10 + 10 + 1000));
    assert_eq!(half.activation_bytes(), (single.activation_bytes() - kept) / 2 + kept);
    let is_bias = |tensor: &&Tensor| tensor.role == Role::Bias;
    let biases: usize = half.tensors.iter().filter(is_bias).map(|tensor| 4 * tensor.len()).sum();
    assert_eq!(half.weight_bytes(), (single.weight_bytes() - biases as u64) / 2 + biases as u64);
    assert_eq!((half.weight_bytes(), half.activation_bytes()), (45_713_904, 13_883_792));
    assert_eq!(half.passes, single.passes);
}

/// The paper's JFT head in f32 exceeds WebGPU's default binding size: it becomes two passes over whole rows.
#[test]
fn a_large_head_is_bound_in_parts() {
    let network = network([299, 299], &[("predictions", 17_000)]);
    let plan = gpu_plan(&network, Dtype::F32);
    let [.., first, second, _] = &plan.passes[..] else { panic!("no passes") };
    let most = MAX_BINDING / (4 * 2048);
    let rows = |first, count| Binding::Rows { tensor: plan.tensors.len() - 2, first, count };
    for (pass, first, count) in [(first, 0, most), (second, most, 17_000 - most)] {
        assert_eq!(pass.label, format!("predictions[{first}..{}]", first + count));
        let op = DenseOp { inputs: 2048, first, outputs: count, all: 17_000, relu_after: false };
        assert_eq!(pass.op, op.into());
        let bias = Binding::Tensor(plan.tensors.len() - 1);
        assert_eq!(pass.reads, [Binding::Slot(plan.embedding), rows(first, count), bias]);
        assert_eq!((pass.writes, first * 4 * 2048 % 256), (plan.logits, 0));
    }
    assert_eq!(gpu_plan(&network, Dtype::F16).passes.len(), plan.passes.len() - 1, "f16 fits one binding");
}

#[test]
fn the_plan_carries_the_networks_tensors() {
    let network = imagenet([150, 150]);
    let plan = gpu_plan(&network, Dtype::F32);
    assert_eq!(plan.tensors, network.tensors());
    // Of batch norm's four arrays per channel one remains, the bias: the others are folded away.
    let channels: usize =
        network.layers.iter().flat_map(Layer::parameters).filter(|p| p.0 == "gamma").map(|p| p.1[0]).sum();
    assert_eq!(plan.weight_bytes(), 4 * (network.parameter_count() - 3 * channels) as u64);
}
