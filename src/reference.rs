//! The passes of a plan on the CPU, slow and obvious: what the kernels are tested against.

use crate::kernel::{Add, Op};
use crate::layer::Shape;

fn relu(x: f32, on: bool) -> f32 {
    if on { x.max(0.0) } else { x }
}

/// Index of a value in an activation as it is stored.
fn at(shape: Shape, y: usize, x: usize, c: usize) -> usize {
    (y * shape.width + x) * shape.channels.next_multiple_of(4) + c
}

/// The pixel at window position `i`, `j`, where it lies inside.
fn inside(shape: Shape, y: isize, x: isize) -> Option<(usize, usize)> {
    let inside = (0..shape.height as isize).contains(&y) && (0..shape.width as isize).contains(&x);
    inside.then_some((y as usize, x as usize))
}

/// Runs one pass on one image: `reads` are its buffers in the order of [`Op`]; the result is what it writes.
pub fn run(op: Op, reads: &[&[f32]]) -> Vec<f32> {
    let mut out = vec![0.0; op.output_len()];
    match op {
        Op::Conv { input, output, stride } => {
            for_each(output, |y, x, n| {
                let mut sum = reads[2][n];
                for (i, j) in window() {
                    for c in 0..input.channels {
                        let weight = reads[1][((i * 3 + j) * input.channels + c) * output.channels + n];
                        sum += reads[0][at(input, y * stride + i, x * stride + j, c)] * weight;
                    }
                }
                out[at(output, y, x, n)] = sum.max(0.0);
            });
        }
        Op::Depthwise { shape, relu_before, .. } => {
            for_each(shape, |y, x, c| {
                let mut sum = 0.0;
                for (i, j) in window() {
                    if let Some((y, x)) = inside(shape, (y + i) as isize - 1, (x + j) as isize - 1) {
                        let weight = reads[1][(i * 3 + j) * shape.channels + c];
                        sum += relu(reads[0][at(shape, y, x, c)], relu_before) * weight;
                    }
                }
                out[at(shape, y, x, c)] = sum;
            });
        }
        Op::Pointwise { input, output, stride, add, relu_after, tile: _ } => {
            for_each(output, |y, x, n| {
                let from = at(input, y * stride, x * stride, 0);
                let products = (0..input.channels).map(|k| reads[0][from + k] * reads[1][k * output.channels + n]);
                let added = match add {
                    Add::Nothing => 0.0,
                    Add::Residual => reads[3][at(output, y, x, n)],
                    Add::MaxPool { before } => {
                        let other = Shape { channels: output.channels, ..input };
                        let [top, left] = before.map(|before| before as isize);
                        let inside = |(i, j)| inside(other, (2 * y + i) as isize - top, (2 * x + j) as isize - left);
                        let values = window().filter_map(inside).map(|(y, x)| reads[3][at(other, y, x, n)]);
                        values.fold(f32::NEG_INFINITY, f32::max)
                    }
                };
                out[at(output, y, x, n)] = relu(reads[2][n] + products.sum::<f32>() + added, relu_after);
            });
        }
        Op::Sepconv { input, output, relu_before, add, relu_after, tile } => {
            let columns = run(Op::Depthwise { shape: input, relu_before, rows: 1 }, &[reads[0], reads[4]]);
            let product = Op::Pointwise { input, output, stride: 1, add, relu_after, tile: Some(tile) };
            return run(product, &[&columns, reads[1], reads[2], reads[3]]);
        }
        Op::Mean { input } => {
            for_each(input, |y, x, c| out[c] += reads[0][at(input, y, x, c)] / input.pixels() as f32);
        }
        Op::Dense { inputs, first, outputs, all: _, relu_after } => {
            let row = inputs.next_multiple_of(4);
            for n in 0..outputs {
                let products = (0..inputs).map(|k| reads[0][k] * reads[1][n * row + k]);
                out[first + n] = relu(reads[2][first + n] + products.sum::<f32>(), relu_after);
            }
        }
        Op::DenseTransposed { inputs, first, outputs, all: _, relu_after } => {
            let row = inputs.next_multiple_of(4);
            let passes = |n: &usize| !relu_after || reads[1][first + n] > 0.0;
            for k in 0..inputs {
                out[k] = (0..outputs).filter(passes).map(|n| reads[0][first + n] * reads[2][n * row + k]).sum();
            }
        }
        Op::ClassMap { input } => {
            for_each(input, |y, x, c| out[y * input.width + x] += reads[0][at(input, y, x, c)] * reads[1][c]);
        }
        Op::SoftmaxTopk { classes, top } => {
            let logits = &reads[0][..classes];
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            let probability = |n: usize| (logits[n] - largest).exp() / sum;
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            for (rank, &class) in order[..top].iter().enumerate() {
                out[rank] = f32::from_bits(class as u32);
                out[top + rank] = probability(class);
            }
            for class in 0..classes {
                out[2 * top + class] = probability(class);
            }
        }
    }
    out
}

fn for_each(shape: Shape, mut visit: impl FnMut(usize, usize, usize)) {
    for y in 0..shape.height {
        for x in 0..shape.width {
            for c in 0..shape.channels {
                visit(y, x, c);
            }
        }
    }
}

fn window() -> impl Iterator<Item = (usize, usize)> {
    (0..3).flat_map(|i| (0..3).map(move |j| (i, j)))
}
