//! Trained arrays of the backbone as the kernels read them: batch norm folded into the convolution before it.
//!
//! `γ · (x · W − μ) / √(σ² + ε) + β  =  x · (W · g) + (β − μ · g)` with `g = γ / √(σ² + ε)`, one gain per output channel.

use crate::error::{Error, Result};
use crate::network::layer::Layer;

/// The folded tensors of a convolution with its batch norm, in the order of [`Layer::tensors`]. `read` gives its trained arrays by
/// the names and in the layouts of [`Layer::parameters`]; there may be a `bias` too, and gamma and beta may be missing.
pub(super) fn fold(
    layer: &Layer,
    epsilon: f64,
    mut read: impl FnMut(&'static str) -> Result<Option<Vec<f32>>>,
) -> Result<Vec<Vec<f32>>> {
    let channels = layer.output.channels;
    let missing = |name: &str| Error::Weights(format!("{} has no array {name}", layer.name));
    let mut required = |name: &'static str| read(name)?.ok_or_else(|| missing(name));
    let mut tensors = Vec::new();
    let mut kernel = "kernel";
    if layer.is_separable() {
        tensors.push(required("depthwise_kernel")?);
        kernel = "pointwise_kernel";
    }
    let mut weight = required(kernel)?;
    let (mean, variance) = (required("moving_mean")?, required("moving_variance")?);
    let gamma = read("gamma")?.unwrap_or_else(|| vec![1.0; channels]);
    let gain = |(&gamma, &variance): (&f32, &f32)| f64::from(gamma) / (f64::from(variance) + epsilon).sqrt();
    let gains: Vec<f64> = gamma.iter().zip(&variance).map(gain).collect();
    for row in weight.chunks_exact_mut(gains.len()) {
        for (value, gain) in row.iter_mut().zip(&gains) {
            *value = (f64::from(*value) * gain) as f32;
        }
    }
    let [beta, bias] = ["beta", "bias"].map(&mut read);
    let (beta, bias) = (beta?.unwrap_or_else(|| vec![0.0; channels]), bias?.unwrap_or_else(|| vec![0.0; channels]));
    let shift = |c: usize| (f64::from(beta[c]) + (f64::from(bias[c]) - f64::from(mean[c])) * gains[c]) as f32;
    let folded = format!("{}, with its batch norm folded in,", layer.name);
    tensors.extend([finite(&folded, weight)?, finite(&folded, (0..channels).map(shift).collect())?]);
    Ok(tensors)
}

/// Passes values on that are all finite.
pub(super) fn finite(what: &str, values: Vec<f32>) -> Result<Vec<f32>> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err(Error::Weights(format!("{what} holds a value that is not a finite number (NaN)")))
}
