//! The nearest examples as a classifier, for a handful of them.

use super::Examples;
use crate::error::{Error, Result};

/// Examples, the nearest of which vote: by the cosine of the angle between features, each with one voice, as scikit-learn's
/// `KNeighborsClassifier(metric="cosine")`.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// How many vote.
    pub votes: usize,
    /// The features of each example.
    pub features: Vec<Vec<f32>>,
    /// The class of each.
    pub classes: Vec<usize>,
}

impl Neighbours {
    /// Takes examples of `count` classes, of which `votes` vote: else as many as the smallest class has, at most 5. Also gives what is predicted
    /// for each by the others, without its variants.
    ///
    /// # Errors
    /// [`Error::Argument`] as [`super::Learner::new`], or if more are to vote than there are.
    pub fn new(examples: Examples, count: usize, votes: Option<usize>) -> Result<(Self, Vec<(usize, usize)>)> {
        examples.check(count)?;
        let smallest = examples.counts(count).into_iter().min().unwrap_or_default();
        let votes = votes.unwrap_or(smallest.min(5));
        let most = examples.classes.len();
        if !(1..=most).contains(&votes) {
            return Err(Error::Argument(format!("{votes} neighbours cannot vote: give a number from 1 to {most}")));
        }
        let Examples { features, classes, origins } = examples;
        let all = Self { votes, features, classes };
        let origin = |index: &usize| origins[*index] == *index;
        let others = |index: usize| {
            let is_other = |&other: &usize| origins[other] != index;
            // The first of equal ones.
            let votes = all.vote(&all.features[index], count, is_other);
            (index, (0..count).rev().max_by_key(|&class| votes[class]).unwrap_or_default())
        };
        let held_out = (0..most).filter(origin).map(others).collect();
        Ok((all, held_out))
    }

    /// The votes for each of `count` classes by the nearest of those examples that `may`; the first ones of those that are equally near.
    fn vote(&self, features: &[f32], count: usize, may: impl Fn(&usize) -> bool) -> Vec<usize> {
        let length = |values: &[f32]| dot(values, values).sqrt().max(f64::MIN_POSITIVE);
        let cosine = |index: usize| {
            let other = &self.features[index];
            dot(features, other) / (length(features) * length(other))
        };
        let mut near: Vec<(usize, f64)> =
            (0..self.classes.len()).filter(may).map(|index| (index, cosine(index))).collect();
        near.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let mut votes = vec![0; count];
        near.iter().take(self.votes).for_each(|&(index, _)| votes[self.classes[index]] += 1);
        votes
    }

    /// The share of votes for each of `count` classes.
    pub fn shares(&self, features: &[f32], count: usize) -> Vec<f32> {
        let votes = self.vote(features, count, |_| true);
        votes.into_iter().map(|votes| votes as f32 / self.votes as f32).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
