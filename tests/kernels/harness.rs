//! A kernel on the GPU and in the reference, with random buffers; and how far the two may be apart.

use std::sync::LazyLock;

use xception::dtype::Dtype;
use xception::gpu::{Gpu, Runner, Tensors};
use xception::kernel::{Add, Op};
use xception::plan::{Binding, Pass, Plan, Slot};
use xception::reference;
use xception::shader::Precision;

use crate::common::{Random, assert_close, block_on, gpu};

/// Values behind the result that a kernel must leave alone.
const GUARD: [f32; 256] = [1234.0; 256];

/// Where an operation's buffers are f32 whatever the storage is: those it reads, and the result.
pub fn always_f32(op: Op) -> (&'static [usize], bool) {
    match op {
        Op::Conv { .. } | Op::Pointwise { .. } | Op::Sepconv { .. } => (&[2], false),
        Op::Depthwise { .. } => (&[], false),
        Op::Mean { .. } => (&[], true),
        Op::Dense { .. } => (&[0, 2], true),
        Op::DenseTransposed { .. } => (&[0, 1], true),
        Op::ClassMap { .. } => (&[1], true),
        Op::SoftmaxTopk { .. } => (&[0], true),
    }
}

/// Whether an operation adds to what is there, which is then 1.
fn adds(op: Op) -> bool {
    matches!(op, Op::DenseTransposed { first: 1.., .. })
}

/// How values may be stored on the GPU.
pub const STORAGES: [Dtype; 2] = [Dtype::F32, Dtype::F16];

/// Which of an operation's buffers hold something for each image.
pub fn activations(op: Op) -> &'static [usize] {
    match op {
        Op::Pointwise { .. } | Op::Sepconv { .. } => &[0, 3],
        Op::DenseTransposed { .. } | Op::ClassMap { .. } => &[0, 1],
        _ => &[0],
    }
}

/// A pass for some images.
pub fn on_gpu(op: Op, storage: Dtype, images: usize, reads: &[Vec<f32>]) -> Vec<f32> {
    static GPU: LazyLock<Gpu> = LazyLock::new(gpu);
    let (writes, len) = (reads.len(), images * op.output_len());
    let (single, single_result) = always_f32(op);
    let slot = |len, is_single| Slot { len, dtype: if is_single { Dtype::F32 } else { storage } };
    let slots = reads.iter().enumerate().map(|(read, values)| slot(values.len(), single.contains(&read)));
    let plan = Plan {
        passes: vec![Pass { label: format!("{op:?}"), op, reads: (0..writes).map(Binding::Slot).collect(), writes }],
        slots: slots.chain([slot(len + GUARD.len(), single_result)]).collect(),
        batch: images,
        storage,
        answer: writes,
        ..Plan::default()
    };
    // What an operation leaves alone the reference has as zeros.
    let mut before = vec![f32::NAN; len];
    if let Op::Dense { first, outputs, .. } = op {
        let left = |(n, value): (usize, &mut f32)| {
            if !(first..first + outputs).contains(&(n % op.output_len())) {
                *value = 0.0;
            }
        };
        before.iter_mut().enumerate().for_each(left);
    } else if adds(op) {
        before.fill(1.0);
    }
    let run = async {
        let runner = Runner::new(&plan, Tensors::new(&GPU, &plan).await?).await?;
        reads.iter().enumerate().for_each(|(slot, values)| runner.write_slot(slot, 0, values));
        runner.write_slot(writes, 0, &[&before[..], &GUARD].concat());
        runner.submit(|_| {}, .., images, writes, len + GUARD.len())?.read().await
    };
    let mut values = block_on(run).unwrap_or_else(|error| panic!("{op:?}: {error}"));
    assert_eq!(values.split_off(len), GUARD, "{op:?} writes beyond its result");
    values
}

/// The reference on values as they are stored; its result is not rounded to that.
pub fn on_cpu(op: Op, storage: Dtype, images: usize, reads: &[Vec<f32>]) -> Vec<f32> {
    let (single, _) = always_f32(op);
    let stored = |(read, values): (usize, &Vec<f32>)| {
        if single.contains(&read) { values.clone() } else { storage.decode(&storage.encode(values)) }
    };
    let reads: Vec<Vec<f32>> = reads.iter().enumerate().map(stored).collect();
    let image = |image: usize| {
        let part = |(read, values): (usize, &'_ Vec<f32>)| {
            let len = values.len() / images;
            if activations(op).contains(&read) { image * len..(image + 1) * len } else { 0..values.len() }
        };
        let parts: Vec<_> = reads.iter().enumerate().map(part).collect();
        let reads: Vec<&[f32]> = reads.iter().zip(parts).map(|(values, part)| &values[part]).collect();
        reference::run(op, &reads)
    };
    let mut results: Vec<Vec<f32>> = (0..images).map(image).collect();
    if adds(op) {
        results.iter_mut().flatten().for_each(|value| *value += 1.0);
    }
    let Op::SoftmaxTopk { top, .. } = op else { return results.concat() };
    // The ranked classes of all images come first.
    let parts = results.iter().map(|result| &result[..2 * top]).chain(results.iter().map(|result| &result[2 * top..]));
    parts.collect::<Vec<_>>().concat()
}

/// The shape of what an operation writes, for messages.
pub fn shape(op: Op) -> Vec<usize> {
    match op {
        Op::Conv { output, .. } | Op::Pointwise { output, .. } | Op::Sepconv { output, .. } => {
            vec![output.height, output.width, output.channels]
        }
        Op::Depthwise { shape, .. } => vec![shape.height, shape.width, shape.channels],
        _ => vec![op.output_len()],
    }
}

/// atol and rtol: sums of n products of values below 1 err by about √n roundings, in whatever order they are added.
/// A result that is stored as f16 is rounded to 11 bits.
pub fn tolerance(op: Op, storage: Dtype) -> (f32, f32) {
    let rounding = if storage == Dtype::F16 && !always_f32(op).1 { 1.0 / 2048.0 } else { 0.0 };
    let (atol, rtol) = match op {
        // Every factor, and every sum of four products, is rounded to 11 bits.
        _ if op.precision(storage) == Precision::Half => (1e-2, 1e-2),
        Op::Conv { .. } => (2e-5, 1e-5),
        Op::Depthwise { .. } | Op::Mean { .. } => (2e-6, 1e-6),
        Op::Pointwise { .. } | Op::Sepconv { .. } | Op::Dense { .. } | Op::ClassMap { .. } => (1e-4, 1e-5),
        // Up to 17,000 products.
        Op::DenseTransposed { .. } => (3e-4, 1e-5),
        // WGSL grants exp(x) an error of 3 + 2·|x| units in the last place.
        Op::SoftmaxTopk { .. } => (1e-7, 1e-4),
    };
    (atol + 1e-6 * rounding, rtol + rounding)
}

pub fn compare(op: Op, storage: Dtype, images: usize, actual: &[f32], expected: &[f32]) {
    let ((atol, rtol), what) = (tolerance(op, storage), format!("{images} × {op:?} as {storage}"));
    let Op::SoftmaxTopk { top, .. } = op else {
        return assert_close(&what, actual, expected, &[&[images], &shape(op)[..]].concat(), atol, rtol);
    };
    let ranked = 2 * top * images;
    for image in (0..ranked).step_by(2 * top) {
        let bits = |values: &[f32]| values[image..][..top].iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(actual), bits(expected), "{what}: ranked classes");
        let scores = image + top..image + 2 * top;
        assert_close(&what, &actual[scores.clone()], &expected[scores], &[top], atol, rtol);
    }
    assert_close(&what, &actual[ranked..], &expected[ranked..], &[expected.len() - ranked], atol, rtol);
}

/// Random buffers for an operation on some images.
pub fn random_reads(op: Op, images: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let lengths = match op {
        Op::Conv { input, output, .. } => {
            vec![input.stored(), 9 * input.channels * output.channels, output.channels]
        }
        Op::Depthwise { shape, .. } => vec![shape.stored(), 9 * shape.channels],
        Op::Pointwise { input, output, add, tile, .. } => {
            let pooled = matches!(add, Add::MaxPool { .. });
            let other = if pooled { input.pixels() * output.channels } else { output.len() };
            let mut lengths = vec![input.len(), input.channels * output.channels, output.channels, other];
            lengths.extend(tile.map(|_| 4));
            lengths
        }
        Op::Sepconv { input, output, .. } => {
            let weight = input.channels * output.channels;
            vec![input.len(), weight, output.channels, output.len(), 9 * input.channels]
        }
        Op::Mean { input } => vec![input.len()],
        Op::Dense { inputs, outputs, all, .. } => {
            let row = inputs.next_multiple_of(4);
            vec![row, row * outputs, all]
        }
        Op::DenseTransposed { inputs, outputs, all, .. } => {
            let all = all.next_multiple_of(4);
            vec![all, all, inputs.next_multiple_of(4) * outputs]
        }
        Op::ClassMap { input } => vec![input.len(), input.channels],
        Op::SoftmaxTopk { classes, .. } => vec![classes.next_multiple_of(4)],
    };
    let count = |read| if activations(op).contains(&read) { images } else { 1 };
    let values = |(read, len)| random.values(len * count(read));
    let mut reads: Vec<Vec<f32>> = lengths.into_iter().enumerate().map(values).collect();
    if let Op::Dense { inputs, .. } = op {
        reads[0].chunks_mut(inputs.next_multiple_of(4)).for_each(|image| image[inputs..].fill(0.0));
    } else if let Op::DenseTransposed { inputs, .. } = op {
        reads[2].chunks_mut(inputs.next_multiple_of(4)).for_each(|row| row[inputs..].fill(0.0));
    }
    reads
}
