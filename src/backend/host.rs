//! Shared by backends in this machine's memory: photos are resized on upload, and images are computed one after the other.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Engine, Readback};
use crate::error::Result;
use crate::plan::Plan;
use crate::resize::{Fit, Preprocessing, Resizer, Rgba};
use crate::weights::safetensors::Meta;

/// Runs passes on activations in memory, for one image.
pub trait HostRunner {
    /// The values of a slot.
    fn slot(&self, slot: usize) -> &[f32];

    /// The values of a slot, to be written.
    fn slot_mut(&mut self, slot: usize) -> &mut [f32];

    /// Runs some passes.
    fn run(&mut self, passes: Range<usize>);

    /// Adds the slots and passes that a plan has more, at its end.
    fn extend(&mut self, plan: Plan);

    /// Bytes of the weights.
    fn weight_bytes(&self) -> u64;
}

/// A plan in this machine's memory. Engines for more images share one runner.
#[derive(Debug)]
pub struct HostEngine<R> {
    plan: Plan,
    runner: Arc<Mutex<R>>,
    preprocessing: Preprocessing,
    /// Height and width of the network's input.
    size: [usize; 2],
    /// Resized photos: levels from 0 to 255, `[height][width][3]`; zeros before one was uploaded.
    photos: Vec<Vec<f32>>,
}

impl<R: HostRunner> HostEngine<R> {
    /// An engine without photos.
    pub fn new(plan: Plan, runner: R, meta: &Meta) -> Self {
        Self::sharing(plan, Arc::new(Mutex::new(runner)), meta.preprocessing, meta.input_size)
    }

    fn sharing(plan: Plan, runner: Arc<Mutex<R>>, preprocessing: Preprocessing, size: [usize; 2]) -> Self {
        let photos = vec![vec![0.0; 3 * size[0] * size[1]]; plan.batch];
        Self { plan, runner, preprocessing, size, photos }
    }

    fn runner(&self) -> MutexGuard<'_, R> {
        self.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: HostRunner> Engine for HostEngine<R> {
    type Readback = Values;

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn weight_bytes(&self) -> u64 {
        self.runner().weight_bytes()
    }

    async fn replanned(&self, plan: Plan) -> Result<Self> {
        let plan = Plan { batch: plan.batch, ..self.plan.clone() };
        Ok(Self::sharing(plan, self.runner.clone(), self.preprocessing, self.size))
    }

    async fn extend(&mut self, plan: Plan) -> Result<()> {
        self.runner().extend(plan);
        Ok(())
    }

    async fn upload(&mut self, index: usize, photo: &Rgba, fit: Option<Fit>) -> Result<()> {
        let mut resizer = Resizer::new(self.preprocessing.fitted(fit), [photo.width(), photo.height()], self.size);
        resizer.push(photo.data());
        self.upload_levels(index, resizer.finish());
        Ok(())
    }

    fn upload_levels(&mut self, index: usize, levels: Vec<f32>) {
        self.photos[index] = levels;
    }

    fn write_slot(&self, slot: usize, values: &[f32]) {
        self.runner().slot_mut(slot)[..values.len()].copy_from_slice(values);
    }

    fn submit(&self, passes: Range<usize>, images: usize, slot: usize, len: usize) -> Result<Values> {
        let mut runner = self.runner();
        let mut values = Vec::with_capacity(len);
        for photo in &self.photos[..images] {
            // Later passes write where the image was.
            if passes.start == 0 {
                self.preprocessing.normalise(photo, runner.slot_mut(self.plan.image));
            }
            runner.run(passes.clone());
            values.extend(&runner.slot(slot)[..len / images]);
        }
        Ok(Values(values))
    }
}

/// Values that are there already.
#[derive(Debug)]
#[must_use]
pub struct Values(Vec<f32>);

impl Readback for Values {
    async fn read(self) -> Result<Vec<f32>> {
        Ok(self.0)
    }
}
