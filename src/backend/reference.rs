//! The reference: every pass by its operation's own definition, one value after the other in f32.

use std::ops::Range;

use super::{Backend, HostEngine, HostRunner, Weights};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::plan::{Binding, Plan};
use crate::tile::Tuning;
use crate::weights::safetensors::{Header, Meta};

/// The reference: slow, and easy to check against the formulas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    type Weights = Vec<Vec<f32>>;
    type Engine = HostEngine<ReferenceRunner>;

    fn name(&self) -> String {
        "reference".to_owned()
    }

    fn storage(&self, _header: &Header, wanted: Option<Dtype>) -> Result<Dtype> {
        match wanted {
            None | Some(Dtype::F32) => Ok(Dtype::F32),
            Some(dtype) => Err(Error::Argument(format!("the reference stores f32, not {dtype}"))),
        }
    }

    fn activations(&self, _weights: Dtype) -> Dtype {
        Dtype::F32
    }

    fn untuned(&self) -> Tuning {
        Tuning::default()
    }

    fn max_batch(&self, _plan: &Plan) -> usize {
        crate::plan::BATCH
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn allocate(&self, plan: &Plan, _dtype: Dtype) -> Result<Vec<Vec<f32>>> {
        Ok(plan.tensors.iter().map(|tensor| vec![0.0; tensor.len()]).collect())
    }

    async fn engine(&self, plan: Plan, weights: Vec<Vec<f32>>, meta: &Meta) -> Result<HostEngine<ReferenceRunner>> {
        Ok(HostEngine::new(plan.clone(), ReferenceRunner::new(plan, weights), meta))
    }
}

impl Weights for Vec<Vec<f32>> {
    fn write(&mut self, tensor: usize, offset: usize, bytes: &[u8]) {
        let values = Dtype::F32.decode(bytes);
        self[tensor][offset / 4..][..values.len()].copy_from_slice(&values);
    }
}

/// A plan, its weights and activations.
#[derive(Debug)]
pub struct ReferenceRunner {
    plan: Plan,
    weights: Vec<Vec<f32>>,
    slots: Vec<Vec<f32>>,
}

impl ReferenceRunner {
    /// Makes room for a plan's activations.
    pub fn new(plan: Plan, weights: Vec<Vec<f32>>) -> Self {
        let mut runner = Self { plan: Plan::default(), weights, slots: Vec::new() };
        runner.extend(plan);
        runner
    }
}

impl HostRunner for ReferenceRunner {
    fn slot(&self, slot: usize) -> &[f32] {
        &self.slots[slot]
    }

    fn slot_mut(&mut self, slot: usize) -> &mut [f32] {
        &mut self.slots[slot]
    }

    fn run(&mut self, passes: Range<usize>) {
        for pass in &self.plan.passes[passes] {
            // No pass reads what it writes.
            let mut out = std::mem::take(&mut self.slots[pass.writes]);
            let values = |read: &Binding| match *read {
                Binding::Slot(slot) => &self.slots[slot][..],
                Binding::Tensor(tensor) => &self.weights[tensor],
                Binding::Rows { tensor, first, count } => {
                    let row = self.weights[tensor].len() / self.plan.tensors[tensor].shape[0];
                    &self.weights[tensor][first * row..][..count * row]
                }
            };
            pass.op.reference(&pass.reads.iter().map(values).collect::<Vec<_>>(), &mut out);
            self.slots[pass.writes] = out;
        }
    }

    fn extend(&mut self, plan: Plan) {
        let new = plan.slots.iter().skip(self.slots.len());
        self.slots.extend(new.map(|slot| vec![0.0; slot.len / plan.batch]));
        self.plan = plan;
    }

    fn weight_bytes(&self) -> u64 {
        self.plan.weight_bytes()
    }
}
