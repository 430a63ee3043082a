//! The plan on a GPU, through wgpu: WebGPU in browsers; Vulkan, Metal and DX12 natively.

mod preprocess;
mod run;

use std::sync::{Arc, Mutex};

pub use preprocess::Preprocessor;
pub use run::Runner;

use crate::error::{Error, Result};

/// An error that a callback leaves for whoever asks next.
#[derive(Clone, Debug, Default)]
struct Note(Arc<Mutex<Option<Error>>>);

impl Note {
    fn with<T>(&self, use_it: impl FnOnce(&mut Option<Error>) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Leaves an error, unless an earlier one waits.
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
    /// What the adapter calls itself.
    pub info: wgpu::AdapterInfo,
    /// Why the device was lost.
    lost: Note,
    /// The first error since the last look that nobody was there to receive.
    failure: Note,
}

impl Gpu {
    /// The machine's fastest adapter, with the largest buffers and textures it offers.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is no adapter or it gives no device.
    pub async fn new() -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&options).await.map_err(|error| {
            Error::NoAdapter(format!(
                "no GPU adapter was found ({error}): install a driver for Vulkan, Metal or DX12 (on Debian \
                 mesa-vulkan-drivers), or in a browser enable hardware acceleration"
            ))
        })?;
        let (offered, default) = (adapter.limits(), wgpu::Limits::default());
        let required_limits = wgpu::Limits {
            max_buffer_size: offered.max_buffer_size.max(default.max_buffer_size),
            max_storage_buffer_binding_size: offered
                .max_storage_buffer_binding_size
                .max(default.max_storage_buffer_binding_size),
            max_texture_dimension_2d: offered.max_texture_dimension_2d.max(default.max_texture_dimension_2d),
            ..default
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("xception"),
            required_limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            Error::NoAdapter(format!("the adapter {} gave no device: {error}", adapter.get_info().name))
        })?;

        let (lost, failure) = (Note::default(), Note::default());
        let (on_lost, on_error) = (lost.clone(), failure.clone());
        device.set_device_lost_callback(move |_, message| {
            on_lost.put(Error::Gpu(format!("the device was lost ({message}); load the model again")));
        });
        device.on_uncaptured_error(Arc::new(move |error| on_error.put(translate(error))));
        Ok(Self { device, queue, info: adapter.get_info(), lost, failure })
    }

    /// The largest side of a photo that fits a texture, in pixels.
    pub fn max_photo_side(&self) -> u32 {
        self.device.limits().max_texture_dimension_2d
    }

    /// Passes on what nobody was there to receive.
    ///
    /// # Errors
    /// Why the device was lost, for ever; or else an error since the last call.
    pub fn check(&self) -> Result<()> {
        self.lost.with(|lost| lost.clone()).or_else(|| self.failure.with(Option::take)).map_or(Ok(()), Err)
    }

    /// Runs `make`, and turns what the GPU has to say about it into an error.
    pub(crate) async fn scoped<T>(&self, make: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = make();
        // All scopes end before the first wait: others may use the device meanwhile.
        let (validation, internal, memory) = (validation.pop(), internal.pop(), memory.pop());
        let errors = [validation.await, internal.await, memory.await];
        // Out of memory comes last and explains the others.
        errors.into_iter().flatten().next_back().map_or(Ok(made), |error| Err(translate(error)))
    }

    /// Refuses a buffer that is larger than the device's.
    pub(crate) fn fits(&self, what: &str, bytes: u64) -> Result<()> {
        let limits = self.device.limits();
        let limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        if bytes > limit {
            return Err(Error::TooLarge(format!("{what} needs {bytes} bytes, and this GPU's buffers end at {limit}")));
        }
        Ok(())
    }

    /// A pipeline of a kernel.
    pub(crate) fn pipeline(
        &self,
        label: &str,
        kernel: &crate::kernel::Kernel,
        constants: &[(&'static str, f64)],
    ) -> wgpu::ComputePipeline {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions { constants, ..Default::default() },
            cache: None,
        })
    }

    /// A storage buffer of at least 4 bytes.
    pub(crate) fn storage(&self, label: &str, bytes: u64) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes.max(4), usage, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
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

fn translate(error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory("a buffer could not be made".to_owned()),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Gpu(description)
        }
    }
}
