//! The plan on a GPU, through wgpu: WebGPU in browsers; Vulkan, Metal and DX12 natively.

mod buffer;
mod engine;
mod preprocess;
#[cfg(not(target_arch = "wasm32"))]
mod profile;
mod roofline;
mod run;
mod tune;

use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buffer::Buffer;
pub use engine::Engine;
pub use preprocess::Preprocessor;
#[cfg(not(target_arch = "wasm32"))]
pub use profile::{Clock, PassTime};
pub use roofline::Roofline;
pub use run::{Readback, Runner, Tensors};
pub use tune::TUNING_TIME;

use web_time::Instant;

use super::Backend;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::shader::{Kernel, PipelineDescriptor};
use crate::tile::{GpuKind, Tuning};
use crate::weights::safetensors::{Header, Meta};

/// The first uncaptured error, kept until it is read.
#[derive(Clone, Debug, Default)]
struct ErrorSlot(Arc<Mutex<Option<Error>>>);

impl ErrorSlot {
    fn with<T>(&self, use_it: impl FnOnce(&mut Option<Error>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Keeps an error, unless an earlier one is kept.
    fn put(&self, error: Error) {
        self.with(|note| {
            note.get_or_insert(error);
        });
    }
}

/// A GPU device. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// The adapter's description of itself.
    pub info: wgpu::AdapterInfo,
    /// Why the device was lost.
    lost: ErrorSlot,
    /// The first uncaptured error since the last check.
    failure: ErrorSlot,
}

impl Gpu {
    /// The machine's fastest adapter, with the largest buffers and textures it offers.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is no adapter or it gives no device.
    pub async fn new() -> Result<Self> {
        Self::with_limits(|offered, default| wgpu::Limits {
            max_buffer_size: offered.max_buffer_size.max(default.max_buffer_size),
            max_storage_buffer_binding_size: offered
                .max_storage_buffer_binding_size
                .max(default.max_storage_buffer_binding_size),
            max_texture_dimension_2d: offered.max_texture_dimension_2d.max(default.max_texture_dimension_2d),
            ..default
        })
        .await
    }

    /// The same adapter with the limits that every WebGPU device grants, to see what works everywhere.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn with_default_limits() -> Result<Self> {
        Self::with_limits(|_, default| default).await
    }

    /// A device with the limits that are chosen from what the adapter offers and the default.
    async fn with_limits(choose: impl FnOnce(wgpu::Limits, wgpu::Limits) -> wgpu::Limits) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&options).await.map_err(|error| {
            // Browsers give no details, and a page would have to download the text.
            let error = if cfg!(target_arch = "wasm32") { "none" } else { &error.to_string() };
            Error::NoAdapter(format!(
                "no GPU adapter was found ({error}): install a driver for Vulkan, Metal or DX12 (on Debian \
                 mesa-vulkan-drivers), or in a browser enable hardware acceleration"
            ))
        })?;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("xception"),
            required_features: adapter.features() & (wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY),
            required_limits: choose(adapter.limits(), wgpu::Limits::default()),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            Error::NoAdapter(format!("the adapter {} gave no device: {error}", adapter.get_info().name))
        })?;

        let (lost, failure) = (ErrorSlot::default(), ErrorSlot::default());
        let (on_lost, on_error) = (lost.clone(), failure.clone());
        device.set_device_lost_callback(move |_, message| {
            let why = if message.is_empty() { "no reason is given".to_owned() } else { message };
            on_lost.put(Error::DeviceLost(why));
        });
        device.on_uncaptured_error(Arc::new(move |error| on_error.put(translate(error))));
        Ok(Self { device, queue, info: adapter.get_info(), lost, failure })
    }

    /// Ends the device: what is under way and all later calls fail with [`Error::DeviceLost`].
    pub fn destroy(&self) {
        self.device.destroy();
        // Natively it is noticed here.
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    /// The largest side of a photo that fits a texture, in pixels.
    pub fn max_photo_side(&self) -> u32 {
        self.device.limits().max_texture_dimension_2d
    }

    /// The kind of GPU, by its name.
    pub fn kind(&self) -> GpuKind {
        if self.is_software() { GpuKind::Software } else { GpuKind::named(&self.info.name) }
    }

    /// Whether the adapter is a software adapter. The package's `support.js` reads the same list of names.
    pub fn is_software(&self) -> bool {
        let name = self.info.name.to_ascii_lowercase();
        self.info.device_type == wgpu::DeviceType::Cpu
            || include_str!("software.txt").lines().any(|software| name.contains(software))
    }

    /// Whether shaders can compute with f16.
    pub fn has_f16(&self) -> bool {
        self.device.features().contains(wgpu::Features::SHADER_F16)
    }

    /// The dtype that suits weights and activations: f16, which halves what a GPU has to hold and to move, but f32 on a software
    /// adapter, which would have to convert each value.
    pub fn best_dtype(&self) -> Dtype {
        if self.is_software() { Dtype::F32 } else { Dtype::F16 }
    }

    /// The largest buffer that can be bound, in bytes.
    pub fn max_binding(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_buffer_size.min(limits.max_storage_buffer_binding_size)
    }

    /// One compute pass.
    pub(crate) fn encoder(&self, encode: impl FnOnce(&mut wgpu::ComputePass)) -> wgpu::CommandEncoder {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let descriptor = wgpu::ComputePassDescriptor { label: Some("xception"), timestamp_writes: None };
        encode(&mut encoder.begin_compute_pass(&descriptor));
        encoder
    }

    /// The time of a compute pass by itself, from its submit until it is done.
    pub(crate) async fn time(&self, encode: impl FnOnce(&mut wgpu::ComputePass)) -> Result<Duration> {
        let start = Instant::now();
        self.queue.submit([self.encoder(encode).finish()]);
        let (sender, done) = futures_channel::oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            // The receiver is gone if the caller gave up.
            let _ = sender.send(());
        });
        // Natively this waits; in browsers the event loop does.
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        let done = done.await;
        self.check()?;
        polled.map_err(|error| Error::Gpu(error.to_string()))?;
        done.map_err(lost)?;
        Ok(start.elapsed())
    }

    /// Runs `make`, which makes `what`, within error scopes, and returns their error.
    pub(crate) async fn scoped<T>(&self, what: impl Display, make: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = make();
        // All scopes end before the first wait: others may use the device meanwhile.
        let (validation, internal, memory) = (validation.pop(), internal.pop(), memory.pop());
        let errors = [validation.await, internal.await, memory.await];
        // Out of memory comes last and explains the others.
        match errors.into_iter().flatten().next_back() {
            None => Ok(made),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory(what.to_string())),
            Some(error) => Err(translate(error)),
        }
    }

    /// Refuses a buffer beyond the device's limit, or beyond that of a binding if it is bound as a whole; `remedy` says what to do.
    pub(crate) fn fits(&self, what: &str, bytes: u64, whole: bool, remedy: &str) -> Result<()> {
        let limit = if whole { self.max_binding() } else { self.device.limits().max_buffer_size };
        if bytes > limit {
            return Err(Error::TooLarge(format!(
                "{what} needs {bytes} bytes, and this GPU's buffers end at {limit}: {remedy}"
            )));
        }
        Ok(())
    }

    /// A pipeline.
    #[allow(unsafe_code, reason = "a counter in each loop costs registers: docs/performance.md")]
    pub(crate) fn pipeline(&self, descriptor: &PipelineDescriptor) -> wgpu::ComputePipeline {
        let PipelineDescriptor { label, kernel, constants, .. } = descriptor;
        let source = wgpu::ShaderSource::Wgsl(descriptor.source().into());
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: every loop of these shaders counts to a bound that does not change, or halves to 0. Buffers' bounds are still checked.
        let module = unsafe {
            self.device
                .create_shader_module_trusted(wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source }, checks)
        };
        let entries: Vec<_> = (0..=kernel.reads as u32)
            .map(|binding| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: binding_type(kernel, binding),
                count: None,
            })
            .collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(kernel.name), entries: &entries };
        let group = self.device.create_bind_group_layout(&descriptor);
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name),
            bind_group_layouts: &[Some(&group)],
            ..Default::default()
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            // Every kernel writes workgroup memory before it reads it.
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    }

    /// A storage buffer of at least 4 bytes.
    pub(crate) fn buffer(&self, label: &str, bytes: u64) -> Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes.max(4), usage, mapped_at_creation: false };
        Buffer(self.device.create_buffer(&descriptor))
    }

    /// A bind group of `resources` at 0, 1 and so on.
    pub(crate) fn bind_group(
        &self,
        label: &str,
        pipeline: &wgpu::ComputePipeline,
        resources: Vec<wgpu::BindingResource>,
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = resources
            .into_iter()
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let layout = &pipeline.get_bind_group_layout(0);
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries })
    }
}

impl Backend for Gpu {
    type Weights = Tensors;
    type Engine = Engine;

    fn name(&self) -> String {
        [&self.info.name, " ", &self.info.driver].concat().trim().to_owned()
    }

    fn storage(&self, _header: &Header, wanted: Option<Dtype>) -> Result<Dtype> {
        match wanted {
            Some(Dtype::I8) => Err(Error::Argument("i8 is for files, the GPU stores f32 or f16".to_owned())),
            wanted => Ok(wanted.unwrap_or_else(|| self.best_dtype())),
        }
    }

    fn activations(&self, weights: Dtype) -> Dtype {
        weights
    }

    fn untuned(&self) -> Tuning {
        Tuning::untuned(self.kind())
    }

    fn max_batch(&self, plan: &Plan) -> usize {
        plan.max_batch(self.max_binding())
    }

    /// Why the device was lost, for ever; or else the first error since the last call.
    fn check(&self) -> Result<()> {
        self.lost.with(|lost| lost.clone()).or_else(|| self.failure.with(Option::take)).map_or(Ok(()), Err)
    }

    async fn allocate(&self, plan: &Plan, _dtype: Dtype) -> Result<Tensors> {
        Tensors::new(self, plan).await
    }

    async fn engine(&self, plan: Plan, weights: Tensors, meta: &Meta) -> Result<Engine> {
        Engine::new(self, plan, weights, meta).await
    }
}

/// The type of a kernel's binding: buffers that it reads, then the one it writes.
fn binding_type(kernel: &Kernel, binding: u32) -> wgpu::BindingType {
    if binding == 0 && kernel.reads_texture {
        return wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Float { filterable: true },
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        };
    }
    let read_only = (binding as usize) < kernel.reads;
    let ty = wgpu::BufferBindingType::Storage { read_only };
    wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None }
}

/// A request that the GPU never answers was lost with the device, whether or not the browser has reported it.
fn lost(error: impl Display) -> Error {
    Error::DeviceLost(error.to_string())
}

fn translate(error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory("a buffer".to_owned()),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Gpu(description)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Readback as _;
    use crate::network::layer::Shape;
    use crate::ops::{GlobalAveragePool, Op, Slice};
    use crate::plan::{Binding, Pass, Slot};

    /// A refused call is reported once and the device goes on; a lost device stays lost, also for pending calls.
    #[test]
    fn failures_of_the_gpu_have_their_codes() {
        let code = |result: Result<()>| result.err().map(|error| error.code());
        pollster::block_on(async {
            let gpu = Gpu::new().await.unwrap();
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE;
            let wrong = wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false };
            assert_eq!(code(gpu.scoped("a buffer", || gpu.device.create_buffer(&wrong)).await.map(drop)), Some("gpu"));
            drop(gpu.device.create_buffer(&wrong));
            assert_eq!((code(gpu.check()), code(gpu.check())), (Some("gpu"), None));

            let slot = |len| Slot { len, dtype: Dtype::F32 };
            let op = Op::from(GlobalAveragePool { input: Shape::new(2, 2, 4), slice: Slice { first: 0, all: 4 } });
            let pass = Pass { label: String::new(), layer: None, op, reads: vec![Binding::Slot(0)], writes: 1 };
            let slots = vec![slot(16), slot(4)];
            let plan = Plan { passes: vec![pass], slots, batch: 1, answer: 1, ..Plan::default() };
            let runner = Runner::new(&plan, Tensors::new(&gpu, &plan).await.unwrap()).await.unwrap();
            let submit = || runner.submit(|_| {}, .., 1, 1, 4);
            assert_eq!(submit().unwrap().read().await, Ok(vec![0.0; 4]));
            let pending = submit().unwrap();
            gpu.destroy();
            let outcome = code(pending.read().await.map(drop));
            assert!([None, Some("device-lost")].contains(&outcome), "{outcome:?}");
            for _ in 0..2 {
                let outcome = async { submit()?.read().await };
                assert_eq!(code(outcome.await.map(drop)), Some("device-lost"));
            }
            assert_eq!(code(gpu.check()), Some("device-lost"));
        });
    }
}
