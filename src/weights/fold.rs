//! Trained arrays as the kernels read them: batch norm folded into the convolution before it, dense layers by rows.
//!
//! `γ · (x · W − μ) / √(σ² + ε) + β  =  x · (W · g) + (β − μ · g)` with `g = γ / √(σ² + ε)`, one gain per output channel.

use super::assumed::{Assumption, FINAL_ACTIVATION, HIDDEN_ACTIVATION, ORDER, POOLING, untold};
use crate::error::{Error, Result};
use crate::network::Dense;
use crate::network::layer::Layer;

/// The folded tensors of a convolution with its batch norm, in the order of [`Layer::tensors`]. `read` gives its trained
/// arrays by the names and in the layouts of [`Layer::parameters`].
pub(super) fn fold(
    layer: &Layer,
    epsilon: f64,
    mut read: impl FnMut(&'static str) -> Result<Vec<f32>>,
) -> Result<Vec<Vec<f32>>> {
    let mut tensors = Vec::new();
    let mut kernel = "kernel";
    if layer.is_separable() {
        tensors.push(read("depthwise_kernel")?);
        kernel = "pointwise_kernel";
    }
    let mut weight = read(kernel)?;
    let (gamma, variance) = (read("gamma")?, read("moving_variance")?);
    let gain = |(&gamma, &variance): (&f32, &f32)| f64::from(gamma) / (f64::from(variance) + epsilon).sqrt();
    let gains: Vec<f64> = gamma.iter().zip(&variance).map(gain).collect();
    for row in weight.chunks_exact_mut(gains.len()) {
        for (value, gain) in row.iter_mut().zip(&gains) {
            *value = (f64::from(*value) * gain) as f32;
        }
    }
    let (beta, mean) = (read("beta")?, read("moving_mean")?);
    let bias = |((&beta, &mean), gain): ((&f32, &f32), &f64)| (f64::from(beta) - f64::from(mean) * gain) as f32;
    let bias: Vec<f32> = beta.iter().zip(&mean).zip(&gains).map(bias).collect();
    let folded = format!("{}, with its batch norm folded in,", layer.name);
    tensors.extend([finite(&folded, weight)?, finite(&folded, bias)?]);
    Ok(tensors)
}

/// The layers behind the backbone.
#[derive(Clone, Debug)]
pub struct Head {
    /// The dense layers.
    pub dense: Vec<Dense>,
    /// Their tensors.
    pub tensors: Vec<Vec<f32>>,
    /// Facts that its file does not tell.
    pub assumed: Vec<Assumption>,
}

/// The head as its file has it.
pub(super) struct Told {
    /// Whether the file tells that features are the mean over all pixels.
    pub mean: bool,
    /// Whether it tells the order of the dense layers.
    pub order: bool,
    /// Whether it tells the activation between them.
    pub hidden_activation: bool,
    /// Whether it tells the activation behind the last one.
    pub final_activation: bool,
}

impl Head {
    /// A head; a single output is taken as a sigmoid's.
    pub(super) fn new(mut dense: Vec<Dense>, mut tensors: Vec<Vec<f32>>, told: Told) -> Self {
        let names: Vec<&str> = dense.iter().map(|dense| &*dense.name).collect();
        let is_sigmoid = dense.last().is_some_and(|last| last.units == 1);
        let assumed = untold([
            (told.mean, POOLING, "average".to_owned()),
            (told.order, ORDER, names.join(", ")),
            (told.hidden_activation || dense.len() < 2, HIDDEN_ACTIVATION, "ReLU".to_owned()),
            (
                told.final_activation || dense.is_empty(),
                FINAL_ACTIVATION,
                if is_sigmoid { "sigmoid" } else { "softmax" }.to_owned(),
            ),
        ]);
        if let (Some(last), [.., weight, bias], true) = (dense.last_mut(), &mut tensors[..], is_sigmoid) {
            // Of −z/2 and z/2 softmax makes 1 − σ(z) and σ(z), and each class has a class activation map.
            last.units = 2;
            *weight = [-0.5, 0.5].iter().flat_map(|half| weight.iter().map(move |value| half * value)).collect();
            *bias = vec![-0.5 * bias[0], 0.5 * bias[0], 0.0, 0.0];
        }
        Self { dense, tensors, assumed }
    }
}

/// Whether at most one of some dense layers, `(inputs, units)`, can come next: one that takes `features`, and behind which another
/// can follow if any is left.
pub(super) fn is_one_way(left: &[(usize, usize)], features: usize) -> bool {
    let goes_on = |&(at, &(inputs, units)): &(usize, &(usize, usize))| {
        let follows = |(other, &(inputs, _)): (usize, &(usize, usize))| other != at && inputs == units;
        inputs == features && (left.len() == 1 || left.iter().enumerate().any(follows))
    };
    left.iter().enumerate().filter(goes_on).count() < 2
}

/// The tensors of a dense layer from its kernel, `[in, out]`, and its bias: a row for each output, padded with zeros.
pub(super) fn lay_out(layer: &Layer, kernel: &[f32], bias: Option<Vec<f32>>) -> [Vec<f32>; 2] {
    let (outputs, row) = (layer.output.len(), layer.input.stored());
    let mut rows = vec![0.0; outputs * row];
    for (input, values) in kernel.chunks_exact(outputs).enumerate() {
        for (output, &value) in values.iter().enumerate() {
            rows[output * row + input] = value;
        }
    }
    let mut bias = bias.unwrap_or_default();
    bias.resize(layer.output.stored(), 0.0);
    [rows, bias]
}

/// Passes values on that are all finite.
pub(super) fn finite(what: &str, values: Vec<f32>) -> Result<Vec<f32>> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err(Error::Weights(format!("{what} holds a value that is not a finite number (NaN)")))
}
