//! The plan, simulated symbolically: every pass finds in its slots what its layer reads.

use xception::dtype::Dtype;
use xception::network::activation::Function;
use xception::network::layer::{GlobalPool, Layer, Operation, Part, Resize as ResizeLayer, Shape, Window};
use xception::network::{Architecture, FrontLayer, HeadLayer, MAX_SIDE, Network, Output};
use xception::ops::{
    Activation, Add, BiasedDepthwise, Conv, Dense as DenseOp, Depthwise, Flatten, GlobalAveragePool, GlobalMaxPool, Op,
    Pointwise, Pool, Pooling, Prelu, Resize, ScaleShift, Sepconv, Slice, SoftmaxTopk, Values,
};
use xception::plan::{Binding, Pass, Plan};
use xception::tile::{Algorithm, ProblemSize, TILES, Tuning};

use crate::common::dense_head;
use crate::imagenet;

/// The contents of a slot: an activation of the network, or a separable convolution's first half.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Content {
    ValueId(usize),
    /// Some parts of a concatenation.
    Parts(usize),
    Half(usize),
}

/// The pass that a layer calls for: label, slots read, tensors read, result, shapes and flags.
type Want = (String, Vec<Content>, Vec<String>, Content, Op);

/// The slot's contents behind a layer, and the layer's part of them.
fn result(index: usize, layers: &[Layer]) -> (Content, Option<Slice>) {
    let Some(first) = layers[index].slice else { return (Content::ValueId(index + 1), None) };
    let concat = (index..).find(|&at| layers[at].operation == Operation::Concat).unwrap();
    let is_last = layers[index + 1..concat].iter().all(|layer| layer.slice.is_none());
    let content = if is_last { Content::ValueId(concat + 1) } else { Content::Parts(concat) };
    (content, Some(Slice { first, all: layers[concat].output.channels }))
}

/// The expected operands of a layer, derived from its definition alone.
fn wants(index: usize, layers: &[Layer], tuning: &Tuning) -> Vec<Want> {
    let layer = &layers[index];
    let (from, (result, slice)) = (Content::ValueId(layer.from), result(index, layers));
    let (name, input, output, relu_after) = (&layer.name, layer.input, layer.output, layer.activation_after.is_some());
    let tensors = |names: &[&str]| names.iter().map(|suffix| format!("{name}.{suffix}")).collect::<Vec<_>>();
    let with = |first| [Some(first), layer.add.map(Content::ValueId)].into_iter().flatten().collect::<Vec<_>>();
    let add = match layer.add {
        Some(_) if layer.norm_of_sum => Add::Scaled,
        Some(_) => Add::Residual,
        None => Add::Nothing,
    };
    let (label, both) = (name.clone(), tensors(&["weight", "bias"]));
    let tile_of = |layer: &Layer| match tuning.algorithm(layer, 1) {
        Algorithm::Fused(tile) | Algorithm::Tiled(tile) => Some(tile),
        Algorithm::Direct => None,
    };
    match layer.operation {
        Operation::Resize(resize) => vec![(label, vec![from], vec![], result, Resize::new(input, resize).into())],
        // The pooling has a pass for both.
        Operation::Conv(_) if layers.iter().any(|pool| pool.is_joining_pool() && pool.add == Some(index + 1)) => vec![],
        Operation::Conv(Window { stride: [stride, _], .. }) if layer.is_pointwise() => {
            let tile = tile_of(layer);
            let op = Pointwise { input, output, stride, add, relu_after, slice, tile }.into();
            let weights = both.iter().cloned().chain(tile.map(|_| both[0].clone())).collect();
            vec![(label, vec![from], weights, result, op)]
        }
        Operation::Conv(window) => {
            let tile = tile_of(layer);
            let op = Conv { input, output, window, relu_after, slice, tile }.into();
            let weights = both.iter().cloned().chain(tile.map(|_| both[0].clone())).collect();
            vec![(label, vec![from], weights, result, op)]
        }
        Operation::Concat => vec![],
        Operation::SeparableConv(Window { stride: [stride, _], .. }) if layer.has_depthwise_bias() => {
            let (half, tile) = (Content::Half(index), tile_of(layer));
            let shape = Shape { channels: input.channels, ..output };
            let relu_before = layer.activation_before.is_some();
            let between = layer.activation_between == Some(Function::Relu);
            let depthwise = BiasedDepthwise { input, output: shape, stride, relu_before, relu_after: between }.into();
            let pointwise = Pointwise { input: shape, output, stride: 1, add, relu_after, slice, tile }.into();
            let weights = tensors(&["pointwise.weight", "pointwise.bias"]);
            let again = tile.map(|_| weights[0].clone());
            let activated = layer.activation_between.filter(|function| *function != Function::Relu).map(|function| {
                let op = Activation { values: Values { shape, is_vector: false }, function }.into();
                (format!("{name}.activation"), vec![half], vec![], half, op)
            });
            let mut wants = vec![(
                format!("{name}.depthwise"),
                vec![from],
                tensors(&["depthwise.weight", "depthwise.bias"]),
                half,
                depthwise,
            )];
            wants.extend(activated);
            wants.extend([(
                format!("{name}.pointwise"),
                with(half),
                weights.into_iter().chain(again).collect(),
                result,
                pointwise,
            )]);
            wants
        }
        Operation::SeparableConv(_) => {
            let (half, relu_before) = (Content::Half(index), layer.activation_before.is_some());
            let [window, weight, bias] =
                ["depthwise.weight", "pointwise.weight", "pointwise.bias"].map(|suffix| format!("{name}.{suffix}"));
            let tile = match tuning.algorithm(layer, 1) {
                Algorithm::Fused(tile) => {
                    let op = Sepconv { input, output, relu_before, add, relu_after, tile }.into();
                    return vec![(label, with(from), vec![weight, bias, window], result, op)];
                }
                Algorithm::Tiled(tile) => Some(tile),
                Algorithm::Direct => None,
            };
            let depthwise = Depthwise { shape: input, relu_before, rows: tuning.depthwise_rows() }.into();
            let pointwise = Pointwise { input, output, stride: 1, add, relu_after, slice, tile }.into();
            let again = tile.map(|_| weight.clone());
            let weights = [weight, bias].into_iter().chain(again).collect();
            vec![
                (format!("{name}.depthwise"), vec![from], vec![window], half, depthwise),
                (format!("{name}.pointwise"), with(half), weights, result, pointwise),
            ]
        }
        Operation::MaxPool(window) if layer.add.is_some() => {
            let shortcut = &layers[layer.add.unwrap() - 1];
            let tile = tile_of(shortcut);
            let suffixes = ["weight", "bias"].into_iter().chain(tile.map(|_| "weight"));
            let weights = suffixes.map(|suffix| format!("{}.{suffix}", shortcut.name)).collect();
            let (input, add) = (shortcut.input, Add::MaxPool { padding: window.padding.map(|[before, _]| before) });
            let op = Pointwise { input, output, stride: 2, add, relu_after, slice, tile }.into();
            vec![(label, vec![Content::ValueId(shortcut.from), from], weights, result, op)]
        }
        _ => head_wants(index, layers),
    }
}

/// The same of a layer behind the backbone.
fn head_wants(index: usize, layers: &[Layer]) -> Vec<Want> {
    let layer = &layers[index];
    let (from, (result, slice)) = (Content::ValueId(layer.from), result(index, layers));
    let (name, input, output) = (&layer.name, layer.input, layer.output);
    let tensors = |names: &[&str]| names.iter().map(|suffix| format!("{name}.{suffix}")).collect::<Vec<_>>();
    let values =
        Values { shape: output, is_vector: layers[..=index].iter().any(|layer| layer.operation.makes_vector()) };
    let function = layer.activation_after;
    let is_fused = function.is_none() || (layer.operation == Operation::Dense && function == Some(Function::Relu));
    let (all, relu_after) = (output.len(), layer.operation == Operation::Dense && function == Some(Function::Relu));
    let (op, weights): (Op, &[&str]) = match layer.operation {
        Operation::GlobalPool(GlobalPool::Average) => {
            (GlobalAveragePool { input, slice: Slice { first: 0, all } }.into(), &[])
        }
        Operation::GlobalPool(GlobalPool::MaxAverage) => {
            let max = GlobalMaxPool { input, slice: Slice { first: 0, all } }.into();
            let mean = GlobalAveragePool { input, slice: Slice { first: 2048, all } }.into();
            let pass = |name: String, op| (name, vec![from], vec![], result, op);
            return vec![pass(format!("{name}.max"), max), pass(format!("{name}.average"), mean)];
        }
        Operation::Flatten => (Flatten { input }.into(), &[]),
        Operation::MaxPool(window) => (Pool { input, window, pooling: Pooling::Max, slice }.into(), &[]),
        Operation::AveragePool(window) => (Pool { input, window, pooling: Pooling::Mean, slice }.into(), &[]),
        Operation::PaddedAveragePool(window) => {
            (Pool { input, window, pooling: Pooling::PaddedMean, slice }.into(), &[])
        }
        Operation::ScaleShift => (ScaleShift { values }.into(), &["scale", "shift"]),
        Operation::Prelu { is_shared } => (Prelu { values, is_shared }.into(), &["slope"]),
        Operation::Activation => {
            let op = Activation { values, function: function.unwrap() }.into();
            return vec![(name.clone(), vec![from], vec![], result, op)];
        }
        Operation::Dense => {
            (DenseOp { inputs: input.len(), first: 0, outputs: all, all, relu_after }.into(), &["weight", "bias"])
        }
        operation => panic!("{operation:?}"),
    };
    if is_fused {
        return vec![(name.clone(), vec![from], tensors(weights), result, op)];
    }
    let half = Content::Half(index);
    let activation = Activation { values, function: function.unwrap() }.into();
    vec![
        (name.clone(), vec![from], tensors(weights), half, op),
        (format!("{name}.activation"), vec![half], vec![], result, activation),
    ]
}

/// Simulates the plan symbolically: an error where a slot does not hold what the pass reads.
fn simulate(network: &Network, plan: &Plan, tuning: &Tuning) -> Result<(), String> {
    let last = Content::ValueId(network.layers.len());
    let outputs = network.outputs();
    let (label, op) = match network.output {
        Output::Softmax => ("softmax_topk", Some(SoftmaxTopk { classes: outputs, top: outputs.min(10) }.into())),
        Output::Sigmoid => {
            let values = Values::vector(outputs);
            ("sigmoid", Some(Activation { values, function: Function::Sigmoid }.into()))
        }
        _ => ("", None),
    };
    let answer = if op.is_some() { Content::Half(usize::MAX) } else { last };
    let layers = 0..network.layers.len();
    let mut wanted: Vec<Want> = layers.flat_map(|layer| wants(layer, &network.layers, tuning)).collect();
    wanted.extend(op.map(|op| (label.to_owned(), vec![last], vec![], answer, op)));
    let mut contents = vec![None; plan.slots.len()];
    contents[plan.image] = Some(Content::ValueId(0));
    if wanted.len() != plan.passes.len() {
        return Err(format!("{} passes for {}", plan.passes.len(), wanted.len()));
    }
    for (Pass { label, op, reads, writes, layer, .. }, (name, values, weights, result, want)) in
        plan.passes.iter().zip(wanted)
    {
        let slots: Vec<usize> =
            reads.iter().filter_map(|read| if let Binding::Slot(slot) = read { Some(*slot) } else { None }).collect();
        let tensors: Vec<&String> = reads
            .iter()
            .filter_map(
                |read| if let Binding::Tensor(tensor) = read { Some(&plan.tensors[*tensor].name) } else { None },
            )
            .collect();
        let held: Vec<_> = slots.iter().take(values.len()).map(|&slot| contents[slot]).collect();
        let part = layer.and_then(|layer| Some((layer, network.layers[layer].slice.filter(|first| *first > 0)?)));
        // Earlier parts of the concatenation are still in the slot.
        let others = part.map(|(layer, _)| {
            let concat = (layer..).find(|&at| network.layers[at].operation == Operation::Concat).unwrap();
            Content::Parts(concat)
        });
        let fits = plan.slots[*writes].len >= op.output_len() && (others.is_none() || contents[*writes] == others);
        if (label, op) != (&name, &want)
            || held != values.into_iter().map(Some).collect::<Vec<_>>()
            || tensors != weights.iter().collect::<Vec<_>>()
            || slots.contains(writes)
            || !fits
        {
            return Err(format!("{label}: {op:?} reads {held:?} {tensors:?}, writes slot {writes}; wanted {want:?}"));
        }
        contents[*writes] = Some(result);
    }
    let vector =
        network.layers.iter().position(|layer| layer.operation.makes_vector()).unwrap_or(network.layers.len() - 1);
    let kept = [plan.embedding, plan.logits, plan.answer].map(|slot| contents[slot]);
    // The embedding is what pooling gives, before a function is applied to it.
    let is_half = network.layers[vector].operation.makes_vector() && network.layers[vector].activation_after.is_some();
    let embedding = if is_half { Content::Half(vector) } else { Content::ValueId(vector + 1) };
    let want = [embedding, last, answer].map(Some);
    if kept == want { Ok(()) } else { Err(format!("at the end {kept:?} are kept instead of {want:?}")) }
}

/// The plans of each kind of GPU, and one whose separable convolutions are split in two passes.
fn tunings(network: &Network) -> [Tuning; 4] {
    let mut tiled = Tuning::default();
    let sizes = network.layers.iter().filter_map(|layer| ProblemSize::of(layer, 1));
    sizes.for_each(|size| tiled.insert(size, Algorithm::Tiled(TILES[1])));
    let [few, many, software] = super::KINDS.map(Tuning::untuned);
    [few, many, software, tiled]
}

#[test]
fn every_pass_reads_what_its_layer_wants() {
    let layer = |name: &str, operation, activation| HeadLayer { activation, ..HeadLayer::new(name, operation) };
    let every = vec![
        layer("norm", Operation::ScaleShift, Some(Function::Selu)),
        layer("max", Operation::MaxPool(Window::valid(2, 1)), None),
        layer("prelu", Operation::Prelu { is_shared: true }, None),
        layer("mean", Operation::AveragePool(Window::padded(2, 1, 1)), Some(Function::Tanh)),
        layer("pools", Operation::GlobalPool(GlobalPool::MaxAverage), None),
        layer("elu", Operation::Activation, Some(Function::Elu(1.0))),
        HeadLayer::dense("fc1", 6, Some(Function::Gelu)),
        layer("prelu_2", Operation::Prelu { is_shared: false }, None),
        HeadLayer::dense("fc2", 3, None),
    ];
    let flat = vec![layer("flat", Operation::Flatten, Some(Function::Silu)), HeadLayer::dense("fc", 1, None)];
    let heads = [
        (dense_head(&[("predictions", 1000)]), Output::Softmax),
        (dense_head(&[("fc1", 64), ("predictions", 7)]), Output::Softmax),
        (every[..4].to_vec(), Output::Features),
        (every, Output::Sigmoid),
        (flat, Output::Linear),
        (vec![], Output::Features),
    ];
    for size in [[299, 299], [150, 150], [71, 71], [71, 400], [MAX_SIDE, MAX_SIDE]] {
        for (head, output) in &heads {
            // A dense layer takes no more pixels than 256.
            let (is_flat, is_small) =
                (head.iter().any(|layer| layer.name == "flat"), size.iter().all(|side| *side < 500));
            if !is_small && is_flat {
                continue;
            }
            let network = Network::new(size, head, *output, Architecture::Xception).unwrap();
            for tuning in tunings(&network) {
                let plan = Plan::new(&network, Dtype::F32, &tuning, 1);
                simulate(&network, &plan, &tuning).unwrap_or_else(|error| panic!("{size:?}: {error}"));
                let mut labels: Vec<_> = plan.passes.iter().map(|pass| &pass.label).collect();
                labels.sort();
                labels.dedup();
                assert_eq!(labels.len(), plan.passes.len(), "labels are unique");
            }
        }
    }
}

/// Networks of other backbones, one of them behind layers that resize.
fn others() -> Vec<Network> {
    let head = dense_head(&[("fc", 7)]);
    let network = |size, architecture| Network::new(size, &head, Output::Softmax, architecture).unwrap();
    let resize = |size, is_nearest| FrontLayer {
        name: format!("resize{size}"),
        resize: ResizeLayer { size: [size; 2], part: Part::Aspect, is_nearest },
    };
    vec![
        network([299, 150], Architecture::LegacyXception),
        network([299, 299], Architecture::Xception41),
        network([150, 71], Architecture::Xception71),
        network([299, 299], Architecture::XceptionWithoutResiduals),
        network([150, 99], Architecture::XceptionReluBetween),
        network([99, 150], Architecture::XceptionEluBetween),
        network([299, 299], Architecture::InceptionV3),
        network([75, 131], Architecture::TorchInceptionV3),
        network([299, 299], Architecture::Xception65p),
        network([99, 99], Architecture::Xception41p).behind([32, 40], &[resize(50, true), resize(99, false)]).unwrap(),
    ]
}

#[test]
fn passes_of_other_networks_read_what_their_layers_want() {
    for network in others() {
        for tuning in tunings(&network) {
            simulate(&network, &Plan::new(&network, Dtype::F32, &tuning, 1), &tuning).unwrap();
        }
    }
}

#[test]
fn the_simulation_notices_a_wrong_slot() {
    let last = others();
    let last = [&last[3], last.last().unwrap()].map(Network::clone);
    for (network, tuning) in [&[imagenet([150, 150])], &last[..]]
        .concat()
        .iter()
        .flat_map(|network| tunings(network).map(|tuning| (network, tuning)))
    {
        let plan = Plan::new(network, Dtype::F32, &tuning, 1);
        for pass in 0..plan.passes.len() {
            let wrong = (plan.passes[pass].writes + 1) % plan.slots.len();
            let mut broken = plan.clone();
            broken.passes[pass].writes = wrong;
            let label = &plan.passes[pass].label;
            assert!(simulate(network, &broken, &tuning).is_err(), "{label} writes slot {wrong}");
        }
    }
}
