//! The CPU's kernels against the reference, on ragged shapes and every dtype; and the memory of a whole network.

mod common;

use std::fs;

use common::fixtures::{kitchen_file, photos, random_file};
use common::{Random, assert_close, block_on};
use xception::backend::cpu::{Runner, Tensor};
use xception::backend::{Cpu, HostRunner};
use xception::classifier::{Classifier, Options};
use xception::dtype::Dtype;
use xception::image::decode;
use xception::limits::Limits;
use xception::network::layer;
use xception::ops::{Dense, DenseTransposed, Op};
use xception::plan::{Binding, Pass, Plan, Slot};

/// A model on the CPU, its weights as in the file or in another dtype.
fn load(file: &[u8], storage: Option<Dtype>) -> Classifier<Cpu> {
    block_on(Classifier::load(&Cpu::new(), file, stored(storage))).unwrap()
}

fn stored(storage: Option<Dtype>) -> Options {
    Options { storage, ..Options::default() }
}

/// Runs an operation with random values, weights stored in each dtype, on the CPU and in the reference.
fn check(op: Op, random: &mut Random) {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::I8] {
        let (mut slots, mut tensors, mut values, mut bindings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for read in op.reads() {
            if let Some(role) = read.role {
                let mut shape = read.shape.clone();
                shape.pop();
                shape.push(read.row);
                let (weights, rounded) =
                    random_tensor(&layer::Tensor { name: String::new(), shape, role }, dtype, random);
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
            batch: 1,
            ..Plan::default()
        };
        let mut runner = Runner::new(plan, tensors.into(), None);
        slots.iter().enumerate().for_each(|(slot, values)| runner.slot_mut(slot).copy_from_slice(values));
        runner.run(0..1);
        let mut expected = vec![0.0; op.output_len()];
        op.reference(&values.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut expected);
        let what = format!("{op:?} from {dtype}");
        // The order of summation differs, over up to 17,000 products.
        assert_close(&what, runner.slot(writes), &expected, &[expected.len()], 3e-4, 1e-4);
    }
}

/// A tensor of random values, read in pieces; and its values after rounding.
fn random_tensor(tensor: &layer::Tensor, dtype: Dtype, random: &mut Random) -> (Tensor, Vec<f32>) {
    let kind = tensor.dtype(dtype);
    let mut values = random.values(tensor.len());
    let mut scales = vec![1.0; tensor.scales()];
    if kind == Dtype::I8 {
        values.iter_mut().for_each(|value| *value = (*value * 127.0).round());
        scales.iter_mut().for_each(|scale| *scale = 0.01 + 0.01 * random.value().abs());
    }
    let bytes = kind.encode(&values);
    let mut weights = Tensor::new(tensor, dtype);
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

/// The cases of every operation except parts of dense layers, which the CPU computes whole.
#[test]
fn operations_agree_with_the_reference() {
    for (name, ops) in Op::cases() {
        let is_part = |op: &Op| match *op {
            Op::Dense(Dense { first, .. }) | Op::DenseTransposed(DenseTransposed(Dense { first, .. })) => first > 0,
            _ => false,
        };
        let mut whole: Vec<Op> = ops.into_iter().filter(|op| !is_part(op)).collect();
        assert!(!whole.is_empty(), "{name}");
        if cfg!(miri) {
            whole.sort_by_key(|op| op.macs() + op.output_len() as u64);
            whole.truncate(2);
        }
        let mut random = Random(21);
        whole.into_iter().for_each(|op| check(op, &mut random));
    }
}

/// i8 weights are expanded panel by panel: the values of a load as f32, in a quarter of the memory.
#[test]
fn i8_is_never_expanded_as_a_whole() {
    let file = kitchen_file(Dtype::I8);
    let [mut own, mut expanded] = [None, Some(Dtype::F32)].map(|storage| load(&file, storage));
    let photo = decode(&fs::read(&photos()["0412"]).unwrap(), &Limits::default()).unwrap();
    let [own_logits, logits] = [&mut own, &mut expanded].map(|classifier| {
        block_on(classifier.upload(&photo)).unwrap();
        block_on(classifier.logits()).unwrap()
    });
    assert_close("logits", &own_logits, &logits, &[6], 1e-4, 1e-4);
    assert!(own.bytes() < expanded.bytes() / 3, "{} and {} bytes", own.bytes(), expanded.bytes());
}

/// Memory for 299×299 beyond the weights.
#[test]
fn memory_beside_the_weights_is_small() {
    let file = random_file("keras3.weights.h5", 299, None);
    let bytes = load(&file, None).bytes();
    assert!(bytes < file.len() as u64 + 30_000_000, "{bytes} bytes for a file of {}", file.len());
}

#[test]
fn files_that_cannot_be_loaded_are_refused() {
    let file = kitchen_file(Dtype::F32);
    let code =
        |file: &[u8], storage| block_on(Classifier::load(&Cpu::new(), file, stored(storage))).unwrap_err().code();
    assert_eq!(code(&file, Some(Dtype::I8)), "bad-argument");
    assert_eq!(code(&file[..file.len() - 1], None), "bad-weights");
}
