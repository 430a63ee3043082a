//! Class activation maps: passes behind a plan's own, from a class back to the pixels of the last activation.
//!
//! A logit is linear in the features' mean at this image: dense layers are, and a ReLU either passes a value on or does
//! not. So each pixel contributes the sum of its features, weighted by how much the logit changes with them; the map's mean
//! is the logit, but for the biases. With one dense layer that is the class activation map of
//! [Zhou et al.](https://arxiv.org/abs/1512.04150), with more of them [Grad-CAM](https://arxiv.org/abs/1610.02391).

use crate::dtype::Dtype;
use crate::ops::{ClassMap, DenseTransposed, GlobalAveragePool, Op};
use crate::plan::{Binding, Pass, Plan, Slot};

/// A plan that can explain its answer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The plan for one image, with passes and slots more at its end.
    pub plan: Plan,
    /// The first of these passes.
    pub first: usize,
    /// The slot that takes the gradient: 1 for the class to be explained and 0 for the others, `[classes]`.
    pub gradient: usize,
    /// The slot with the map: `[height, width]` of the last activation.
    pub map: usize,
}

impl Explanation {
    /// Of a plan for one image.
    pub fn new(plan: &Plan) -> Self {
        let Plan { passes, slots, .. } = plan;
        let mut slots = slots.clone();
        let mut slot = |len: usize| {
            slots.push(Slot { len, dtype: Dtype::F32 });
            slots.len() - 1
        };
        let gradient = slot(plan.classes.next_multiple_of(4));
        let mut from = gradient;
        let mut added = Vec::new();
        // A layer has several passes where its weights exceed a binding: they add up.
        let layers: Vec<&Pass> = passes.iter().filter(|pass| matches!(pass.op, Op::Dense(_))).collect();
        for layer in layers.chunk_by(|one, other| one.writes == other.writes).rev() {
            let mut writes = None;
            for &Pass { ref label, op, ref reads, writes: result, .. } in layer.iter().copied() {
                if let Op::Dense(dense) = op {
                    let op = Op::from(DenseTransposed(dense));
                    let writes = *writes.get_or_insert_with(|| slot(op.output_len()));
                    let reads = vec![Binding::Slot(from), Binding::Slot(result), reads[1]];
                    added.push(Pass { label: format!("{label}.transposed"), layer: None, op, reads, writes });
                }
            }
            from = writes.unwrap_or(from);
        }
        let mut map = from;
        for Pass { op, reads, .. } in passes {
            if let Op::GlobalAveragePool(GlobalAveragePool { input }) = *op {
                map = slot(input.pixels());
                let reads = vec![reads[0], Binding::Slot(from)];
                added.push(Pass {
                    label: "class_map".to_owned(),
                    layer: None,
                    op: ClassMap { input }.into(),
                    reads,
                    writes: map,
                });
            }
        }
        let first = passes.len();
        let plan = Plan { passes: [&passes[..], &added].concat(), slots, ..plan.clone() };
        Self { plan, first, gradient, map }
    }
}
