//! New classes from examples: a layer of softmax or sigmoids is learned on the features of a backbone, which stays as it is; or the examples
//! themselves are the classifier, by the nearest of them.
//!
//! A fifth of each class's examples is held out first. Where their loss was clearly less before the end of learning, by more than two standard
//! errors, learning stops there: by one alone photos lost up to 5 of 36 right answers (tests/learn.rs). It is then repeated with all examples. The result depends on examples, options and seed alone, bit for bit.

mod accuracy;
mod examples;
mod head;
mod neighbours;
mod regression;

pub use accuracy::{Accuracy, interval};
pub use examples::Examples;
pub use head::Head;
pub use neighbours::Neighbours;
pub use regression::Linear;
use regression::{Descent, Problem};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::network::Output;

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

/// Learning, round by round.
#[derive(Clone, Debug)]
pub struct Learner {
    examples: Examples,
    options: Options,
    /// The examples of each part, and how much each counts.
    all: Vec<(usize, f64)>,
    learned: Vec<(usize, f64)>,
    held: Vec<(usize, f64)>,
    /// Learning without what is held out, until its end.
    trial: Option<Trial>,
    curve: Vec<Round>,
    predicted: Vec<(usize, usize)>,
    /// Learning of all examples, the rounds that it took, and the most.
    descent: Descent,
    taken: usize,
    rounds: usize,
}

/// Learning without what is held out.
#[derive(Clone, Debug)]
struct Trial {
    descent: Descent,
    /// The least loss of what is held out, where that was, and behind how many rounds.
    best: (f64, Linear, usize),
}

impl Learner {
    /// Begins to learn `count` classes.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are fewer than two classes, one of them has no example, features have different lengths or are no
    /// numbers, or an option is out of range.
    pub fn new(examples: Examples, count: usize, options: Options) -> Result<Self> {
        examples.check(count)?;
        if !matches!(options.output, Output::Softmax | Output::Sigmoid) {
            let output = options.output;
            return Err(Error::Argument(format!("{output} is no output of classes: give softmax or sigmoid")));
        }
        if !(options.penalty > 0.0 && options.penalty.is_finite()) {
            return Err(Error::Argument(format!("the penalty is {}, and must be above 0", options.penalty)));
        }
        let held = if options.holds_out { examples.held_out(count, options.seed) } else { Vec::new() };
        let is_learned = |&index: &usize| !held.contains(&examples.origins[index]);
        let every = 0..examples.classes.len();
        let shares = |of| examples.shares(of, count, options.is_balanced);
        let (all, learned) = (shares(every.clone().collect()), shares(every.filter(is_learned).collect()));
        let held = shares(held);
        let begin = |shares| Descent::new(&problem(&examples, &options, shares), count);
        let descent = begin(&all);
        let trial = (!held.is_empty()).then(|| {
            let descent = begin(&learned);
            Trial { best: (f64::INFINITY, descent.at.clone(), 0), descent }
        });
        let (curve, predicted, taken, rounds) = (Vec::new(), Vec::new(), 0, options.rounds);
        Ok(Self { examples, options, all, learned, held, trial, curve, predicted, descent, taken, rounds })
    }

    fn problem<'a>(&'a self, shares: &'a [(usize, f64)]) -> Problem<'a> {
        problem(&self.examples, &self.options, shares)
    }

    /// Goes on for a round; false behind the last.
    pub fn step(&mut self) -> bool {
        let Some(mut trial) = self.trial.take() else {
            let problem = problem(&self.examples, &self.options, &self.all);
            let goes_on = self.taken < self.rounds && self.descent.round(&problem);
            self.taken += usize::from(goes_on);
            return goes_on;
        };
        let rounds = self.curve.len();
        if rounds == self.options.rounds || !trial.descent.round(&self.problem(&self.learned)) {
            self.decide(trial);
            return true;
        }
        let held_out = mean_of(&self.problem(&self.held).each_loss(&trial.descent.at));
        self.curve.push(Round { loss: trial.descent.loss, held_out });
        if held_out < trial.best.0 {
            trial.best = (held_out, trial.descent.at.clone(), rounds + 1);
        }
        self.trial = Some(trial);
        true
    }

    /// Decides how many rounds all examples get, and predicts what is held out.
    fn decide(&mut self, trial: Trial) {
        let (_, best, rounds) = trial.best;
        let mut end = trial.descent.at;
        let problem = self.problem(&self.held);
        if is_less(&problem.each_loss(&best), &problem.each_loss(&end)) {
            (end, self.rounds) = (best, rounds);
        }
        let predict = |&(index, _): &(usize, f64)| (index, end.class(&self.examples.features[index]));
        self.predicted = self.held.iter().map(predict).collect();
    }

    /// The losses of the rounds without what is held out, so far.
    pub fn curve(&self) -> &[Round] {
        &self.curve
    }

    /// How many rounds all examples had so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Takes the rounds that are left, and gives the result.
    pub fn finish(mut self) -> Learned {
        while self.step() {}
        Learned { linear: self.descent.at, rounds: self.taken, curve: self.curve, held_out: self.predicted }
    }
}

fn problem<'a>(examples: &'a Examples, options: &Options, shares: &'a [(usize, f64)]) -> Problem<'a> {
    Problem { examples, shares, penalty: options.penalty, output: options.output }
}

/// The mean of each channel of an activation, `[places][channels]`.
pub fn mean(values: &[f32], places: usize, channels: usize) -> Vec<f32> {
    let sum = |channel: usize| values.iter().skip(channel).step_by(channels).sum::<f32>();
    (0..channels).map(|channel| sum(channel) / places as f32).collect()
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Whether losses are less than others of the same examples, by more than two standard errors of the mean difference.
fn is_less(losses: &[f64], others: &[f64]) -> bool {
    let gains: Vec<f64> = losses.iter().zip(others).map(|(loss, other)| other - loss).collect();
    let gain = mean_of(&gains);
    let squares: Vec<f64> = gains.iter().map(|one| (one - gain) * (one - gain)).collect();
    gains.len() > 1 && gain > 2.0 * (mean_of(&squares) / (gains.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around the corners of a triangle.
    fn triangle(each: usize) -> Examples {
        let mut examples = Examples::default();
        for index in 0..3 * each {
            let noise = |factor: usize| ((index * factor) % 17) as f32 / 40.0;
            let mut features = vec![noise(5), noise(7), noise(11)];
            features[index % 3] += 1.0;
            examples.push(features, index % 3);
        }
        examples
    }

    fn learn(examples: &Examples, options: &Options) -> Result<Learned> {
        Learner::new(examples.clone(), 3, options.clone()).map(Learner::finish)
    }

    #[test]
    fn classes_that_lie_apart_are_learned_and_the_same_bits_come_again() {
        for output in [Output::Softmax, Output::Sigmoid] {
            let examples = triangle(10);
            let options = Options { output, ..Options::default() };
            let learned = learn(&examples, &options).unwrap();
            let right = |index: &usize| learned.linear.class(&examples.features[*index]) == examples.classes[*index];
            assert_eq!((0..30).filter(right).count(), 30);
            assert_eq!(learned.held_out.len(), 6);
            assert!(learned.held_out.iter().all(|&(index, class)| class == examples.classes[index]));
            assert!(learned.curve.len() > 3 && learned.curve[0].loss > learned.curve[3].loss);
            let again = learn(&examples, &options).unwrap();
            assert_eq!(again.linear, learned.linear);
        }
    }

    #[test]
    fn mirror_images_are_held_out_with_their_origin() {
        let mut examples = triangle(5);
        for index in 0..15 {
            examples.push_variant(examples.features[index].clone(), index);
        }
        let learned = learn(&examples, &Options::default()).unwrap();
        assert_eq!(learned.held_out.len(), 3);
        assert!(learned.held_out.iter().all(|&(index, _)| index < 15));
    }

    #[test]
    fn what_cannot_be_learned_is_refused() {
        let examples = triangle(2);
        let refused = |examples: &Examples, count, options: &Options, word: &str| {
            let error = Learner::new(examples.clone(), count, options.clone()).unwrap_err().to_string();
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
}
