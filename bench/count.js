// Counts what a runtime asks of WebGPU, by wrapping the methods of the frame it runs in. Import it before the runtime.

const counts = { dispatches: 0, bindGroups: 0, pipelines: 0 };
const errors = [];
const sizes = new WeakMap();
let bytes = 0;
// A buffer may also be freed by losing all who know it.
const collected = new FinalizationRegistry((token) => free(token));

/** Counts so far, bytes of the buffers and textures that are alive, and what WebGPU complained about. */
export const counted = () => ({ ...counts, gpuBytes: bytes, gpuErrors: [...errors] });

const wrap = (type, method, after) => {
  const prototype = globalThis[type]?.prototype;
  const original = prototype?.[method];
  if (!original) return;
  prototype[method] = function (...args) {
    const result = original.apply(this, args);
    after.call(this, result, args);
    return result;
  };
};

function hold(resource, size) {
  const token = { size };
  bytes += size;
  sizes.set(resource, token);
  collected.register(resource, token);
}

function free(token) {
  bytes -= token?.size ?? 0;
  if (token) token.size = 0;
}

/** Bytes of a texel: the formats that hold numbers say so in their names. */
function texelBytes(format) {
  const [, channels, bits] = /^([rgba]+)(8|16|32)/.exec(format) ?? ['', 'rgba', 8];
  return (channels.length * bits) / 8;
}

function textureBytes({ size, format }) {
  const [width, height = 1, layers = 1] = Symbol.iterator in size ? size : [size.width, size.height, size.depthOrArrayLayers];
  return width * height * layers * texelBytes(format);
}

for (const method of ['dispatchWorkgroups', 'dispatchWorkgroupsIndirect']) {
  wrap('GPUComputePassEncoder', method, () => counts.dispatches++);
}
wrap('GPUDevice', 'createBindGroup', () => counts.bindGroups++);
for (const method of ['createComputePipeline', 'createComputePipelineAsync', 'createRenderPipeline', 'createRenderPipelineAsync']) {
  wrap('GPUDevice', method, () => counts.pipelines++);
}
wrap('GPUDevice', 'createBuffer', (buffer, [{ size }]) => hold(buffer, size));
wrap('GPUDevice', 'createTexture', (texture, [descriptor]) => hold(texture, textureBytes(descriptor)));
for (const type of ['GPUBuffer', 'GPUTexture']) {
  wrap(type, 'destroy', function () {
    free(sizes.get(this));
  });
}
wrap('GPUAdapter', 'requestDevice', async (promise) => {
  const device = await promise.catch(() => undefined);
  device?.addEventListener('uncapturederror', ({ error }) => errors.push(error.message));
  const lost = await device?.lost;
  if (lost && lost.reason !== 'destroyed') errors.push(`the device was lost: ${lost.message}`);
});
