//! Trained arrays of the backbone as the kernels read them: batch norm folded into the convolution before it.
//!
//! `γ · (x · W − μ) / √(σ² + ε) + β  =  x · (W · g) + (β − μ · g)` with `g = γ / √(σ² + ε)`, one gain per output channel.

use crate::error::{Error, Result};
use crate::network::layer::{DEPTHWISE_NORM, Layer, NORM};

/// A reader of trained arrays by the names of [`Layer::parameters`]; none where an array is missing.
type Reader<'a> = &'a mut dyn FnMut(&'static str) -> Result<Option<Vec<f32>>>;

/// A batch norm as a gain and a shift for each channel.
pub(super) struct Gains {
    pub gains: Vec<f64>,
    pub shifts: Vec<f64>,
}

impl Gains {
    /// Of trained arrays, of which gamma and beta may be missing.
    pub(super) fn new(epsilon: f64, [gamma, beta]: [Option<Vec<f32>>; 2], [mean, variance]: [Vec<f32>; 2]) -> Self {
        let gamma = gamma.unwrap_or_else(|| vec![1.0; variance.len()]);
        let beta = beta.unwrap_or_else(|| vec![0.0; mean.len()]);
        let gain = |(&gamma, &variance): (&f32, &f32)| f64::from(gamma) / (f64::from(variance) + epsilon).sqrt();
        let gains: Vec<f64> = gamma.iter().zip(&variance).map(gain).collect();
        let shift = |((&beta, &mean), gain): ((&f32, &f32), &f64)| f64::from(beta) - f64::from(mean) * gain;
        Self { shifts: beta.iter().zip(&mean).zip(&gains).map(shift).collect(), gains }
    }

    /// Multiplies rows of values for each channel.
    fn scale(&self, weights: &mut [f32]) {
        for row in weights.chunks_exact_mut(self.gains.len()) {
            row.iter_mut().zip(&self.gains).for_each(|(value, gain)| *value = (f64::from(*value) * gain) as f32);
        }
    }
}

/// The folded tensors of a convolution with its batch norms, in the order of [`Layer::tensors`]. `read` gives its trained arrays by
/// the names and in the layouts of [`Layer::parameters`]; there may be a `bias` and a `depthwise_bias` too, and gamma and beta may be missing.
///
/// The batch norm of a depthwise half goes into its weights and, where there is nothing between the halves, through the pointwise ones
/// into the bias. One behind a sum goes into the weights and into factors of what is added.
pub(super) fn fold(
    layer: &Layer,
    epsilon: f64,
    mut read: impl FnMut(&'static str) -> Result<Option<Vec<f32>>>,
) -> Result<Vec<Vec<f32>>> {
    let channels = layer.output.channels;
    let missing = |name: &str| Error::Weights(format!("{} has no array {name}", layer.name));
    let norm = |[gamma, beta, mean, variance]: [&'static str; 4], read: Reader<'_>| {
        let mut required = |name: &'static str| -> Result<Vec<f32>> { read(name)?.ok_or_else(|| missing(name)) };
        let statistics = [required(mean)?, required(variance)?];
        Ok::<_, Error>(Gains::new(epsilon, [read(gamma)?, read(beta)?], statistics))
    };
    let folded = format!("{}, with its batch norm folded in,", layer.name);
    let narrow = |values: &[f64]| finite(&folded, values.iter().map(|&value| value as f32).collect());
    let mut tensors = Vec::new();
    let bias = read("bias")?.unwrap_or_else(|| vec![0.0; channels]);
    let mut bias: Vec<f64> = bias.into_iter().map(f64::from).collect();
    let kernel = if layer.is_separable() { "pointwise_kernel" } else { "kernel" };
    let mut weight = read(kernel)?.ok_or_else(|| missing(kernel))?;
    if layer.is_separable() {
        let mut window = read("depthwise_kernel")?.ok_or_else(|| missing("depthwise_kernel"))?;
        let depthwise_bias = read("depthwise_bias")?.unwrap_or_else(|| vec![0.0; layer.input.channels]);
        let mut shifts: Vec<f64> = depthwise_bias.into_iter().map(f64::from).collect();
        if layer.depthwise_norm {
            let norm = norm(DEPTHWISE_NORM, &mut read)?;
            norm.scale(&mut window);
            for ((shift, gain), normed) in shifts.iter_mut().zip(&norm.gains).zip(&norm.shifts) {
                *shift = *shift * gain + normed;
            }
        }
        tensors.push(finite(&folded, window)?);
        if layer.has_depthwise_bias() {
            tensors.push(narrow(&shifts)?);
        } else {
            for (row, shift) in weight.chunks_exact(channels).zip(&shifts) {
                bias.iter_mut().zip(row).for_each(|(bias, weight)| *bias += shift * f64::from(*weight));
            }
        }
    }
    let mut factors = Vec::new();
    if layer.batch_norm {
        let norm = norm(NORM, &mut read)?;
        norm.scale(&mut weight);
        for ((bias, gain), shift) in bias.iter_mut().zip(&norm.gains).zip(&norm.shifts) {
            *bias = *bias * gain + shift;
        }
        factors = norm.gains;
    }
    if layer.norm_of_sum {
        bias.extend(factors);
    }
    tensors.extend([finite(&folded, weight)?, narrow(&bias)?]);
    Ok(tensors)
}

/// Passes values on that are all finite.
pub(super) fn finite(what: &str, values: Vec<f32>) -> Result<Vec<f32>> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err(Error::Weights(format!("{what} holds a value that is not a finite number (NaN)")))
}
