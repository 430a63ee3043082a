//! How often predictions are right.

use serde::Serialize;

/// How often predictions are right, and which are not.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// How many predictions there are.
    pub photos: usize,
    /// How many are right.
    pub right: usize,
    /// The [`interval`] in which the share of right ones lies.
    pub interval: [f64; 2],
    /// How many photos of each class (rows) were taken for which (columns).
    pub confusion: Vec<Vec<usize>>,
    /// Those that are not: photo, class, prediction.
    pub wrong: Vec<(usize, usize, usize)>,
}

impl Accuracy {
    /// Of photos, the classes of each, and the predicted ones, out of `count`.
    pub fn new(count: usize, answers: impl IntoIterator<Item = (usize, usize, usize)>) -> Self {
        let mut confusion = vec![vec![0; count]; count];
        let (mut photos, mut wrong) = (0, Vec::new());
        for (photo, class, predicted) in answers {
            photos += 1;
            confusion[class][predicted] += 1;
            if class != predicted {
                wrong.push((photo, class, predicted));
            }
        }
        let right = photos - wrong.len();
        Self { photos, right, interval: interval(right, photos), confusion, wrong }
    }
}

/// The interval in which a share lies by 95 %, after Wilson (1927), where `successes` of `count` were seen.
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

    #[test]
    fn intervals_are_wilsons() {
        let [low, high] = interval(8, 10);
        assert!((low - 0.490_16).abs() < 1e-4 && (high - 0.943_32).abs() < 1e-4, "{low} {high}");
        assert_eq!(interval(0, 0)[0], 0.0);
        assert!(interval(10, 10)[1] > 0.999_999 && (interval(10, 10)[0] - 0.722_46).abs() < 1e-4);
    }

    #[test]
    fn wrong_answers_are_named_and_counted() {
        let accuracy = Accuracy::new(3, [(0, 0, 0), (1, 1, 2), (2, 2, 2), (5, 0, 0)]);
        assert_eq!((accuracy.photos, accuracy.right, accuracy.wrong), (4, 3, vec![(1, 1, 2)]));
        assert_eq!(accuracy.confusion, [vec![2, 0, 0], vec![0, 0, 1], vec![0, 0, 1]]);
    }
}
