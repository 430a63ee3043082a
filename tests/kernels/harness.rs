//! An operation on the GPU and in the reference, with random buffers; and how far the two may be apart.

use xception::backend::gpu::{Runner, Tensors};
use xception::backend::{Gpu, Readback};
use xception::dtype::Dtype;
use xception::ops::{Buffer, Op};
use xception::plan::{Binding, Pass, Plan, Slot};
use xception::shader::Precision;

use crate::common::{Random, assert_close, block_on, gpu};

/// The initial value of a result: elements that are not written keep it.
const BEFORE: f32 = 1.0;

/// Elements behind the result that an operation must not write.
const GUARD: [f32; 256] = [1234.0; 256];

/// How values may be stored on the GPU.
pub const STORAGES: [Dtype; 2] = [Dtype::F32, Dtype::F16];

/// A pass for some images.
pub fn on_gpu(op: Op, storage: Dtype, images: usize, reads: &[Vec<f32>]) -> Vec<f32> {
    // A device each: software adapters compile the pipelines of one device one after the other.
    thread_local!(static GPU: Gpu = gpu());
    let gpu = GPU.with(Gpu::clone);
    let (writes, len) = (reads.len(), images * op.output_len());
    let buffers = op.reads();
    let slots =
        reads.iter().zip(&buffers).map(|(values, buffer)| Slot { len: values.len(), dtype: buffer.dtype(storage) });
    let plan = Plan {
        passes: vec![Pass {
            label: format!("{op:?}"),
            layer: None,
            op,
            reads: (0..writes).map(Binding::Slot).collect(),
            writes,
        }],
        slots: slots.chain([Slot { len: len + GUARD.len(), dtype: op.output().dtype(storage) }]).collect(),
        batch: images,
        storage,
        answer: writes,
        ..Plan::default()
    };
    let run = async {
        let runner = Runner::new(&plan, Tensors::new(&gpu, &plan).await?).await?;
        reads.iter().enumerate().for_each(|(slot, values)| runner.write_slot(slot, 0, values));
        runner.write_slot(writes, 0, &[&vec![BEFORE; len][..], &GUARD].concat());
        runner.submit(|_| {}, .., images, writes, len + GUARD.len())?.read().await
    };
    let mut values = block_on(run).unwrap_or_else(|error| panic!("{op:?}: {error}"));
    assert_eq!(values.split_off(len), GUARD, "{op:?} writes beyond its result");
    values
}

/// The reference on operands rounded to their storage; its result is not rounded.
pub fn in_reference(op: Op, storage: Dtype, images: usize, reads: &[Vec<f32>]) -> Vec<f32> {
    let buffers = op.reads();
    let stored = |(values, buffer): (&Vec<f32>, &Buffer)| {
        let dtype = buffer.dtype(storage);
        dtype.decode(&dtype.encode(values))
    };
    let reads: Vec<Vec<f32>> = reads.iter().zip(&buffers).map(stored).collect();
    let image = |image: usize| {
        let part = |(values, buffer): (&'_ Vec<f32>, &Buffer)| {
            if buffer.role.is_some() { 0..values.len() } else { image * buffer.stored()..(image + 1) * buffer.stored() }
        };
        let parts: Vec<_> = reads.iter().zip(&buffers).map(part).collect();
        let reads: Vec<&[f32]> = reads.iter().zip(parts).map(|(values, part)| &values[part]).collect();
        let mut out = vec![BEFORE; op.output_len()];
        op.reference(&reads, &mut out);
        out
    };
    (0..images).flat_map(image).collect()
}

/// atol and rtol. A result that is stored as f16 is rounded to 11 bits.
pub fn tolerance(op: Op, storage: Dtype) -> (f32, f32) {
    let rounding = if op.output().dtype(storage) == Dtype::F16 { 1.0 / 2048.0 } else { 0.0 };
    // Every operand, and every sum of four products, is rounded to 11 bits.
    let is_half = op.precision(storage) == Precision::Half;
    let (atol, rtol) = if is_half { (1e-2, 1e-2) } else { op.tolerance() };
    (atol + 1e-6 * rounding, rtol + rounding)
}

pub fn compare(op: Op, storage: Dtype, images: usize, actual: &[f32], expected: &[f32]) {
    let ((atol, rtol), what) = (tolerance(op, storage), format!("{images} × {op:?} as {storage}"));
    let Op::SoftmaxTopk(softmax) = op else {
        let Buffer { mut shape, row, .. } = op.output();
        shape.pop();
        return assert_close(&what, actual, expected, &[&[images], &shape[..], &[row]].concat(), atol, rtol);
    };
    let (top, len) = (softmax.top, op.output_len());
    for (actual, expected) in actual.chunks_exact(len).zip(expected.chunks_exact(len)) {
        let bits = |values: &[f32]| values[..top].iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(actual), bits(expected), "{what}: ranked classes");
        assert_close(&what, &actual[top..], &expected[top..], &[len - top], atol, rtol);
    }
    assert_eq!((actual.len(), expected.len()), (images * len, images * len), "{what}");
}

/// Random buffers for an operation on some images; what pads them is zero.
pub fn random_reads(op: Op, images: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let values = |buffer: Buffer| {
        let count = if buffer.role.is_some() { 1 } else { images };
        let (used, row) = (buffer.shape.last().copied().unwrap_or(1), buffer.row);
        let mut values = random.values(count * buffer.stored());
        values.chunks_mut(row).for_each(|row| row[used..].fill(0.0));
        values
    };
    op.reads().into_iter().map(values).collect()
}
