//! Features and their classes.

use crate::error::{Error, Result};

/// Features and their classes.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// The features of each example.
    pub features: Vec<Vec<f32>>,
    /// The class of each.
    pub classes: Vec<usize>,
    /// The example of which each is a variant, such as a mirror image; else itself. Variants are held out with their origin.
    pub(super) origins: Vec<usize>,
}

impl Examples {
    /// Adds an example.
    pub fn push(&mut self, features: Vec<f32>, class: usize) {
        self.origins.push(self.classes.len());
        self.features.push(features);
        self.classes.push(class);
    }

    /// Adds a variant of an example, such as a mirror image.
    pub fn push_variant(&mut self, features: Vec<f32>, of: usize) {
        self.origins.push(of);
        self.features.push(features);
        self.classes.push(self.classes[of]);
    }

    /// The example, if any, with these very features: the same photo.
    pub fn find(&self, features: &[f32]) -> Option<usize> {
        (0..self.classes.len()).find(|&index| self.origins[index] == index && self.features[index] == features)
    }

    /// How many examples each of `count` classes has, without variants.
    pub fn counts(&self, count: usize) -> Vec<usize> {
        let mut counts = vec![0; count];
        for (index, &class) in self.classes.iter().enumerate() {
            counts[class] += usize::from(self.origins[index] == index);
        }
        counts
    }

    pub(super) fn check(&self, count: usize) -> Result<()> {
        let refuse = |message: String| Err(Error::Argument(message));
        if count < 2 {
            return refuse(format!("there are {count} classes to learn: give examples of at least two"));
        }
        if let Some(class) = (0..count).find(|class| !self.classes.contains(class)) {
            return refuse(format!("class {class} has no example"));
        }
        let length = self.features[0].len();
        if self.classes.iter().any(|&class| class >= count) || self.classes.len() != self.features.len() {
            return refuse(format!("there are classes beyond the {count} that are to be learned"));
        }
        if self.features.iter().any(|features| features.len() != length || !features.iter().all(|x| x.is_finite())) {
            return refuse("examples have features of different numbers, or such as are no numbers".to_owned());
        }
        Ok(())
    }

    /// How much each of some examples counts: alike, or so that all classes do.
    pub(super) fn shares(&self, of: Vec<usize>, count: usize, is_balanced: bool) -> Vec<(usize, f64)> {
        let mut sizes = vec![0.0_f64; count];
        of.iter().for_each(|&index| sizes[self.classes[index]] += 1.0);
        let total = of.len() as f64;
        let share = |index: usize| if is_balanced { total / (count as f64 * sizes[self.classes[index]]) } else { 1.0 };
        of.into_iter().map(|index| (index, share(index))).collect()
    }

    /// A fifth of each class, at least one of two or more.
    pub(super) fn held_out(&self, count: usize, seed: u64) -> Vec<usize> {
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
            let is_own = |&index: &usize| self.classes[index] == class && self.origins[index] == index;
            let mut own: Vec<usize> = (0..self.classes.len()).filter(is_own).collect();
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
}
