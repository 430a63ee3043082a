//! Class activation maps: passes behind a plan's own, from an output back to the pixels of the backbone's last activation.
//!
//! Each pixel contributes the sum of its features, weighted by how much the output's logit changes with them. Where all layers of the
//! head are linear piece by piece, as pooling, dense layers, batch norms and ReLU are, the map's mean is the logit, but for what biases
//! add: the map is exact. Behind one mean and dense layer that is the class activation map of
//! [Zhou et al.](https://arxiv.org/abs/1512.04150), with more of them [Grad-CAM](https://arxiv.org/abs/1610.02391) by features. With
//! other activation functions it is the gradient at this image.

use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::ops::{
    ActivationGradient, ClassMap, DenseTransposed, GlobalAveragePool, GlobalMaxPool, Op, Pool, PoolGradient, Pooling,
    PreluGradient, ScaleGradient,
};
use crate::plan::{Binding, Pass, Plan, Slot};

/// A plan that can explain its answer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The plan for one image, with passes and slots more at its end.
    pub plan: Plan,
    /// The first of these passes.
    pub first: usize,
    /// The slot that takes the gradient: 1 for the output to be explained and 0 for the others, `[outputs]`.
    pub gradient: usize,
    /// The slot with the map: `[height, width]` of the last activation.
    pub map: usize,
    /// Whether the map is exact, or else a gradient.
    pub is_exact: bool,
}

/// The slots of gradients, and the passes that compute them.
struct Backwards {
    slots: Vec<Slot>,
    passes: Vec<Pass>,
}

impl Backwards {
    fn slot(&mut self, len: usize) -> usize {
        self.slots.push(Slot { len, dtype: Dtype::F32 });
        self.slots.len() - 1
    }

    fn pass(&mut self, label: String, op: impl Into<Op>, reads: Vec<Binding>, writes: Option<usize>) -> usize {
        let op = op.into();
        let writes = writes.unwrap_or_else(|| self.slot(op.output_len()));
        self.passes.push(Pass { label, layer: None, op, reads, writes });
        writes
    }
}

impl Explanation {
    /// Of a plan for one image.
    ///
    /// # Errors
    /// [`Error::Argument`] if the model has no outputs but features.
    pub fn new(plan: &Plan) -> Result<Self> {
        let Plan { passes, slots, .. } = plan;
        let head: Vec<&Pass> =
            passes.iter().filter(|pass| pass.layer.is_some_and(|layer| layer >= plan.backbone)).collect();
        if head.is_empty() {
            return Err(Error::Argument(
                "the model has no output but its features: there is nothing to explain".to_owned(),
            ));
        }
        let mut back = Backwards { slots: slots.clone(), passes: Vec::new() };
        let gradient = back.slot(plan.outputs.next_multiple_of(4));
        let mut from = gradient;
        let (mut is_exact, mut is_shared) = (true, false);
        // A layer has several passes where its weights exceed a binding, or poolings lie one behind the other: they add up.
        for layer in head.chunk_by(|one, other| one.writes == other.writes).rev() {
            let mut writes = None;
            for (part, &&Pass { ref label, op, ref reads, writes: result, .. }) in layer.iter().enumerate() {
                let (same, from, result) = (from, Binding::Slot(from), Binding::Slot(result));
                let label = format!("{label}.gradient");
                let pooled = |back: &mut Backwards, pool: Pool| {
                    let op = PoolGradient { pool, adds: part > 0 };
                    back.pass(label.clone(), op, vec![from, reads[0]], writes)
                };
                writes = Some(match op {
                    Op::Dense(dense) => back.pass(label, DenseTransposed(dense), vec![from, result, reads[1]], writes),
                    Op::Activation(activation) => {
                        is_exact &= activation.function.is_piecewise_linear();
                        back.pass(label, ActivationGradient(activation), vec![from, reads[0]], writes)
                    }
                    Op::Prelu(prelu) => back.pass(label, PreluGradient(prelu), vec![from, reads[0], reads[1]], writes),
                    Op::ScaleShift(scale) => {
                        back.pass(label, ScaleGradient { values: scale.values }, vec![from, reads[1]], writes)
                    }
                    // Each pixel has the same share.
                    Op::GlobalAveragePool(_) if layer.len() == 1 && reads[0] == Binding::Slot(plan.features) => {
                        is_shared = true;
                        same
                    }
                    Op::GlobalAveragePool(GlobalAveragePool { input, slice }) => {
                        pooled(&mut back, Pool::global(input, Pooling::Mean, slice))
                    }
                    Op::GlobalMaxPool(GlobalMaxPool { input, slice }) => {
                        pooled(&mut back, Pool::global(input, Pooling::Max, slice))
                    }
                    Op::Pool(pool) => pooled(&mut back, pool),
                    // Flatten's values are the same.
                    _ => same,
                });
            }
            from = writes.unwrap_or(from);
        }
        let op = ClassMap { input: plan.features_shape, is_shared };
        let reads = vec![Binding::Slot(plan.features), Binding::Slot(from)];
        let map = back.pass("class_map".to_owned(), op, reads, None);
        let first = passes.len();
        let plan = Plan { passes: [&passes[..], &back.passes].concat(), slots: back.slots, ..plan.clone() };
        Ok(Self { plan, first, gradient, map, is_exact })
    }
}
