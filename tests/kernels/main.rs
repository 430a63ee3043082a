//! Each operation on the GPU against the reference, on ragged shapes; and both against values worked out by hand.

#[path = "../common/mod.rs"]
mod common;
mod harness;
mod resize;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{Random, assert_close};
use harness::{STORAGES, compare, in_reference, on_gpu, random_reads};
use xception::dtype::Dtype;
use xception::network::layer::{Shape, Window};
use xception::ops::{
    Activation, Add, Conv, Dense, Depthwise, Function, GlobalAveragePool, Op, Pointwise, Sepconv, Slice, SoftmaxTopk,
    Values,
};
use xception::tile::{TILES, Tile};

fn check(op: Op, storage: Dtype, images: usize, random: &mut Random) {
    let reads = random_reads(op, images, random);
    let [gpu, reference] = [on_gpu, in_reference].map(|run| run(op, storage, images, &reads));
    compare(op, storage, images, &gpu, &reference);
}

/// The cases of every operation, each storage with a different batch size.
#[test]
fn operations_agree_with_the_reference() {
    let ops: Vec<Op> = Op::cases().into_iter().flat_map(|(_, ops)| ops).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&op) = ops.get(next.fetch_add(1, Ordering::Relaxed)) {
            for (storage, images) in STORAGES.into_iter().zip([1, 3]) {
                check(op, storage, images, &mut Random(1));
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, Into::into)).for_each(|_| drop(scope.spawn(work)));
    });
}

/// More pixel tiles than one grid dimension holds; the last is ragged. `conv.wgsl` has 16 tiles a workgroup: what lies beyond a dimension
/// there takes 268 MB and more, which lavapipe does not bind.
#[test]
fn more_tiles_than_a_dimension_takes() {
    let tile = TILES[0];
    let width = 65_535 * tile.pixels() + tile.pixels() + 1;
    let (input, output) = (Shape::new(1, width, 4), Shape::new(1, width, 4));
    let add = Add::Residual;
    let op = Pointwise { input, output, stride: 1, add, relu_after: true, slice: None, tile: Some(tile) };
    // f16, so that bindings stay within the default limits.
    check(op.into(), Dtype::F16, 1, &mut Random(12));
}

/// Each tile from f16, where sums of four products are rounded to 11 bits before they are added up.
#[test]
fn tiles_in_f16() {
    let mut random = Random(10);
    for (index, tile) in TILES.into_iter().enumerate() {
        let (input, output) = (Shape::new(5, 7, 56), Shape::new(5, 7, 136));
        let add = if index % 2 == 0 { Add::Residual } else { Add::Nothing };
        let sepconv =
            |tile| Sepconv { input, output, relu_before: index % 3 == 0, add, relu_after: false, tile }.into();
        let pointwise =
            |tile| Pointwise { input, output, stride: 1, add, relu_after: true, slice: None, tile: Some(tile) }.into();
        for op in [&sepconv as &dyn Fn(Tile) -> Op, &pointwise] {
            let (half, exact) = (op(tile.halved()), op(tile));
            let reads = random_reads(half, 2, &mut random);
            let [gpu, cpu] = [on_gpu, in_reference].map(|run| run(half, Dtype::F16, 2, &reads));
            compare(half, Dtype::F16, 2, &gpu, &cpu);
            let is_exact = catch_unwind(|| compare(exact, Dtype::F16, 2, &gpu, &cpu)).is_ok();
            assert!(!is_exact, "{tile}: as exact as from f32, so it was not from f16");
        }
    }
}

#[test]
fn softmax_and_ranking() {
    let mut random = Random(7);
    for classes in [1, 2, 6, 7, 11, 257, 1000, 17_000] {
        let op = Op::from(SoftmaxTopk { classes, top: classes.min(10) });
        let row = classes.next_multiple_of(4);
        let scaled = [1e-30, 1.0, 80.0, 1e4, 1e30].map(|scale| random.values(row).iter().map(|x| x * scale).collect());
        // Only three distinct values: nearly every rank is a tie, which the smaller index wins.
        let ties = (0..row).map(|_| [-30.0, 0.5, 2.0][random.below(3)]).collect();
        let images: Vec<Vec<f32>> = scaled.into_iter().chain([ties, vec![-1e30; row], vec![0.0; row]]).collect();
        for images in [&images[..1], &images] {
            let (count, reads) = (images.len(), [images.concat()]);
            let [gpu, cpu] = [on_gpu, in_reference].map(|run| run(op, Dtype::F32, count, &reads));
            compare(op, Dtype::F32, count, &gpu, &cpu);
        }
    }
}

fn conv([height, width]: [usize; 2], [from, to]: [usize; 2], stride: usize) -> Op {
    let (input, window) = (Shape::new(height, width, from), Window::valid(3, stride));
    let [height, width] = window.count(input);
    Conv { input, output: Shape::new(height, width, to), window, relu_after: true, slice: None, tile: None }.into()
}

fn depthwise([height, width]: [usize; 2], channels: usize, relu_before: bool) -> Op {
    Depthwise { shape: Shape::new(height, width, channels), relu_before, rows: if relu_before { 4 } else { 1 } }.into()
}

fn pointwise([height, width]: [usize; 2], [from, to]: [usize; 2], stride: usize, add: Add, relu_after: bool) -> Op {
    let output = Shape::new(height.div_ceil(stride), width.div_ceil(stride), to);
    Pointwise { input: Shape::new(height, width, from), output, stride, add, relu_after, slice: None, tile: None }
        .into()
}

/// A shortcut and the pooling that it is added to, padded as Keras does.
fn pool([height, width]: [usize; 2], channels: [usize; 2]) -> Op {
    let padding = [height % 2, width % 2];
    pointwise([height, width], channels, 2, Add::MaxPool { padding }, false)
}

/// The GPU and the reference must both give the literal values.
fn by_hand(op: impl Into<Op>, reads: &[Vec<f32>], expected: &[f32]) {
    let op = op.into();
    for storage in STORAGES {
        compare(op, storage, 1, &in_reference(op, storage, 1, reads), expected);
        compare(op, storage, 1, &on_gpu(op, storage, 1, reads), expected);
    }
}

/// Zeros except for these values.
fn sparse(len: usize, values: &[(usize, f32)]) -> Vec<f32> {
    let mut out = vec![0.0; len];
    values.iter().for_each(|&(at, value)| out[at] = value);
    out
}

#[test]
fn convolutions_worked_out_by_hand() {
    // Pixel (y, x) of channel c is 100y + 10x + c. Window places (1, 1), (0, 0) and (2, 2), a channel each.
    let image: Vec<_> = (0..15).flat_map(|p| (0..4).map(move |c| (100 * (p / 5) + 10 * (p % 5) + c) as f32)).collect();
    let weight = sparse(9 * 3 * 8, &[(4 * 24, 2.0), (8 + 1, 3.0), (8 * 24 + 16 + 2, -1.0), (8 * 24 + 16 + 3, -1.0)]);
    let bias = sparse(8, &[(0, 1.0), (2, 250.0), (3, 230.0)]);
    let expected = [[221.0, 3.0, 28.0, 8.0], [0.0; 4], [261.0, 63.0, 8.0, 0.0], [0.0; 4]].concat();
    by_hand(conv([3, 5], [3, 8], 2), &[image.clone(), weight, bias, image], &expected);

    // Channel 0 keeps its pixel, 1 sums the window, 2 takes the upper left pixel, 3 the right one.
    let image = vec![1., -1., 5., 1., -2., 2., 6., 2., 3., 3., 7., 3., 4., 4., 8., 4.];
    let mut weight = sparse(9 * 4, &[(4 * 4, 1.0), (2, 1.0), (5 * 4 + 3, 1.0)]);
    weight.iter_mut().skip(1).step_by(4).for_each(|value| *value = 1.0);
    let expected = [1., 8., 0., 2., -2., 8., 0., 0., 3., 8., 0., 4., 4., 8., 5., 0.];
    by_hand(depthwise([2, 2], 4, false), &[image.clone(), weight.clone()], &expected);
    let expected = [1., 9., 0., 2., 0., 9., 0., 0., 3., 9., 0., 4., 4., 9., 5., 0.];
    by_hand(depthwise([2, 2], 4, true), &[image, weight], &expected);

    // Output n takes n + 1 times channel n % 4 and adds n; stride 2 sees the corners; −20 is added to output 0.
    let image: Vec<f32> = (0..9).flat_map(|p| [(10 * (p / 3) + p % 3) as f32, -1.0, 0.5, 0.0]).collect();
    let weight = sparse(4 * 8, &std::array::from_fn::<_, 8, _>(|n| (n % 4 * 8 + n, (n + 1) as f32)));
    let bias: Vec<f32> = (0..8).map(|n| n as f32).collect();
    let residual = sparse(4 * 8, &[(0, -20.0), (8, -20.0), (16, -20.0), (24, -20.0)]);
    let row = |n0: f32, n4: f32| [n0, 0.0, 3.5, 3.0, n4, 0.0, 9.5, 7.0];
    let expected = [row(0.0, 4.0), row(0.0, 14.0), row(0.0, 104.0), row(2.0, 114.0)].concat();
    by_hand(pointwise([3, 3], [4, 8], 2, Add::Residual, true), &[image, weight, bias, residual], &expected);
}

#[test]
fn the_rest_worked_out_by_hand() {
    // Zero weights leave the bias: 10 to 80 by channel.
    let pooled = |size: [usize; 2], values: &[f32], largest: &[f32]| {
        let other = values.iter().flat_map(|&value| [value; 8]).collect();
        let bias: Vec<f32> = (1..=8).map(|n| 10.0 * n as f32).collect();
        let expected: Vec<f32> =
            largest.iter().flat_map(|largest| bias.iter().map(move |bias| bias + largest)).collect();
        by_hand(pool(size, [4, 8]), &[vec![0.0; 4 * values.len()], vec![0.0; 32], bias.clone(), other], &expected);
    };
    // An odd length is padded on both sides, an even one only after.
    pooled([3, 2], &[1., 2., -3., -4., 5., -6.], &[2., 5.]);
    pooled([4, 1], &[1., 2., 8., 3.], &[8., 8.]);
    pooled([1, 4], &[1., 2., 8., 3.], &[8., 8.]);

    let mean = GlobalAveragePool { input: Shape::new(2, 1, 4), slice: Slice { first: 0, all: 4 } };
    by_hand(mean, &[vec![1., 2., 3., 4., 3., 2., 1., -4.]], &[2., 2., 2., 0.]);

    let dense = |relu_after| Dense { inputs: 3, first: 1, outputs: 2, all: 3, relu_after };
    let reads = [vec![1., 2., 3., 0.], vec![1., 0., 1., 9., 0., 1., -1., 9.], vec![7., 0.5, 0.5, 0.]];
    by_hand(dense(false), &reads, &[1.0, 4.5, -0.5, 1.0]);
    by_hand(dense(true), &reads, &[1.0, 4.5, 0.0, 1.0]);

    let index = f32::from_bits;
    let expected = [index(1), index(0), index(2), 0.6, 0.2, 0.2, 0.2, 0.6, 0.2];
    by_hand(SoftmaxTopk { classes: 3, top: 3 }, &[vec![0.0, 3f32.ln(), 0.0, 0.0]], &expected);
}

/// Keras's values, by tools/make_activations_golden.py: each function on the GPU and in the reference.
#[test]
fn activations_are_keras_s() {
    let file = include_str!("../data/activations.csv");
    let mut rows = file.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let values = |row: &[&str]| row[2..].iter().map(|value| value.parse().unwrap()).collect::<Vec<f32>>();
    let mut x = values(&rows.next().unwrap());
    let len = x.len();
    x.resize(len.next_multiple_of(4), 0.0);
    let mut count = 0;
    for row in rows {
        let parameter = row[1].parse().unwrap();
        let function = match row[0] {
            "relu" => Function::Relu,
            "relu6" => Function::Relu6,
            "elu" => Function::Elu(parameter),
            "selu" => Function::Selu,
            "leaky_relu" => Function::LeakyRelu(parameter),
            "gelu" => Function::Gelu,
            "gelu_tanh" => Function::GeluTanh,
            "silu" => Function::Silu,
            "tanh" => Function::Tanh,
            "sigmoid" => Function::Sigmoid,
            "hard_sigmoid" => Function::HardSigmoid(parameter),
            "softplus" => Function::Softplus,
            other => panic!("{other}"),
        };
        let mut expected = values(&row);
        expected.resize(x.len(), 0.0);
        by_hand(Activation { values: Values::vector(len), function }, &[x.clone()], &expected);
        count += 1;
    }
    assert_eq!(count, 15);
}

/// Stores saturate to f16's largest value: an infinity would become NaN a few layers on.
#[test]
fn f16_saturates() {
    let op = pointwise([1, 1], [4, 8], 1, Add::Residual, false);
    let other = [40000.0, -40000.0, 40000.0, -40000.0].repeat(2);
    let bias = [40000.0, -40000.0, -40000.0, 8000.0].repeat(2);
    let reads = [vec![0.0; 4], vec![0.0; 32], bias, other];
    assert_eq!(on_gpu(op, Dtype::F16, 1, &reads), [65504.0, -65504.0, 0.0, -32000.0].repeat(2));
    assert_eq!(on_gpu(op, Dtype::F32, 1, &reads), [80000.0, -80000.0, 0.0, -32000.0].repeat(2));
}

#[test]
fn a_changed_value_is_noticed() {
    let mut random = Random(8);
    let ops = [
        conv([5, 7], [3, 32], 2),
        depthwise([5, 3], 728, true),
        pointwise([3, 3], [64, 72], 1, Add::Residual, false),
        pool([5, 4], [4, 8]),
        Op::from(Sepconv {
            input: Shape::new(5, 3, 56),
            output: Shape::new(5, 3, 72),
            relu_before: true,
            add: Add::Residual,
            relu_after: false,
            tile: TILES[3],
        }),
        GlobalAveragePool { input: Shape::new(3, 3, 8), slice: Slice { first: 0, all: 8 } }.into(),
        Dense { inputs: 100, first: 0, outputs: 7, all: 7, relu_after: false }.into(),
        SoftmaxTopk { classes: 7, top: 7 }.into(),
    ];
    for op in ops {
        let reads = random_reads(op, 1, &mut random);
        let expected = in_reference(op, Dtype::F16, 1, &reads);
        // A convolution adds nothing to its result: it has the input once more.
        let used = if matches!(op, Op::Conv(_)) { 3 } else { reads.len() };
        for read in 0..used {
            let mut changed = reads.clone();
            changed[read][0] += 100.0;
            let actual = on_gpu(op, Dtype::F16, 1, &changed);
            assert!(
                catch_unwind(|| compare(op, Dtype::F16, 1, &actual, &expected)).is_err(),
                "{op:?}: buffer {read} was changed"
            );
        }
    }
    assert!(catch_unwind(|| assert_close("NaN", &[f32::NAN], &[0.0], &[1], 1.0, 1.0)).is_err());
}
