//! Batch norm folded into the convolution before it.
//!
//! `γ · (x · W − μ) / √(σ² + ε) + β  =  x · (W · g) + (β − μ · g)` with `g = γ / √(σ² + ε)`, one gain per output channel.

/// Batch norm as it is trained, one value per channel each.
#[derive(Clone, Debug)]
pub(super) struct BatchNorm {
    /// γ.
    pub gamma: Vec<f32>,
    /// β.
    pub beta: Vec<f32>,
    /// μ, the moving mean.
    pub mean: Vec<f32>,
    /// σ², the moving variance.
    pub variance: Vec<f32>,
    /// ε.
    pub epsilon: f64,
}

impl BatchNorm {
    /// Multiplies `weight` (`[…, channels]`) by the gain of its last dimension and returns the bias.
    pub(super) fn fold(&self, weight: &mut [f32]) -> Vec<f32> {
        let gain = |(&gamma, &variance): (&f32, &f32)| f64::from(gamma) / (f64::from(variance) + self.epsilon).sqrt();
        let gains: Vec<f64> = self.gamma.iter().zip(&self.variance).map(gain).collect();
        for row in weight.chunks_exact_mut(gains.len()) {
            for (value, gain) in row.iter_mut().zip(&gains) {
                *value = (f64::from(*value) * gain) as f32;
            }
        }
        let bias = |((&beta, &mean), gain): ((&f32, &f32), &f64)| (f64::from(beta) - f64::from(mean) * gain) as f32;
        self.beta.iter().zip(&self.mean).zip(&gains).map(bias).collect()
    }
}
