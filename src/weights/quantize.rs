//! Weights of 8 bits: `weight ≈ q · scale`, with one f32 scale for each output channel.

use crate::layer::Tensor;

/// A tensor's values as signed bytes −127 to 127, and the scales of its output channels: the largest magnitude of a
/// channel becomes 127.
pub(super) fn quantize(tensor: &Tensor, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut scales = vec![0.0_f32; tensor.scales()];
    for (index, value) in values.iter().enumerate() {
        let scale = &mut scales[tensor.channel(index)];
        *scale = scale.max(value.abs() / 127.0);
    }
    // A channel without weights has any scale.
    let byte = |(index, value): (usize, &f32)| match scales[tensor.channel(index)] {
        0.0 => 0,
        scale => (value / scale).round_ties_even() as i8 as u8,
    };
    (values.iter().enumerate().map(byte).collect(), scales)
}
