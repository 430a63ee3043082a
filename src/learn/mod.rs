//! New classes from examples: a layer of softmax or sigmoids is learned on the features of a backbone, which stays as it is.
//!
//! A fifth of each class's examples is held out first. Where their loss was clearly less before the end of learning, by more than its standard error,
//! learning stops there. It is then repeated with all examples. The result depends on examples, options and seed alone, bit for bit.

mod regression;

pub use regression::Linear;
use regression::Problem;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::network::Output;

/// The slope at which learning ends.
const TOLERANCE: f64 = 1e-6;

/// Features and their classes.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// The features of each example.
    pub features: Vec<Vec<f32>>,
    /// The class of each.
    pub classes: Vec<usize>,
}

impl Examples {
    /// Adds an example.
    pub fn push(&mut self, features: Vec<f32>, class: usize) {
        self.features.push(features);
        self.classes.push(class);
    }
}

/// How classes are learned.
#[derive(Clone, Debug)]
pub struct Options {
    /// [`Output::Softmax`], one class for each photo; or [`Output::Sigmoid`], each class by itself.
    pub output: Output,
    /// The penalty on the squares of weights; scikit-learn's `1 / C`.
    pub penalty: f64,
    /// Whether rare classes count as much as frequent ones.
    pub is_balanced: bool,
    /// Whether a fifth is held out. Else all rounds are run, or as many as it takes.
    pub holds_out: bool,
    /// The most rounds.
    pub rounds: usize,
    /// The seed of the choice of what is held out.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { output: Output::Softmax, penalty: 1.0, is_balanced: true, holds_out: true, rounds: 300, seed: 1 }
    }
}

/// The losses behind a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// The minimised function, over the examples that are learned.
    pub loss: f64,
    /// The mean loss of those that are held out.
    pub held_out: f64,
}

/// A learned classifier, and how it came about.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The classifier.
    pub linear: Linear,
    /// The rounds that it took, of all examples.
    pub rounds: usize,
    /// The learning curve; empty where nothing was held out.
    pub curve: Vec<Round>,
    /// The examples that were held out, with the classes that were predicted for them.
    pub held_out: Vec<(usize, usize)>,
}

/// Learns `count` classes. Mirror images and other additions are examples whose `origins` have the number of another: they are held out with it.
///
/// # Errors
/// [`Error::Argument`] if there are fewer than two classes, one of them has no example, features have different lengths or are no
/// numbers, or an option is out of range.
pub fn learn(examples: &Examples, origins: &[usize], count: usize, options: &Options) -> Result<Learned> {
    check(examples, count, options)?;
    let all: Vec<usize> = (0..examples.classes.len()).collect();
    let held = if options.holds_out { held_out(examples, origins, count, options.seed) } else { Vec::new() };
    let start = || Linear::new(count, examples.features[0].len());
    let problem = |of: Vec<usize>| {
        let shares = shares(examples, of, count, options.is_balanced);
        Problem { examples, shares, penalty: options.penalty, output: options.output }
    };
    let (mut curve, mut rounds, mut answers) = (Vec::new(), options.rounds, Vec::new());
    if !held.is_empty() {
        let is_held = |index: &usize| held.contains(&origins[*index]);
        let learned = problem(all.iter().copied().filter(|index| !is_held(index)).collect());
        let others = problem(held.clone());
        let mut best = (f64::INFINITY, start(), 0);
        let mut end = learned.minimise(start(), options.rounds, TOLERANCE, |loss, at| {
            let held_out = mean(&others.each_loss(at));
            curve.push(Round { loss, held_out });
            if held_out < best.0 {
                best = (held_out, at.clone(), curve.len());
            }
            true
        });
        if is_less(&others.each_loss(&best.1), &others.each_loss(&end)) {
            (end, rounds) = (best.1, best.2);
        }
        answers = held.iter().map(|&index| (index, end.class(&examples.features[index]))).collect();
    }
    let mut taken = 0;
    let linear = problem(all).minimise(start(), rounds, TOLERANCE, |_, _| {
        taken += 1;
        true
    });
    Ok(Learned { linear, rounds: taken, curve, held_out: answers })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Whether losses are less than others of the same examples, by more than the standard error of the mean difference.
fn is_less(losses: &[f64], others: &[f64]) -> bool {
    let gains: Vec<f64> = losses.iter().zip(others).map(|(loss, other)| other - loss).collect();
    let gain = mean(&gains);
    let squares: Vec<f64> = gains.iter().map(|one| (one - gain) * (one - gain)).collect();
    gains.len() > 1 && gain > (mean(&squares) / (gains.len() - 1) as f64).sqrt()
}

fn check(examples: &Examples, count: usize, options: &Options) -> Result<()> {
    let refuse = |message: String| Err(Error::Argument(message));
    if count < 2 {
        return refuse(format!("there are {count} classes to learn: give examples of at least two"));
    }
    if let Some(class) = (0..count).find(|class| !examples.classes.contains(class)) {
        return refuse(format!("class {class} has no example"));
    }
    let length = examples.features[0].len();
    if examples.classes.iter().any(|&class| class >= count) || examples.classes.len() != examples.features.len() {
        return refuse(format!("there are classes beyond the {count} that are to be learned"));
    }
    if examples.features.iter().any(|features| features.len() != length || !features.iter().all(|x| x.is_finite())) {
        return refuse("examples have features of different numbers, or such as are no numbers".to_owned());
    }
    if !matches!(options.output, Output::Softmax | Output::Sigmoid) {
        return refuse(format!("{} is no output of classes: give softmax or sigmoid", options.output));
    }
    if !(options.penalty > 0.0 && options.penalty.is_finite()) {
        return refuse(format!("the penalty is {}, and must be above 0", options.penalty));
    }
    Ok(())
}

/// How much each of some examples counts: alike, or so that all classes do.
fn shares(examples: &Examples, of: Vec<usize>, count: usize, is_balanced: bool) -> Vec<(usize, f64)> {
    let mut sizes = vec![0.0_f64; count];
    of.iter().for_each(|&index| sizes[examples.classes[index]] += 1.0);
    let total = of.len() as f64;
    let share = |index: usize| {
        if is_balanced { total / (count as f64 * sizes[examples.classes[index]]) } else { 1.0 }
    };
    of.into_iter().map(|index| (index, share(index))).collect()
}

/// A fifth of each class, at least one of two or more.
fn held_out(examples: &Examples, origins: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    // SplitMix64.
    let mut below = |end: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    };
    let mut held = Vec::new();
    for class in 0..count {
        let is_own = |&index: &usize| examples.classes[index] == class && origins[index] == index;
        let mut own: Vec<usize> = (0..examples.classes.len()).filter(is_own).collect();
        let part = if own.len() < 2 { 0 } else { (own.len() / 5).max(1) };
        for place in 0..part {
            let other = place + below(own.len() - place);
            own.swap(place, other);
        }
        held.extend(&own[..part]);
    }
    held.sort_unstable();
    held
}

/// The interval in which the share of successes lies by 95 %, after Wilson (1927).
pub fn interval(successes: usize, count: usize) -> [f64; 2] {
    let (n, z) = (count.max(1) as f64, 1.959_963_984_540_054);
    let share = successes as f64 / n;
    let middle = share + z * z / (2.0 * n);
    let width = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    [middle - width, middle + width].map(|bound| (bound / (1.0 + z * z / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around the corners of a triangle.
    fn triangle(each: usize) -> (Examples, Vec<usize>) {
        let mut examples = Examples::default();
        for index in 0..3 * each {
            let noise = |factor: usize| ((index * factor) % 17) as f32 / 40.0;
            let mut features = vec![noise(5), noise(7), noise(11)];
            features[index % 3] += 1.0;
            examples.push(features, index % 3);
        }
        (examples, (0..3 * each).collect())
    }

    #[test]
    fn classes_that_lie_apart_are_learned_and_the_same_bits_come_again() {
        for output in [Output::Softmax, Output::Sigmoid] {
            let (examples, origins) = triangle(10);
            let options = Options { output, ..Options::default() };
            let learned = learn(&examples, &origins, 3, &options).unwrap();
            let right = |index: &usize| learned.linear.class(&examples.features[*index]) == examples.classes[*index];
            assert_eq!((0..30).filter(right).count(), 30);
            assert_eq!(learned.held_out.len(), 6);
            assert!(learned.held_out.iter().all(|&(index, class)| class == examples.classes[index]));
            assert!(learned.curve.len() > 3 && learned.curve[0].loss > learned.curve[3].loss);
            let again = learn(&examples, &origins, 3, &options).unwrap();
            assert_eq!(again.linear, learned.linear);
        }
    }

    #[test]
    fn mirror_images_are_held_out_with_their_origin() {
        let (mut examples, mut origins) = triangle(5);
        for index in 0..15 {
            examples.push(examples.features[index].clone(), examples.classes[index]);
            origins.push(index);
        }
        let learned = learn(&examples, &origins, 3, &Options::default()).unwrap();
        assert_eq!(learned.held_out.len(), 3);
        assert!(learned.held_out.iter().all(|&(index, _)| index < 15));
    }

    #[test]
    fn what_cannot_be_learned_is_refused() {
        let (examples, origins) = triangle(2);
        let refused = |examples: &Examples, count, options: &Options, word: &str| {
            let error = learn(examples, &origins, count, options).unwrap_err().to_string();
            assert!(error.contains(word), "{error} does not mention {word}");
        };
        let options = Options::default();
        refused(&examples, 1, &options, "1 classes");
        refused(&examples, 4, &options, "class 3 has no example");
        refused(&examples, 2, &options, "beyond the 2");
        refused(&examples, 3, &Options { penalty: 0.0, ..options.clone() }, "penalty");
        refused(&examples, 3, &Options { output: Output::Linear, ..options.clone() }, "softmax or sigmoid");
        let mut odd = examples.clone();
        odd.features[2].pop();
        refused(&odd, 3, &options, "different numbers");
        odd.features[2] = vec![f32::NAN; 3];
        refused(&odd, 3, &options, "no numbers");
    }

    #[test]
    fn intervals_are_wilsons() {
        let [low, high] = interval(8, 10);
        assert!((low - 0.490_16).abs() < 1e-4 && (high - 0.943_32).abs() < 1e-4, "{low} {high}");
        assert_eq!(interval(0, 0)[0], 0.0);
        assert!(interval(10, 10)[1] > 0.999_999 && (interval(10, 10)[0] - 0.722_46).abs() < 1e-4);
    }
}
