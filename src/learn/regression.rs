//! Logistic regression with an L2 penalty: the mean loss of all examples, and half the penalty times the squares of the weights (not of the
//! biases) over the examples' number, which is scikit-learn's `LogisticRegression(C = 1 / penalty)`.
//!
//! `F = (Σᵢ sᵢ · lossᵢ + ½ · penalty · Σ w²) / Σᵢ sᵢ`, by L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.4). Sums are f64 in one order,
//! and exponentials are libm's: the same examples give the same bits on every machine.

use std::collections::VecDeque;

use super::Examples;
use crate::network::Output;

/// The slope at which learning ends.
const TOLERANCE: f64 = 1e-6;

/// The pairs of steps and changes of the gradient that L-BFGS remembers.
const MEMORY: usize = 10;

/// The least part of the slope by which a step must lower the loss.
const DECREASE: f64 = 1e-4;

/// A classifier: for each class the weights of all features, and the bias behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    values: Vec<f64>,
    features: usize,
}

impl Linear {
    /// Zeros.
    fn new(classes: usize, features: usize) -> Self {
        Self { values: vec![0.0; classes * (features + 1)], features }
    }

    /// The weights, `[classes][features]`.
    pub fn weights(&self) -> Vec<f32> {
        let rows = self.values.chunks_exact(self.features + 1);
        rows.flat_map(|row| &row[..self.features]).map(|&value| value as f32).collect()
    }

    /// The biases, `[classes]`.
    pub fn biases(&self) -> Vec<f32> {
        self.values.chunks_exact(self.features + 1).map(|row| row[self.features] as f32).collect()
    }

    /// The logit of each class.
    pub fn logits(&self, features: &[f32]) -> Vec<f64> {
        logits(&self.values, features).collect()
    }

    /// The most likely class.
    pub fn class(&self, features: &[f32]) -> usize {
        let logits = self.logits(features);
        // The first of equal ones.
        (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or_default()
    }
}

fn logits(values: &[f64], features: &[f32]) -> impl Iterator<Item = f64> {
    values.chunks_exact(features.len() + 1).map(|row| {
        let (weights, bias) = row.split_at(features.len());
        // Four sums, in one order everywhere.
        let mut sums = [0.0; 4];
        for (weights, features) in weights.chunks(4).zip(features.chunks(4)) {
            for ((sum, weight), &feature) in sums.iter_mut().zip(weights).zip(features) {
                *sum += weight * f64::from(feature);
            }
        }
        bias[0] + ((sums[0] + sums[1]) + (sums[2] + sums[3]))
    })
}

/// The function to minimise.
pub(super) struct Problem<'a> {
    pub examples: &'a Examples,
    /// The examples that count, and how much each does.
    pub shares: &'a [(usize, f64)],
    pub penalty: f64,
    /// Softmax, or sigmoids of one class against all others.
    pub output: Output,
}

impl Problem<'_> {
    /// The mean loss of the examples, without the penalty; `each` gets an example, its share and the slopes of its logits.
    fn losses(&self, at: &Linear, mut each: impl FnMut(usize, f64, &[f64])) -> f64 {
        let mut sum = 0.0;
        for &(index, share) in self.shares {
            let class = self.examples.classes[index];
            let mut slopes = at.logits(&self.examples.features[index]);
            sum += share * self.loss(&mut slopes, class);
            each(index, share, &slopes);
        }
        sum / self.total()
    }

    fn total(&self) -> f64 {
        self.shares.iter().map(|(_, share)| share).sum()
    }

    /// The loss of logits, which become its slopes.
    fn loss(&self, logits: &mut [f64], class: usize) -> f64 {
        if self.output == Output::Sigmoid {
            let mut sum = 0.0;
            for (index, logit) in logits.iter_mut().enumerate() {
                let target = f64::from(u8::from(index == class));
                // log(1 + exp(z)) − t · z, where exp does not overflow.
                let small = libm::exp(-logit.abs());
                sum += logit.max(0.0) - target * *logit + libm::log1p(small);
                let probability = if *logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
                *logit = probability - target;
            }
            return sum;
        }
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let own = logits[class] - most;
        let mut sum = 0.0;
        for logit in logits.iter_mut() {
            *logit = libm::exp(*logit - most);
            sum += *logit;
        }
        logits.iter_mut().for_each(|value| *value /= sum);
        logits[class] -= 1.0;
        libm::log(sum) - own
    }

    /// The loss of each example.
    pub(super) fn each_loss(&self, at: &Linear) -> Vec<f64> {
        let of = |&(index, _): &(usize, f64)| {
            self.loss(&mut at.logits(&self.examples.features[index]), self.examples.classes[index])
        };
        self.shares.iter().map(of).collect()
    }

    /// `F` and its gradient.
    fn evaluate(&self, at: &Linear, gradient: &mut [f64]) -> f64 {
        let (features, total) = (at.features, self.total());
        gradient.fill(0.0);
        let mean = self.losses(at, |index, share, slopes| {
            let example = &self.examples.features[index];
            for (row, slope) in gradient.chunks_exact_mut(features + 1).zip(slopes) {
                let factor = share * slope / total;
                row.iter_mut().zip(example).for_each(|(sum, &feature)| *sum += factor * f64::from(feature));
                row[features] += factor;
            }
        });
        let factor = self.penalty / total;
        let mut squares = 0.0;
        for (row, own) in gradient.chunks_exact_mut(features + 1).zip(at.values.chunks_exact(features + 1)) {
            for (sum, weight) in row[..features].iter_mut().zip(own) {
                *sum += factor * weight;
                squares += weight * weight;
            }
        }
        mean + 0.5 * factor * squares
    }
}

/// The way down to the least `F`, round by round.
#[derive(Clone, Debug)]
pub(super) struct Descent {
    /// Where it is.
    pub at: Linear,
    /// `F` there.
    pub loss: f64,
    gradient: Vec<f64>,
    memory: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
}

impl Descent {
    /// Begins at zeros.
    pub(super) fn new(problem: &Problem<'_>, classes: usize) -> Self {
        let at = Linear::new(classes, problem.examples.features[0].len());
        let mut gradient = vec![0.0; at.values.len()];
        let loss = problem.evaluate(&at, &mut gradient);
        Self { at, loss, gradient, memory: VecDeque::new() }
    }

    /// Goes a round down; false at the bottom, where no slope is above [`TOLERANCE`], or only rounding is left.
    pub(super) fn round(&mut self, problem: &Problem<'_>) -> bool {
        let Self { at, loss, gradient, memory } = self;
        if gradient.iter().all(|slope| slope.abs() <= TOLERANCE) {
            return false;
        }
        let direction = direction(gradient, memory);
        let slope = dot(gradient, &direction);
        let mut step = if memory.is_empty() { 1.0 / dot(gradient, gradient).sqrt().max(1.0) } else { 1.0 };
        let (next, next_loss, next_gradient) = loop {
            let mut next = at.clone();
            next.values.iter_mut().zip(&direction).for_each(|(value, direction)| *value += step * direction);
            let mut gradient = vec![0.0; gradient.len()];
            let next_loss = problem.evaluate(&next, &mut gradient);
            if next_loss <= *loss + DECREASE * step * slope {
                break (next, next_loss, gradient);
            }
            step /= 2.0;
            if step < 1e-12 {
                return false;
            }
        };
        let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        let (moved, turned) = (minus(&next.values, &at.values), minus(&next_gradient, gradient));
        let curvature = dot(&moved, &turned);
        if curvature > 0.0 {
            memory.push_back((moved, turned, curvature));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (*at, *loss, *gradient) = (next, next_loss, next_gradient);
        true
    }
}

/// The direction of descent: minus the gradient times the inverse of the Hessian that the memory tells.
fn direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let add = |to: &mut [f64], factor: f64, values: &[f64]| {
        to.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
    };
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut factors = Vec::new();
    for (moved, turned, curvature) in memory.iter().rev() {
        let factor = dot(moved, &direction) / curvature;
        add(&mut direction, -factor, turned);
        factors.push(factor);
    }
    if let Some((_, turned, curvature)) = memory.back() {
        let scale = curvature / dot(turned, turned);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for ((moved, turned, curvature), factor) in memory.iter().zip(factors.into_iter().rev()) {
        let back = dot(turned, &direction) / curvature;
        add(&mut direction, factor - back, moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
