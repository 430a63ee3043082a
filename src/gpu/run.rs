//! A plan's passes as pipelines, bind groups and buffers, all made once and replayed for each photo.

use std::collections::HashMap;
use std::num::NonZero;
use std::ops::RangeBounds;

use futures_channel::oneshot;

use super::Gpu;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::kernel::Op;
use crate::layer::Tensor;
use crate::plan::{Binding, Plan};

struct Step {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 3],
}

/// A plan ready to run.
pub struct Runner {
    gpu: Gpu,
    steps: Vec<Step>,
    slots: Vec<wgpu::Buffer>,
    /// How each slot's values are stored.
    dtypes: Vec<Dtype>,
    tensors: Vec<wgpu::Buffer>,
    staging: wgpu::Buffer,
    pipelines: usize,
}

impl Runner {
    /// Makes every pipeline, bind group and buffer of a plan.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where a buffer is beyond the device's limits, [`Error::OutOfMemory`] where memory ends.
    pub async fn new(gpu: &Gpu, plan: &Plan) -> Result<Self> {
        for (index, slot) in plan.slots.iter().enumerate() {
            gpu.fits(&format!("activation buffer {index} of this input size"), slot.bytes(), true)?;
        }
        for tensor in &plan.tensors {
            // The plan binds what is larger by parts.
            gpu.fits(&tensor.name, tensor.bytes(plan.storage) as u64, false)?;
        }
        gpu.scoped(|| Self::build(gpu, plan)).await
    }

    fn build(gpu: &Gpu, plan: &Plan) -> Self {
        let storage = plan.storage;
        let slots = plan.slots.iter().enumerate();
        let slots: Vec<_> = slots.map(|(index, slot)| gpu.buffer(&format!("slot {index}"), slot.bytes())).collect();
        let tensor = |tensor: &Tensor| gpu.buffer(&tensor.name, tensor.bytes(storage) as u64);
        let tensors: Vec<_> = plan.tensors.iter().map(tensor).collect();
        // Passes of the same operation share a pipeline.
        let mut pipelines: HashMap<String, wgpu::ComputePipeline> = HashMap::new();
        let mut step = |pass: &crate::plan::Pass| {
            let op: &Op = &pass.op;
            let pipeline = pipelines
                .entry(format!("{op:?}"))
                .or_insert_with(|| gpu.pipeline(&pass.label, op.kernel(), storage, &op.constants()))
                .clone();
            let buffer = |binding: &Binding| match *binding {
                Binding::Slot(slot) => slots[slot].as_entire_binding(),
                Binding::Tensor(tensor) => tensors[tensor].as_entire_binding(),
                Binding::Rows { tensor, first, count } => {
                    let row = (plan.tensors[tensor].bytes(storage) / plan.tensors[tensor].shape[0]) as u64;
                    let (offset, size) = (first as u64 * row, NonZero::new(count as u64 * row));
                    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &tensors[tensor], offset, size })
                }
            };
            let bindings = pass.reads.iter().chain([&Binding::Slot(pass.writes)]).map(buffer).collect();
            let bind_group = gpu.bind_group(&pass.label, &pipeline, bindings);
            Step { pipeline, bind_group, grid: op.grid() }
        };
        let steps = plan.passes.iter().map(&mut step).collect();
        let staging = staging(gpu, plan.slots[plan.answer].bytes());
        let dtypes = plan.slots.iter().map(|slot| slot.dtype).collect();
        Self { gpu: gpu.clone(), steps, slots, dtypes, tensors, staging, pipelines: pipelines.len() }
    }

    /// The number of pipelines that were made.
    pub fn pipelines(&self) -> usize {
        self.pipelines
    }

    /// The number of dispatches a photo takes, without preprocessing.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// Copies bytes into a tensor, from `offset` bytes on.
    pub fn write_tensor(&self, tensor: usize, offset: usize, bytes: &[u8]) {
        self.gpu.queue.write_buffer(&self.tensors[tensor], offset as u64, bytes);
    }

    /// Copies values into a slot.
    pub fn write_slot(&self, slot: usize, values: &[f32]) {
        self.gpu.queue.write_buffer(&self.slots[slot], 0, &self.dtypes[slot].encode(values));
    }

    /// The buffer of a slot.
    pub fn slot(&self, slot: usize) -> &wgpu::Buffer {
        &self.slots[slot]
    }

    /// Runs some of the plan's passes (`..` for all) after what `before` encodes, as one compute pass in one submit, and
    /// reads the first `len` values of a slot back.
    ///
    /// # Errors
    /// [`Error::Gpu`] where the device fails.
    pub async fn run(
        &self,
        before: impl FnOnce(&mut wgpu::ComputePass),
        passes: impl RangeBounds<usize>,
        slot: usize,
        len: usize,
    ) -> Result<Vec<f32>> {
        self.gpu.check()?;
        let dtype = self.dtypes[slot];
        // Copies are of whole words.
        let bytes = (len * dtype.size()).next_multiple_of(4) as u64;
        let larger;
        let staging = if bytes <= self.staging.size() {
            &self.staging
        } else {
            larger = self.gpu.scoped(|| staging(&self.gpu, bytes)).await?;
            &larger
        };
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("xception"), timestamp_writes: None });
            before(&mut pass);
            for step in &self.steps[(passes.start_bound().cloned(), passes.end_bound().cloned())] {
                pass.set_pipeline(&step.pipeline);
                pass.set_bind_group(0, &step.bind_group, &[]);
                let [x, y, z] = step.grid;
                pass.dispatch_workgroups(x, y, z);
            }
        }
        encoder.copy_buffer_to_buffer(&self.slots[slot], 0, staging, 0, bytes);
        self.gpu.queue.submit([encoder.finish()]);

        let (sender, receiver) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, ..bytes, |result| {
            // Nobody listens any more where the caller gave up.
            let _ = sender.send(result);
        });
        // Natively this waits; in browsers the event loop does.
        let polled = self.gpu.device.poll(wgpu::PollType::wait_indefinitely());
        let failed = |error: &dyn std::fmt::Display| Error::Gpu(error.to_string());
        let mapped = match receiver.await {
            Ok(mapped) => mapped.map_err(|error| failed(&error)),
            Err(gone) => Err(failed(&gone)),
        };
        self.gpu.check()?;
        polled.map_err(|error| failed(&error))?;
        mapped?;
        let view = staging.get_mapped_range(..bytes).map_err(|error| failed(&error))?;
        let result = dtype.decode(&view[..len * dtype.size()]);
        drop(view);
        staging.unmap();
        Ok(result)
    }
}

fn staging(gpu: &Gpu, size: u64) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("staging"),
        size,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
