//! The CPU's kernels against the reference, on ragged shapes and every dtype; and the whole network on the CPU against Keras and timm.

mod common;

use std::fs;

use common::fixtures::{kitchen_file, overflowing_file, photos, random_file};
use common::{KITCHEN_LABELS, Random, assert_close, golden, pattern};
use xception::cpu::{Classifier, Runner, Weights};
use xception::dtype::Dtype;
use xception::image::decode;
use xception::network::layer::Tensor;
use xception::ops::{Dense, DenseTransposed, Op};
use xception::plan::{Binding, Pass, Plan, Slot};
use xception::weights::safetensors::Model;

const KERAS: &str = "keras3.weights.h5";
const ATOL: f32 = 1e-3;
const RTOL: f32 = 1e-3;

/// Runs an operation with random values, weights stored in each dtype, on the CPU and in the reference.
fn check(op: Op, random: &mut Random) {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::I8] {
        let (mut slots, mut tensors, mut values, mut bindings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for read in op.reads() {
            if let Some(role) = read.role {
                let mut shape = read.shape.clone();
                shape.pop();
                shape.push(read.row);
                let (weights, rounded) = stored(&Tensor { name: String::new(), shape, role }, dtype, random);
                bindings.push(Binding::Tensor(tensors.len()));
                tensors.push(weights);
                values.push(rounded);
            } else {
                let activation = random.values(read.stored());
                bindings.push(Binding::Slot(slots.len()));
                slots.push(activation.clone());
                values.push(activation);
            }
        }
        let writes = slots.len();
        let slot = |len| Slot { len, dtype: Dtype::F32 };
        let plan = Plan {
            passes: vec![Pass { label: String::new(), layer: None, op, reads: bindings, writes }],
            slots: slots.iter().map(Vec::len).chain([op.output_len()]).map(slot).collect(),
            ..Plan::default()
        };
        let mut runner = Runner::new(plan, tensors.into());
        slots.iter().enumerate().for_each(|(slot, values)| runner.slot_mut(slot).copy_from_slice(values));
        runner.run(0..1);
        let mut expected = vec![0.0; op.output_len()];
        op.reference(&values.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut expected);
        let what = format!("{op:?} from {dtype}");
        // Vectors of multiply-accumulates beside sums one by one, of up to 17,000 products.
        assert_close(&what, runner.slot(writes), &expected, &[expected.len()], 3e-4, 1e-4);
    }
}

/// A tensor of random values, as it comes from a file by pieces; and the values that it then has.
fn stored(tensor: &Tensor, dtype: Dtype, random: &mut Random) -> (Weights, Vec<f32>) {
    let kind = tensor.dtype(dtype);
    let mut values = random.values(tensor.len());
    let mut scales = vec![1.0; tensor.scales()];
    if kind == Dtype::I8 {
        values.iter_mut().for_each(|value| *value = (*value * 127.0).round());
        scales.iter_mut().for_each(|scale| *scale = 0.01 + 0.01 * random.value().abs());
    }
    let bytes = kind.encode(&values);
    let mut weights = Weights::new(tensor, dtype);
    for (index, piece) in bytes.chunks(52).enumerate() {
        weights.write(52 * index, piece);
    }
    if kind == Dtype::I8 {
        weights.scale(&scales);
    }
    let decoded = kind.decode(&bytes).into_iter().enumerate();
    let scaled = |(index, value)| if kind == Dtype::I8 { value * scales[tensor.channel(index)] } else { value };
    (weights, decoded.map(scaled).collect())
}

/// The cases of every operation but for parts of dense layers, which the CPU computes whole.
#[test]
fn operations_agree_with_the_reference() {
    for (name, ops) in Op::cases() {
        let is_part = |op: &Op| match *op {
            Op::Dense(Dense { first, .. }) | Op::DenseTransposed(DenseTransposed(Dense { first, .. })) => first > 0,
            _ => false,
        };
        let whole: Vec<Op> = ops.into_iter().filter(|op| !is_part(op)).collect();
        assert!(!whole.is_empty(), "{name}");
        let mut random = Random(21);
        whole.into_iter().for_each(|op| check(op, &mut random));
    }
}

/// Layers that a oracle wrote down, 18 of them.
fn compare_layers(file: &str, oracle: &str, side: usize, change: Option<&str>) {
    let mut classifier = Classifier::load(&random_file(file, side, change), None).unwrap();
    classifier.upload_pixels(&pattern(side, side)).unwrap();
    let layers: Vec<_> = classifier.network().readable().map(|(name, _)| name.to_owned()).collect();
    let mut compared = 0;
    for layer in layers {
        // A .weights.h5 file does not know what its dense layer was called.
        let name = format!("{oracle}{side}.{}", if layer == "dense" { "predictions" } else { &layer });
        let Some(places) = golden().integers(&format!("{name}.places")) else { continue };
        let values = classifier.activations(&layer).unwrap();
        let samples: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
        let expected = golden().floats(&format!("{name}.values")).unwrap();
        assert_close(&name, &samples, &expected, &[expected.len()], ATOL, RTOL);
        compared += 1;
    }
    assert_eq!(compared, 18);
    assert_eq!(classifier.activations("block3_shortcut").unwrap_err().code(), "bad-argument");
}

#[test]
fn layers_agree_with_keras_and_timm() {
    for side in [150, 299] {
        compare_layers(KERAS, "", side, None);
        compare_layers("timm.safetensors", "timm.", side, None);
    }
}

#[test]
#[should_panic(expected = "150.block9_sepconv3")]
fn one_changed_weight_is_noticed() {
    compare_layers(KERAS, "", 150, Some("block9_sepconv2.pointwise.weight"));
}

/// Logits and class maps of all photos, from weights in each dtype.
#[test]
fn kitchenware_agrees_with_keras() {
    for (dtype, tolerance) in [(Dtype::F32, 1e-3), (Dtype::F16, 2e-2), (Dtype::I8, 4e-1)] {
        let mut classifier = Classifier::load(&kitchen_file(dtype), None).unwrap();
        assert_eq!(classifier.storage(), dtype);
        let mut largest = 0.0_f32;
        for (name, path) in photos() {
            classifier.upload(&decode(&fs::read(path).unwrap()).unwrap(), None);
            let logits = classifier.logits();
            let expected = golden().floats(&format!("kitchen.{name}")).unwrap();
            assert_close(&format!("{name} from {dtype}"), &logits, &expected, &[6], tolerance, tolerance);
            largest = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(largest, f32::max);
            if let Some(expected) = golden().floats(&format!("explain.kitchen.{name}.1")) {
                let map = classifier.explain(1).unwrap();
                assert_close(&format!("map of {name}"), &map, &expected, &[map.len()], 10.0 * tolerance, tolerance);
            }
        }
        println!("largest difference of a logit from Keras's, from {dtype}: {largest:.1e}");
        for (name, label) in KITCHEN_LABELS {
            classifier.upload(&decode(&fs::read(&photos()[name]).unwrap()).unwrap(), None);
            assert_eq!(classifier.classify(1).unwrap()[0].label, label, "{name} from {dtype}");
        }
    }
}

/// i8 is expanded panel by panel: to the same values as when it is loaded as f32, in a quarter of the memory.
#[test]
fn i8_is_never_expanded_as_a_whole() {
    let file = kitchen_file(Dtype::I8);
    let [mut own, mut expanded] = [None, Some(Dtype::F32)].map(|dtype| Classifier::load(&file, dtype).unwrap());
    let photo = decode(&fs::read(&photos()["0412"]).unwrap()).unwrap();
    let [own_logits, logits] = [&mut own, &mut expanded].map(|classifier| {
        classifier.upload(&photo, None);
        classifier.logits()
    });
    assert_close("logits", &own_logits, &logits, &[6], 1e-4, 1e-4);
    assert!(own.bytes() < expanded.bytes() / 3, "{} and {} bytes", own.bytes(), expanded.bytes());
}

/// More weights in a layer than a GPU binds, so that the plan has it in parts.
#[test]
fn seventeen_thousand_classes_are_answered_and_explained() {
    let mut model = Model::deserialize(&random_file(KERAS, 71, None)).unwrap();
    model.meta.head[0].units = 17_000;
    let mut random = Random(25);
    model.tensors.truncate(model.tensors.len() - 2);
    model.tensors.extend([random.values(17_000 * 2048), random.values(17_000)]);
    let mut classifier = Classifier::load(&model.serialize(Dtype::F32).unwrap(), None).unwrap();
    assert!(classifier.passes().iter().filter(|pass| matches!(pass.op, Op::Dense(_))).count() > 1);
    classifier.upload_pixels(&pattern(71, 71)).unwrap();
    let features = classifier.embed();
    let logits = classifier.logits();
    let [.., weight, bias] = &model.tensors[..] else { panic!("no head") };
    let rows = weight.chunks_exact(2048).zip(bias);
    let logit = |(row, bias): (&[f32], &f32)| row.iter().zip(&features).map(|(w, x)| w * x).sum::<f32>() + bias;
    assert_close("logits", &logits, &rows.map(logit).collect::<Vec<_>>(), &[17_000], ATOL, RTOL);
    for class in [0, 16_999] {
        let map = classifier.explain(class).unwrap();
        let mean = map.iter().sum::<f32>() / map.len() as f32;
        assert_close("a map's mean", &[mean + bias[class]], &[logits[class]], &[1], ATOL, RTOL);
    }
}

/// What 299×299 takes beside its weights.
#[test]
fn memory_beside_the_weights_is_small() {
    let file = random_file(KERAS, 299, None);
    let bytes = Classifier::load(&file, None).unwrap().bytes();
    assert!(bytes < file.len() as u64 + 30_000_000, "{bytes} bytes for a file of {}", file.len());
}

#[test]
fn what_cannot_be_is_refused() {
    let file = kitchen_file(Dtype::F32);
    assert_eq!(Classifier::load(&file, Some(Dtype::I8)).unwrap_err().code(), "bad-argument");
    assert_eq!(Classifier::load(&file[..file.len() - 1], None).unwrap_err().code(), "bad-weights");
    let mut classifier = Classifier::load(&file, None).unwrap();
    assert_eq!(classifier.upload_pixels(&[0; 3]).unwrap_err().code(), "bad-argument");
    assert_eq!(classifier.classify(0).unwrap_err().code(), "bad-argument");
    assert_eq!(classifier.explain(6).unwrap_err().code(), "bad-argument");
    assert_eq!(classifier.classify(100).unwrap().len(), 6);
}

/// Weights that are too large for f32 are no fault of a device's.
#[test]
fn an_output_that_is_no_number_is_refused() {
    let mut classifier = Classifier::load(&overflowing_file(), None).unwrap();
    classifier.upload_pixels(&pattern(71, 71)).unwrap();
    let error = classifier.classify(5).unwrap_err();
    assert_eq!(error.code(), "bad-output", "{error}");
}
