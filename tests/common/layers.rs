//! A network's activations against sums and samples of an oracle's (`record` in `tools/oracle.py`).

use xception::backend::{Backend, Engine, Readback};
use xception::classifier::Classifier;
use xception::dtype::Dtype;

use super::{assert_close, block_on, golden};

/// atol and rtol of a model's activations: f16 rounds to 11 bits, layer after layer.
pub fn tolerance<B: Backend>(classifier: &Classifier<B>) -> (f32, f32) {
    if classifier.storage() == Dtype::F16 { (5e-2, 2e-2) } else { (1e-3, 1e-3) }
}

/// Runs the plan layer by layer and compares the layers that the oracle has under the names `golden_name` gives them; how many there are.
pub fn compare_layers<B: Backend>(classifier: &Classifier<B>, golden_name: impl Fn(&str) -> String) -> usize {
    let (golden, (atol, rtol)) = (golden(), tolerance(classifier));
    let (mut next, mut compared) = (0, 0);
    for (layer, _) in classifier.network().readable() {
        let name = golden_name(layer);
        let Some(sums) = golden.floats(&format!("{name}.sums")) else { continue };
        let (index, shape) = classifier.plan().pass_of(classifier.network(), layer).unwrap();
        let (writes, len) = (classifier.plan().passes[index].writes, shape.stored());
        let values = classifier.engine(1).submit(next..index + 1, 1, writes, len).unwrap();
        let values = block_on(values.read()).unwrap();
        (next, compared) = (index + 1, compared + 1);
        let (channels, pixels) = (sums.len(), (len / sums.len()) as f32);
        let means: Vec<f32> =
            (0..channels).map(|c| values[c..].iter().step_by(channels).sum::<f32>() / pixels).collect();
        let expected: Vec<f32> = sums.iter().map(|sum| sum / pixels).collect();
        assert_close(&format!("{name}'s channel means"), &means, &expected, &[channels], atol, rtol);
        let places = golden.integers(&format!("{name}.places")).unwrap();
        let samples: Vec<f32> = places.iter().map(|&place| values[place as usize]).collect();
        let expected = golden.floats(&format!("{name}.values")).unwrap();
        assert_close(&format!("{name}, sampled"), &samples, &expected, &[expected.len()], atol, rtol);
    }
    compared
}
