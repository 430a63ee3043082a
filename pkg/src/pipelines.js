/**
 * Compiles the pipelines of a model in the background. wgpu makes them on the page's thread, where a browser that has the same
 * one already takes it from its cache. Keep the resolved value until then.
 */
export async function compile(device, pipelines) {
  const create = async ({ code, reads, texture, constants }) => {
    const entry = (binding) => {
      const type = binding < reads ? 'read-only-storage' : 'storage';
      const resource = texture && binding === 0 ? { texture: { sampleType: 'float' } } : { buffer: { type } };
      return { binding, visibility: GPUShaderStage.COMPUTE, ...resource };
    };
    const entries = Array.from({ length: reads + 1 }, (_, binding) => entry(binding));
    const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
    const module = device.createShaderModule({ code });
    return device.createComputePipelineAsync({ layout, compute: { module, entryPoint: 'main', constants } });
  };
  try {
    return await Promise.all(pipelines.map(create));
  } catch {
    // wgpu meets the same error, and reports it.
    return [];
  }
}
