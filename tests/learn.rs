//! Learned classes against scikit-learn's (`tools/make_learn_golden.py`).

mod common;

use common::assert_close;
use safetensors::SafeTensors;
use xception::learn::{Examples, Learner, Linear, Neighbours, Options};
use xception::network::Output;

/// Points whose classes overlap.
const SETS: [&str; 3] = ["few", "wide", "uneven"];

/// The features of photos.
const PHOTOS: [&str; 3] = ["kitchenware", "pictures", "light"];

/// A file of golden values.
struct Golden(Vec<u8>);

impl Golden {
    fn read() -> Self {
        Self(std::fs::read(common::data("learn.safetensors")).unwrap())
    }

    fn floats(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let values = tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        (tensor.shape().to_vec(), values.collect())
    }

    fn classes(&self, name: &str) -> Vec<usize> {
        let (_, bits) = self.floats(name);
        bits.into_iter().map(|value| value.to_bits() as usize).collect()
    }

    fn examples(&self, name: &str) -> Examples {
        let (shape, values) = self.floats(&format!("{name}.features"));
        let features = values.chunks_exact(shape[1]).map(<[f32]>::to_vec);
        let mut examples = Examples::default();
        features.zip(self.classes(&format!("{name}.classes"))).for_each(|(row, class)| examples.push(row, class));
        examples
    }

    /// The examples to learn, and others.
    fn set(&self, name: &str) -> (Examples, Examples) {
        (self.examples(&format!("{name}.train")), self.examples(&format!("{name}.test")))
    }
}

fn learned(train: &Examples, options: &Options) -> Linear {
    let count = train.classes.iter().max().unwrap() + 1;
    Learner::new(train.clone(), count, options.clone()).unwrap().finish().linear
}

fn classes(linear: &Linear, test: &Examples) -> Vec<usize> {
    test.features.iter().map(|features| linear.class(features)).collect()
}

#[test]
fn coefficients_and_predictions_are_scikit_learns() {
    let golden = Golden::read();
    for name in SETS {
        let (train, test) = golden.set(name);
        for (kind, output, is_balanced) in
            [("plain", Output::Softmax, false), ("balanced", Output::Softmax, true), ("rest", Output::Sigmoid, false)]
        {
            let what = format!("{name}.{kind}");
            let options = Options { output, is_balanced, holds_out: false, rounds: 10_000, ..Options::default() };
            let linear = learned(&train, &options);
            for (part, values) in [("weights", linear.weights()), ("biases", linear.biases())] {
                let (shape, expected) = golden.floats(&format!("{what}.{part}"));
                assert_close(&format!("{what}.{part}"), &values, &expected, &shape, 2e-3, 2e-3);
            }
            let predicted = classes(&linear, &test);
            assert_eq!(predicted, golden.classes(&format!("{what}.predicted")), "{what}");
        }
    }
}

/// With what is held out, as `xception learn` does it.
#[test]
fn accuracies_are_scikit_learns_within_one_example() {
    let golden = Golden::read();
    for name in SETS.into_iter().chain(PHOTOS) {
        let (train, test) = golden.set(name);
        let right = |predicted: &[usize]| predicted.iter().zip(&test.classes).filter(|(a, b)| a == b).count();
        let theirs = right(&golden.classes(&format!("{name}.balanced.predicted")));
        for seed in 1..=20 {
            let linear = learned(&train, &Options { seed, ..Options::default() });
            let predicted = classes(&linear, &test);
            let ours = right(&predicted);
            assert!(
                ours + 1 >= theirs,
                "{name}, seed {seed}: {ours} of {} are right, and {theirs} by scikit-learn",
                predicted.len()
            );
        }
    }
}

/// Predictions of the nearest examples; of equally near ones each may be the fifth.
#[test]
fn neighbours_predict_what_scikit_learns_do() {
    let golden = Golden::read();
    for name in PHOTOS {
        let (train, test) = golden.set(name);
        let count = train.classes.iter().max().unwrap() + 1;
        let (neighbours, _) = Neighbours::new(train, count, Some(5)).unwrap();
        let class = |features: &Vec<f32>| {
            let shares = neighbours.shares(features, count);
            (0..count).rev().max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap()
        };
        let predicted: Vec<usize> = test.features.iter().map(class).collect();
        assert_eq!(predicted, golden.classes(&format!("{name}.neighbours.predicted")), "{name}");
    }
}
