//! Softmax over the logits, and the most likely classes in order; equal ones by their number.
//!
//! `p[n] = exp(logits[n] − max) / Σ_i exp(logits[i] − max)`

use super::{Buffer, Operation, Work, n};
use crate::shader::{self, Constants, Kernel};

/// Softmax: reads logits; writes `top` indices (as the bits of f32) and their `top` probabilities, then all probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxTopk {
    /// The number of logits.
    pub classes: usize,
    /// How many classes are ranked.
    pub top: usize,
}

impl Operation for SoftmaxTopk {
    fn kernel(&self) -> &'static Kernel {
        &shader::SOFTMAX_TOPK
    }

    fn reads(&self) -> Vec<Buffer> {
        vec![Buffer::vector(self.classes)]
    }

    fn output(&self) -> Buffer {
        Buffer::unpadded(2 * self.top + self.classes)
    }

    fn constants(&self, _batch: usize) -> Constants {
        vec![n("CLASSES", self.classes), n("TOP", self.top)]
    }

    fn work(&self, images: usize) -> Work {
        // A workgroup shares an image.
        Work { extent: [256, images, 1], invocation: [1; 3], workgroup: [256, 1, 1] }
    }

    fn reference(&self, reads: &[&[f32]], out: &mut [f32]) {
        let Self { classes, top } = *self;
        let logits = &reads[0][..classes];
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        let probability = |n: usize| (logits[n] - largest).exp() / sum;
        let mut left: Vec<usize> = (0..classes).collect();
        for rank in 0..top {
            let better = |one, other| if logits[other] > logits[one] { other } else { one };
            let Some(class) = left.iter().copied().reduce(better) else { break };
            left.retain(|&other| other != class);
            out[rank] = f32::from_bits(class as u32);
            out[top + rank] = probability(class);
        }
        for class in 0..classes {
            out[2 * top + class] = probability(class);
        }
    }

    fn tolerance(&self) -> (f32, f32) {
        // WGSL grants exp(x) an error of 3 + 2·|x| units in the last place.
        (1e-7, 1e-4)
    }

    fn cases() -> Vec<Self> {
        [1, 2, 6, 7, 11, 257, 1000, 17_000].map(|classes| Self { classes, top: classes.min(10) }).to_vec()
    }
}
