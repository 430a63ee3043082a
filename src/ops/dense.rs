//! Fully connected layer, or some of its outputs.
//!
//! `output[first + n] = r(bias[first + n] + Σ_k input[k] · weight[n, k])`, r = ReLU or identity

use super::{Buffer, Operation, Role, Work, flag, n, relu};
use crate::shader::{self, Constants, Kernel};

/// Fully connected layer: reads input `[in]`, some rows of the weight `[out, in]`, and bias `[all]`; rows of the weight are padded with
/// zeros to whole `vec4`s. Input, bias and result are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Values read.
    pub inputs: usize,
    /// The first row, an index into bias and result.
    pub first: usize,
    /// Values written.
    pub outputs: usize,
    /// Values of the whole layer.
    pub all: usize,
    /// Whether negative results become zero.
    pub relu_after: bool,
}

impl Operation for Dense {
    const ON_CPU: bool = true;

    fn kernel(&self) -> &'static Kernel {
        &shader::DENSE
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![
            Buffer::vector(self.inputs),
            Buffer::weights(&[self.outputs, self.inputs], Role::Matrix(0)),
            Buffer::weights(&[self.all], Role::Bias),
        ]
    }

    fn output(&self) -> Buffer {
        Buffer::vector(self.all)
    }

    fn constants(&self, _batch: usize) -> Constants {
        let Self { inputs, first, outputs, all, relu_after } = *self;
        vec![
            n("INPUTS", inputs),
            n("FIRST", first),
            n("OUTPUTS", outputs),
            n("ALL", all),
            flag("RELU_AFTER", relu_after),
        ]
    }

    fn work(&self, images: usize) -> Work {
        // 16 invocations share an output.
        Work { extent: [16, self.outputs, images], invocation: [1; 3], workgroup: [16, 16, 1] }
    }

    fn macs(&self) -> u64 {
        self.inputs as u64 * self.outputs as u64
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Self { inputs, first, outputs, relu_after, .. } = *self;
        let row = inputs.next_multiple_of(4);
        for n in 0..outputs {
            let products = (0..inputs).map(|k| reads[0][k] * reads[1][n * row + k]);
            out[first + n] = relu(reads[2][first + n] + products.sum::<f32>(), relu_after);
        }
    }

    fn tolerance(&self) -> (f32, f32) {
        (1e-4, 1e-5)
    }

    fn cases() -> Vec<Self> {
        let mut cases = Vec::new();
        // 17,000 classes right after the mean are beyond the 128 MiB that WebGPU grants every buffer.
        for (inputs, widest) in [(1, 17_000), (3, 17_000), (100, 17_000), (2048, 1000)] {
            for outputs in [1, 6, 7, 65, widest] {
                for relu_after in [false, true] {
                    cases.push(Self { inputs, first: 0, outputs, all: outputs, relu_after });
                    cases.push(Self { inputs, first: 64, outputs, all: outputs + 70, relu_after });
                }
            }
        }
        cases
    }
}
