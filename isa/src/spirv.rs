//! WGSL to SPIR-V, as wgpu does it for Vulkan.

use std::error::Error;

use naga::back::{pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// Compiles a kernel with its constants; `bounded` loops have a counter, which wgpu leaves out of modules that it may trust.
pub fn compile(source: &str, constants: &[(&'static str, f64)], bounded: bool) -> Result<Vec<u32>, Box<dyn Error>> {
    let module = naga::front::wgsl::parse_str(source)?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let entry = (naga::ShaderStage::Compute, "main");
    let (module, info) = pipeline_constants::process_overrides(&module, &info, Some(entry), &constants)?;
    // The driver checks buffers by itself (robustBufferAccess).
    let bounds_check_policies = BoundsCheckPolicies {
        index: BoundsCheckPolicy::Restrict,
        buffer: BoundsCheckPolicy::Unchecked,
        image_load: BoundsCheckPolicy::Unchecked,
        binding_array: BoundsCheckPolicy::Unchecked,
    };
    let options = spv::Options {
        lang_version: (1, 4),
        bounds_check_policies,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::Native,
        force_loop_bounding: bounded,
        ..spv::Options::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: entry.0, entry_point: entry.1.into() };
    Ok(spv::write_vec(&module, &info, &options, Some(&pipeline))?)
}
