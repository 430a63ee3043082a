//! Learned classifiers and their files.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::{Linear, Neighbours};
use crate::error::{Error, Result};
use crate::network::Output;
use crate::weights::learned::LearnedHead;

const LINEAR: [&str; 2] = ["predictions.weight", "predictions.bias"];
const NEIGHBOURS: [&str; 2] = ["neighbours.features", "neighbours.classes"];

/// A learned classifier of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    description: LearnedHead,
    output: Output,
    classifier: Classifier,
}

#[derive(Clone, Debug, PartialEq)]
enum Classifier {
    /// Weights `[classes][features]` and biases.
    Linear(Vec<f32>, Vec<f32>),
    Neighbours(Neighbours),
}

impl Head {
    /// The bytes of the file of a learned layer.
    ///
    /// # Errors
    /// As [`LearnedHead::serialize`].
    pub fn of_linear(description: &LearnedHead, linear: &Linear) -> Result<Vec<u8>> {
        let (weights, biases) = (linear.weights(), linear.biases());
        let classes = biases.len();
        let shape = vec![classes, weights.len() / classes.max(1)];
        let [weight, bias] = LINEAR;
        description.serialize([(weight, shape, &weights), (bias, vec![classes], &biases)])
    }

    /// The bytes of the file of examples.
    ///
    /// # Errors
    /// As [`LearnedHead::serialize`].
    pub fn of_neighbours(description: LearnedHead, neighbours: &Neighbours) -> Result<Vec<u8>> {
        let examples = neighbours.classes.len();
        let shape = vec![examples, neighbours.features[0].len()];
        let classes: Vec<f32> = neighbours.classes.iter().map(|&class| class as f32).collect();
        let [features, class] = NEIGHBOURS;
        let description = LearnedHead { neighbours: Some(neighbours.votes), ..description };
        description.serialize([(features, shape, &neighbours.features.concat()), (class, vec![examples], &classes)])
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is none of a learned head, or damaged.
    pub fn read(file: &[u8]) -> Result<Self> {
        let damaged = |what: &str| Error::Weights(format!("the learned head is damaged: {what}"));
        let Some(description) = LearnedHead::read(file)? else {
            let message = "this is not the whole file of a head that was learned here";
            return Err(Error::Weights(message.to_owned()));
        };
        let output = description.output()?;
        let tensors = SafeTensors::deserialize(file).map_err(|error| damaged(&error.to_string()))?;
        let read = |name: &str| {
            let tensor = tensors.tensor(name).map_err(|error| damaged(&error.to_string()))?;
            if tensor.dtype() != Dtype::F32 {
                return Err(damaged(&format!("{name} is not f32")));
            }
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
            if !values.iter().all(|value| value.is_finite()) {
                return Err(damaged(&format!("{name} has what is no number")));
            }
            Ok((tensor.shape().to_vec(), values))
        };
        let classes = description.labels.len();
        let names = if description.neighbours.is_some() { NEIGHBOURS } else { LINEAR };
        let [(shape, values), (others, more)] = [read(names[0])?, read(names[1])?];
        let &[rows, features] = &shape[..] else { return Err(damaged("its shapes")) };
        if others != [rows] || rows == 0 || features == 0 || classes < 2 {
            return Err(damaged("its shapes"));
        }
        let classifier = match description.neighbours {
            None if rows == classes => Classifier::Linear(values, more),
            Some(votes) if (1..=rows).contains(&votes) => {
                let is_class = |&value: &f32| value >= 0.0 && value < classes as f32 && value.fract() == 0.0;
                if !more.iter().all(is_class) {
                    return Err(damaged("its classes"));
                }
                let features = values.chunks_exact(features).map(<[f32]>::to_vec).collect();
                let classes = more.into_iter().map(|class| class as usize).collect();
                Classifier::Neighbours(Neighbours { votes, features, classes })
            }
            _ => return Err(damaged("its shapes")),
        };
        Ok(Self { description, output, classifier })
    }

    /// Labels, output and backbone.
    pub fn description(&self) -> &LearnedHead {
        &self.description
    }

    /// The weights of a class, unless neighbours vote.
    pub fn weights(&self, class: usize) -> Option<&[f32]> {
        match &self.classifier {
            Classifier::Linear(weights, biases) => weights.chunks_exact(weights.len() / biases.len()).nth(class),
            Classifier::Neighbours(_) => None,
        }
    }

    /// The probability of each class.
    ///
    /// # Errors
    /// [`Error::Argument`] if these are not as many features as were learned.
    pub fn predict(&self, features: &[f32]) -> Result<Vec<f32>> {
        let classes = self.description.labels.len();
        let learned = match &self.classifier {
            Classifier::Linear(weights, _) => weights.len() / classes,
            Classifier::Neighbours(neighbours) => neighbours.features[0].len(),
        };
        if features.len() != learned {
            let message = format!("the head was learned on {learned} features, and there are {}", features.len());
            return Err(Error::Argument(message));
        }
        let (weights, biases) = match &self.classifier {
            Classifier::Neighbours(neighbours) => return Ok(neighbours.shares(features, classes)),
            Classifier::Linear(weights, biases) => (weights, biases),
        };
        let logit = |(row, &bias): (&[f32], &f32)| {
            let products = row.iter().zip(features).map(|(&weight, &feature)| f64::from(weight) * f64::from(feature));
            f64::from(bias) + products.sum::<f64>()
        };
        let logits: Vec<f64> = weights.chunks_exact(learned).zip(biases).map(logit).collect();
        if self.output == Output::Sigmoid {
            return Ok(logits.iter().map(|logit| (1.0 / (1.0 + libm::exp(-logit))) as f32).collect());
        }
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = logits.iter().map(|logit| libm::exp(logit - most)).collect();
        let sum: f64 = powers.iter().sum();
        Ok(powers.iter().map(|power| (power / sum) as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Examples, Learner, Options};
    use super::*;

    fn examples() -> Examples {
        let mut examples = Examples::default();
        for (features, class) in [([1.0, 0.1], 0), ([0.9, 0.0], 0), ([0.1, 1.0], 1), ([0.0, 0.9], 1)] {
            examples.push(features.to_vec(), class);
        }
        examples
    }

    fn description(output: Output) -> LearnedHead {
        LearnedHead::new("backbone".to_owned(), vec!["right".to_owned(), "up".to_owned()], output)
    }

    #[test]
    fn what_is_written_is_read() {
        for output in [Output::Softmax, Output::Sigmoid] {
            let learned = Learner::new(examples(), 2, Options { output, ..Options::default() }).unwrap().finish();
            let file = Head::of_linear(&description(output), &learned.linear).unwrap();
            let head = Head::read(&file).unwrap();
            assert_eq!(head.description(), &description(output));
            assert_eq!(head.weights(1).unwrap(), &learned.linear.weights()[2..]);
            let features = [0.2, 0.7];
            let [right, up] = head.predict(&features).unwrap()[..] else { panic!("not two classes") };
            let logits = learned.linear.logits(&features);
            let sigmoid = |logit: f64| (1.0 / (1.0 + (-logit).exp())) as f32;
            let expected = match output {
                Output::Sigmoid => [sigmoid(logits[0]), sigmoid(logits[1])],
                _ => [sigmoid(logits[0] - logits[1]), sigmoid(logits[1] - logits[0])],
            };
            assert!((right - expected[0]).abs() < 1e-6 && (up - expected[1]).abs() < 1e-6, "{right} {up} {expected:?}");
            assert!(head.predict(&[1.0]).unwrap_err().to_string().contains("2 features, and there are 1"));
        }
    }

    #[test]
    fn neighbours_vote_and_each_example_is_predicted_by_the_others() {
        let mut examples = examples();
        // On the other side, with a variant right beside it.
        examples.push(vec![0.2, 1.0], 0);
        examples.push_variant(vec![0.21, 1.0], 4);
        let (neighbours, held_out) = Neighbours::new(examples.clone(), 2, Some(1)).unwrap();
        assert_eq!(held_out[..2], [(0, 0), (1, 0)]);
        // The last one's variant does not vote for it; it has changed the answer for the third, whose nearest it is.
        assert_eq!(held_out[2..], [(2, 0), (3, 1), (4, 1)]);
        let file = Head::of_neighbours(description(Output::Softmax), &neighbours).unwrap();
        let head = Head::read(&file).unwrap();
        assert_eq!(head.predict(&[3.0, 0.2]).unwrap(), [1.0, 0.0]);
        let three = Neighbours::new(examples.clone(), 2, Some(3)).unwrap().0;
        assert_eq!(three.shares(&[0.0, 1.0], 2), [1.0 / 3.0, 2.0 / 3.0]);
        // The smallest class has two.
        assert_eq!(Neighbours::new(examples.clone(), 2, None).unwrap().0.votes, 2);
        let error = Neighbours::new(examples, 2, Some(7)).unwrap_err().to_string();
        assert!(error.contains("7 neighbours"), "{error}");
    }

    #[test]
    fn damaged_files_are_refused() {
        let linear = Learner::new(examples(), 2, Options::default()).unwrap().finish().linear;
        let neighbours = Neighbours::new(examples(), 2, None).unwrap().0;
        let whole = Head::of_linear(&description(Output::Softmax), &linear).unwrap();
        let others = Head::of_neighbours(description(Output::Softmax), &neighbours).unwrap();
        let text = |file: &[u8], from: &str, to: &str| {
            let changed = String::from_utf8_lossy(&file[8..]).find(from).map(|at| at + 8).unwrap();
            let mut file = file.to_vec();
            file[changed..changed + to.len()].copy_from_slice(to.as_bytes());
            file
        };
        for (file, word) in [
            (whole[..whole.len() - 1].to_vec(), "not the whole file"),
            (text(&whole, "softmax", "linear "), "linear"),
            (text(&whole, "predictions.bias", "predictions.bios"), "predictions.bias"),
            (text(&others, "neighbours.classes", "neighbours.glasses"), "neighbours.classes"),
            (b"a text".to_vec(), "not the whole file"),
        ] {
            let error = Head::read(&file).unwrap_err().to_string();
            assert!(error.contains(word), "{error} does not mention {word}");
        }
        let description = LearnedHead { neighbours: Some(1), ..description(Output::Softmax) };
        for class in [7.0, 0.5, -1.0, f32::NAN] {
            let tensors = [(NEIGHBOURS[0], vec![1, 2], &[1.0, 0.0][..]), (NEIGHBOURS[1], vec![1], &[class][..])];
            let error = Head::read(&description.serialize(tensors).unwrap()).unwrap_err().to_string();
            assert!(error.contains("damaged"), "{error}");
        }
        for end in 0..others.len() {
            assert!(Head::read(&others[..end]).is_err(), "{end} bytes");
        }
    }
}
