//! Weights of 8 bits: `weight ≈ q · scale`, with one f32 scale for each output channel.

use crate::dtype::Dtype;
use crate::network::layer::Tensor;

/// A tensor's values as signed bytes −127 to 127, and the scales of its output channels: the largest magnitude of a
/// channel becomes 127.
pub(super) fn quantize(tensor: &Tensor, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut scales = vec![0.0_f32; tensor.scales()];
    for (index, value) in values.iter().enumerate() {
        let scale = &mut scales[tensor.channel(index)];
        *scale = scale.max(value.abs() / 127.0);
    }
    // A channel of zeros has the scale 0, and stays zeros.
    let steps = |(index, value): (usize, &f32)| value / scales[tensor.channel(index)].max(f32::MIN_POSITIVE);
    let steps: Vec<f32> = values.iter().enumerate().map(steps).collect();
    (Dtype::I8.encode(&steps), scales)
}
