//! Fully connected layer backwards, or the share of some of its outputs.
//!
//! `output[k] = Σ_n gradient[first + n] · weight[n, k]`, only over outputs with `result[first + n] > 0` where a ReLU follows the layer

use super::{Buffer, Dense, Operation, Role, Work};
use crate::shader::{self, Constants, Kernel};

/// Fully connected layer backwards: reads a gradient `[all]`, the layer's result `[all]`, and some rows of its weight `[out, in]`;
/// writes `[in]`, or adds to it where the rows are not the first. All but the weight are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseTransposed(
    /// The layer, whose inputs are written.
    pub Dense,
);

impl Operation for DenseTransposed {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        &shader::DENSE_TRANSPOSED
    }

    fn reads(&self) -> Vec<Buffer> {
        let Dense { inputs, outputs, all, .. } = self.0;
        vec![Buffer::vector(all), Buffer::vector(all), Buffer::weights(&[outputs, inputs], Role::Matrix(0))]
    }

    fn output(&self) -> Buffer {
        Buffer::vector(self.0.inputs)
    }

    fn constants(&self, batch: usize) -> Constants {
        self.0.constants(batch)
    }

    fn work(&self, images: usize) -> Work {
        Work { extent: [self.0.inputs, images, 1], invocation: [4, 1, 1], workgroup: [64, 1, 1] }
    }

    fn macs(&self) -> u64 {
        self.0.macs()
    }

    fn values_read(&self) -> usize {
        2 * self.0.outputs
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Dense { inputs, first, outputs, relu_after, .. } = self.0;
        let row = inputs.next_multiple_of(4);
        let passes = |n: &usize| !relu_after || reads[1][first + n] > 0.0;
        if first == 0 {
            out.fill(0.0);
        }
        for (k, out) in out[..inputs].iter_mut().enumerate() {
            *out += (0..outputs).filter(passes).map(|n| reads[0][first + n] * reads[2][n * row + k]).sum::<f32>();
        }
    }

    fn tolerance(&self) -> (f32, f32) {
        // Up to 17,000 products.
        (3e-4, 1e-5)
    }

    fn cases() -> Vec<Self> {
        Dense::cases().into_iter().filter(|dense| dense.inputs != 3 && dense.outputs != 7).map(Self).collect()
    }
}
