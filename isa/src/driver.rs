//! A Vulkan driver, as a compiler with statistics.

#![allow(unsafe_code, reason = "Vulkan is an interface of C")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::CStr;
use std::path::Path;
use std::{env, fs, ptr};

use ash::khr::pipeline_executable_properties as executables;
use ash::vk;
use xception::ops::Op;

use crate::{Arguments, Report, assembly, spirv};

/// Chooses Mesa's driver for AMD with hardware that is not there; `npm run isa` puts it into `folder`.
pub fn choose_amd(gpu: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let icd = folder.join("amd.json");
    if !icd.exists() {
        return Err(
            format!("{} is missing: run npm run isa, or choose a driver by VK_ICD_FILENAMES", icd.display()).into()
        );
    }
    // SAFETY: this program has one thread, and a driver's threads end with the driver, which is closed before the next is chosen.
    unsafe {
        env::set_var("VK_ICD_FILENAMES", fs::canonicalize(icd)?);
        env::set_var("RADV_FORCE_FAMILY", gpu);
        env::set_var("MESA_SHADER_CACHE_DISABLE", "1");
    }
    Ok(())
}

/// A device of the driver that the environment chooses.
pub struct Driver {
    _entry: ash::Entry,
    instance: ash::Instance,
    device: ash::Device,
    executables: executables::Device,
    name: String,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: nothing else uses them, and pipelines are destroyed where they were made.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

impl Driver {
    /// The first device.
    pub fn open() -> Result<Self, Box<dyn Error>> {
        // SAFETY: the structures live as long as the calls, and handles come from their own parents.
        unsafe {
            let entry = ash::Entry::load().map_err(|error| format!("the Vulkan loader: {error}"))?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance =
                entry.create_instance(&vk::InstanceCreateInfo::default().application_info(&application), None)?;
            let physical =
                *instance.enumerate_physical_devices()?.first().ok_or("the driver has no device of this name")?;
            let name = text(&instance.get_physical_device_properties(physical).device_name);
            let mut offered =
                (vk::PhysicalDeviceVulkan11Features::default(), vk::PhysicalDeviceVulkan12Features::default());
            let mut features =
                vk::PhysicalDeviceFeatures2::default().push_next(&mut offered.0).push_next(&mut offered.1);
            instance.get_physical_device_features2(physical, &mut features);
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let extensions = [executables::NAME.as_ptr()];
            let mut told =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let mut storage = vk::PhysicalDeviceVulkan11Features::default()
                .storage_buffer16_bit_access(offered.0.storage_buffer16_bit_access != 0);
            let mut half = vk::PhysicalDeviceVulkan12Features::default()
                .shader_float16(offered.1.shader_float16 != 0)
                .vulkan_memory_model(offered.1.vulkan_memory_model != 0);
            let robust = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .enabled_features(&robust)
                .push_next(&mut told)
                .push_next(&mut storage)
                .push_next(&mut half);
            let device = instance.create_device(physical, &info, None)?;
            let executables = executables::Device::new(&instance, &device);
            Ok(Self { _entry: entry, instance, device, executables, name })
        }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compiles an operation's pipeline.
    pub fn report(&self, op: Op, arguments: &Arguments, name: &str) -> Result<Report, Box<dyn Error>> {
        let kernel = op.kernel();
        let source = kernel.source(op.precision(arguments.dtype));
        let words = spirv::compile(&source, &kernel.split(op.constants(arguments.batch)).0, arguments.bounded)?;
        // SAFETY: as above; the module is valid SPIR-V.
        let (statistics, assembly) = unsafe { self.compile(&words, kernel.reads)? };
        if let Some(folder) = &arguments.assembly {
            fs::create_dir_all(folder)?;
            let file = folder.join(name.replace(['/', ' '], "_"));
            fs::write(file.with_extension("txt"), &assembly)?;
            fs::write(file.with_extension("spv"), bytemuck::cast_slice(&words))?;
        }
        let number = |names: &[&str]| names.iter().find_map(|&name| statistics.get(name)).copied().unwrap_or_default();
        Ok(Report {
            registers: number(&["VGPRs", "Max live registers", "Number of GPRs"]),
            spills: number(&["Spilled VGPRs", "Spill Count", "SLM Size"]),
            occupancy: number(&["Subgroups per SIMD", "Max warps/SM", "Max dispatch width"]),
            workgroup_memory: number(&["LDS size", "Shared memory size", "Workgroup Memory Size"]),
            code: number(&["Code size", "Code Size"]),
            instructions: number(&["Instructions", "Instruction Count", "Instruction count"]),
            cycles: number(&["Inverse Throughput", "Cycle Count", "Static cycle count"]),
            innermost: assembly::innermost(&assembly),
        })
    }

    unsafe fn compile(&self, words: &[u32], reads: usize) -> Result<(BTreeMap<String, u64>, String), Box<dyn Error>> {
        let device = &self.device;
        // SAFETY: by the caller.
        unsafe {
            let module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(words), None)?;
            let bindings: Vec<_> = (0..=reads)
                .map(|binding| {
                    vk::DescriptorSetLayoutBinding::default()
                        .binding(binding as u32)
                        .descriptor_count(1)
                        .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                        .stage_flags(vk::ShaderStageFlags::COMPUTE)
                })
                .collect();
            let sets = [device.create_descriptor_set_layout(
                &vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings),
                None,
            )?];
            let layout =
                device.create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&sets), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(flags)];
            let pipeline = device
                .create_compute_pipelines(vk::PipelineCache::null(), &info, None)
                .map_err(|(_, error)| format!("the driver's compiler: {error}"))?[0];
            let told = self.told(pipeline)?;
            device.destroy_pipeline(pipeline, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            device.destroy_shader_module(module, None);
            Ok(told)
        }
    }

    /// Statistics by name and assembly of a pipeline; of the widest of its programs, where the driver has several.
    unsafe fn told(&self, pipeline: vk::Pipeline) -> Result<(BTreeMap<String, u64>, String), Box<dyn Error>> {
        // SAFETY: by the caller; the buffers are as long as the driver says.
        unsafe {
            let programs = self
                .executables
                .get_pipeline_executable_properties(&vk::PipelineInfoKHR::default().pipeline(pipeline))?;
            let widest = (0..programs.len()).max_by_key(|&index| programs[index].subgroup_size).ok_or("no program")?;
            let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(widest as u32);
            let statistics = self.executables.get_pipeline_executable_statistics(&info)?;
            let numbers = statistics.iter().map(|statistic| (text(&statistic.name), statistic.value.u64)).collect();
            let read = self.executables.fp().get_pipeline_executable_internal_representations_khr;
            let mut count = 0;
            read(self.device.handle(), &info, &mut count, ptr::null_mut()).result()?;
            let mut texts = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            read(self.device.handle(), &info, &mut count, texts.as_mut_ptr()).result()?;
            let mut buffers: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size]).collect();
            for (text, buffer) in texts.iter_mut().zip(&mut buffers) {
                text.p_data = buffer.as_mut_ptr().cast();
            }
            read(self.device.handle(), &info, &mut count, texts.as_mut_ptr()).result()?;
            let machine =
                buffers.last().map_or_else(String::new, |buffer| String::from_utf8_lossy(buffer).into_owned());
            Ok((numbers, machine.trim_end_matches('\0').to_owned()))
        }
    }
}

fn text(chars: &[std::ffi::c_char]) -> String {
    // SAFETY: Vulkan ends its texts with a zero.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}
