//! A plan's passes as pipelines, bind groups and buffers, all made once and replayed for each photo.

use std::num::NonZero;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;

use super::{Buffer, Gpu, lost};
use crate::backend::{Backend, Weights};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::network::layer::Tensor;
use crate::ops::Op;
use crate::plan::{Binding, Pass, Plan, Slot};

/// The time of one measurement, long enough for a coarse clock.
const MEASUREMENT: Duration = Duration::from_millis(2);

/// The most repeats of passes in one measurement.
const MOST_REPEATS: f64 = 64.0;

/// The remedy for weights or activations that are too large as `storage`.
fn remedy(storage: Dtype) -> &'static str {
    match storage {
        Dtype::F32 => "take f16, which needs half, or compute on the CPU (backend cpu)",
        _ => "compute on the CPU (backend cpu)",
    }
}

struct Dispatch {
    /// The label of its debug group, for captures by native tools. In browsers a group costs a call for each pass; only profiled passes
    /// have one there.
    #[cfg(not(target_arch = "wasm32"))]
    label: String,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    /// The kernel's numbers, if it reads any: freed with the dispatch.
    _numbers: Option<Buffer>,
    op: Op,
}

/// A plan ready to run.
pub struct Runner {
    gpu: Gpu,
    dispatches: Vec<Dispatch>,
    slots: Vec<Buffer>,
    /// The dtype of each slot.
    dtypes: Vec<Dtype>,
    tensors: Tensors,
    staging: Staging,
    pipelines: usize,
}

/// A plan's weights on the GPU, which can be written before pipelines are made.
#[derive(Clone, Debug)]
pub struct Tensors {
    gpu: Gpu,
    buffers: Arc<Vec<Buffer>>,
}

impl Tensors {
    /// Makes room for them.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a buffer is beyond the device's limits, [`Error::OutOfMemory`] if memory ends.
    pub async fn new(gpu: &Gpu, plan: &Plan) -> Result<Self> {
        for tensor in &plan.tensors {
            // The plan binds larger tensors in parts.
            gpu.fits(&tensor.name, tensor.bytes(plan.storage) as u64, false, remedy(plan.storage))?;
        }
        let tensor = |tensor: &Tensor| gpu.buffer(&tensor.name, tensor.bytes(plan.storage) as u64);
        let what = format!("{} bytes of weights: {}", plan.weight_bytes(), remedy(plan.storage));
        let buffers = gpu.scoped(what, || plan.tensors.iter().map(tensor).collect()).await?;
        #[allow(clippy::arc_with_non_send_sync, reason = "in browsers no thread has it but one")]
        let buffers = Arc::new(buffers);
        Ok(Self { gpu: gpu.clone(), buffers })
    }
}

impl Weights for Tensors {
    fn write(&mut self, tensor: usize, offset: usize, bytes: &[u8]) {
        self.gpu.queue.write_buffer(&self.buffers[tensor], offset as u64, bytes);
    }
}

impl Runner {
    /// Makes every pipeline, bind group and buffer of a plan but for its weights.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a buffer is beyond the device's limits, [`Error::OutOfMemory`] if memory ends.
    pub async fn new(plan: &Plan, tensors: Tensors) -> Result<Self> {
        let (dispatches, slots, dtypes, staging) = (Vec::new(), Vec::new(), Vec::new(), Staging::default());
        let mut runner = Self { gpu: tensors.gpu.clone(), dispatches, slots, dtypes, tensors, staging, pipelines: 0 };
        runner.extend(plan).await?;
        let answer = plan.slots[plan.answer].bytes();
        let staged = runner.gpu.scoped("answers", || runner.staging.take(&runner.gpu, answer)).await?;
        runner.staging.give_back(staged);
        Ok(runner)
    }

    /// The same weights in another plan, such as one for more images.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn replanned(&self, plan: &Plan) -> Result<Self> {
        Self::new(plan, self.tensors.clone()).await
    }

    /// Adds the slots and passes that a plan has more than this one's, at its end.
    ///
    /// # Errors
    /// As [`Self::new`]: then nothing is added.
    pub async fn extend(&mut self, plan: &Plan) -> Result<()> {
        let (first, images, remedy) = (self.slots.len(), plan.batch, remedy(plan.storage));
        let added = &plan.slots[first..];
        for (index, slot) in (first..).zip(added) {
            self.gpu.fits(&format!("activation buffer {index} (images: {images})"), slot.bytes(), true, remedy)?;
        }
        let bytes: u64 = added.iter().map(Slot::bytes).sum();
        let what = format!("{bytes} bytes of activations (images: {images}): {remedy}");
        let slot = |(index, slot): (usize, &Slot)| self.gpu.buffer(&format!("slot {index}"), slot.bytes());
        let slots: Vec<_> = self.gpu.scoped(what, || (first..).zip(added).map(slot).collect()).await?;
        self.slots.extend(slots);
        let new = &plan.passes[self.dispatches.len()..];
        // Passes of the same operation share a pipeline.
        let (descriptors, of_pass) = plan.pipelines(new);
        let make = || {
            let pipelines: Vec<_> = descriptors.iter().map(|descriptor| self.gpu.pipeline(descriptor)).collect();
            let dispatch = |(pass, pipeline): (&Pass, usize)| self.dispatch(plan, pass, &pipelines[pipeline]);
            new.iter().zip(of_pass).map(dispatch).collect::<Vec<_>>()
        };
        let made = self.gpu.scoped("shaders", make).await;
        if made.is_err() {
            self.slots.truncate(first);
        }
        self.dispatches.extend(made?);
        self.dtypes.extend(added.iter().map(|slot| slot.dtype));
        self.pipelines += descriptors.len();
        Ok(())
    }

    fn dispatch(&self, plan: &Plan, pass: &Pass, pipeline: &wgpu::ComputePipeline) -> Dispatch {
        let buffer = |binding: &Binding| match *binding {
            Binding::Slot(slot) => self.slots[slot].as_entire_binding(),
            Binding::Tensor(tensor) => self.tensors.buffers[tensor].as_entire_binding(),
            Binding::Rows { tensor, first, count } => {
                let row = (plan.tensors[tensor].bytes(plan.storage) / plan.tensors[tensor].shape[0]) as u64;
                wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &self.tensors.buffers[tensor],
                    offset: first as u64 * row,
                    size: NonZero::new(count as u64 * row),
                })
            }
        };
        let kernel = pass.op.kernel();
        let (_, numbers) = kernel.split(pass.op.constants(plan.batch));
        let numbers = (!numbers.is_empty()).then(|| {
            let buffer = self.gpu.buffer(&pass.label, size_of_val(&*numbers) as u64);
            self.gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&numbers));
            buffer
        });
        let mut bindings: Vec<_> = pass.reads.iter().map(buffer).collect();
        bindings.extend(numbers.as_ref().map(|numbers| numbers.as_entire_binding()));
        bindings.push(self.slots[pass.writes].as_entire_binding());
        Dispatch {
            #[cfg(not(target_arch = "wasm32"))]
            label: pass.label.clone(),
            pipeline: pipeline.clone(),
            bind_group: self.gpu.bind_group(&pass.label, pipeline, bindings),
            _numbers: numbers,
            op: pass.op,
        }
    }

    /// The number of pipelines that were made.
    pub fn pipelines(&self) -> usize {
        self.pipelines
    }

    /// The GPU it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Encodes one of the plan's passes for the first `images` images.
    pub fn encode(&self, pass: &mut wgpu::ComputePass, index: usize, images: usize) {
        self.dispatches[index].encode(pass, images);
    }

    /// Copies values into a slot, from value `offset` on.
    pub fn write_slot(&self, slot: usize, offset: usize, values: &[f32]) {
        let dtype = self.dtypes[slot];
        self.gpu.queue.write_buffer(&self.slots[slot], (offset * dtype.size()) as u64, &dtype.encode(values));
    }

    /// The buffer of a slot.
    pub fn slot(&self, slot: usize) -> &wgpu::Buffer {
        &self.slots[slot]
    }

    /// Submits some of the plan's passes (`..` for all) for the first `images` images after what `before` encodes, as one
    /// compute pass, and the first `len` values of a slot to be read.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if there is no device any more, [`Error::Gpu`] if an earlier call was refused.
    pub fn submit(
        &self,
        before: impl FnOnce(&mut wgpu::ComputePass),
        passes: impl RangeBounds<usize>,
        images: usize,
        slot: usize,
        len: usize,
    ) -> Result<Readback> {
        self.gpu.check()?;
        let dtype = self.dtypes[slot];
        // Copies are of whole words.
        let bytes = (len * dtype.size()).next_multiple_of(4) as u64;
        let staging = self.staging.take(&self.gpu, bytes);
        let mut encoder = self.gpu.encoder(|pass| {
            before(pass);
            for dispatch in &self.dispatches[(passes.start_bound().cloned(), passes.end_bound().cloned())] {
                dispatch.encode(pass, images);
            }
        });
        encoder.copy_buffer_to_buffer(&self.slots[slot], 0, &staging, 0, bytes);
        self.gpu.queue.submit([encoder.finish()]);

        let (sender, mapped) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, ..bytes, |result| {
            // The receiver is gone if the caller gave up.
            let _ = sender.send(result);
        });
        Ok(Readback { gpu: self.gpu.clone(), ring: self.staging.clone(), staging, bytes, len, dtype, mapped })
    }

    /// The time of some passes, once they are warm: the shortest of three runs, repeated long enough for a coarse clock. None if the
    /// second run is far longer than `limit`.
    ///
    /// # Errors
    /// As [`Runner::submit`].
    pub async fn time(
        &self,
        passes: impl RangeBounds<usize>,
        images: usize,
        limit: Duration,
    ) -> Result<Option<Duration>> {
        let dispatches = &self.dispatches[(passes.start_bound().cloned(), passes.end_bound().cloned())];
        let time = |repeats: u32| {
            self.gpu.time(move |pass| {
                (0..repeats).for_each(|_| dispatches.iter().for_each(|dispatch| dispatch.encode(pass, images)));
            })
        };
        // Drivers compile at the first run.
        time(1).await?;
        let once = time(1).await?;
        if once > MEASUREMENT && once > limit.saturating_mul(3) {
            return Ok(None);
        }
        let repeats = MEASUREMENT.div_duration_f64(once).clamp(1.0, MOST_REPEATS).ceil() as u32;
        let mut shortest = time(repeats).await?;
        for _ in 0..2 {
            shortest = shortest.min(time(repeats).await?);
        }
        Ok(Some(shortest / repeats))
    }
}

impl Dispatch {
    fn encode(&self, pass: &mut wgpu::ComputePass, images: usize) {
        #[cfg(not(target_arch = "wasm32"))]
        pass.push_debug_group(&self.label);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let [x, y, z] = self.op.grid(images);
        pass.dispatch_workgroups(x, y, z);
        #[cfg(not(target_arch = "wasm32"))]
        pass.pop_debug_group();
    }
}

/// Buffers that are mapped to be read, so that the next photo need not wait for the last one's answer.
#[derive(Clone, Default)]
struct Staging(Arc<Mutex<Vec<Buffer>>>);

impl Staging {
    /// An idle buffer of at least this size.
    fn take(&self, gpu: &Gpu, bytes: u64) -> Buffer {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fitting) = idle.iter().position(|buffer| buffer.size() >= bytes) {
            return idle.swap_remove(fitting);
        }
        Buffer(gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }))
    }

    fn give_back(&self, buffer: Buffer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Values that the GPU will have.
#[must_use]
pub struct Readback {
    gpu: Gpu,
    ring: Staging,
    staging: Buffer,
    bytes: u64,
    len: usize,
    dtype: Dtype,
    mapped: oneshot::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl crate::backend::Readback for Readback {
    async fn read(self) -> Result<Vec<f32>> {
        // Natively this waits; in browsers the event loop does.
        let polled = self.gpu.device.poll(wgpu::PollType::wait_indefinitely());
        let mapped = self.mapped.await;
        self.gpu.check()?;
        polled.map_err(|error| Error::Gpu(error.to_string()))?;
        mapped.map_err(lost)?.map_err(lost)?;
        let view = self.staging.get_mapped_range(..self.bytes).map_err(|error| Error::Gpu(error.to_string()))?;
        let values = self.dtype.decode(&view[..self.len * self.dtype.size()]);
        drop(view);
        self.staging.unmap();
        self.ring.give_back(self.staging);
        Ok(values)
    }
}
