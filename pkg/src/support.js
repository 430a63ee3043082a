import { XceptionError } from './errors.js';

/** Software that acts as a GPU. Its name is in what an adapter tells of itself. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|software/i;

/** Whether a model can run here, on what, and why not on a GPU. */
export async function support() {
  const on = (backend, reason, adapter, name = '') => ({
    // Browsers that have this have all the rest.
    ok: Boolean(AbortSignal.any),
    backend,
    reason,
    adapter: name,
    f16: Boolean(adapter?.features.has('shader-f16')),
    timestamps: Boolean(adapter?.features.has('timestamp-query')),
  });
  const gpu = globalThis.navigator?.gpu;
  if (!gpu && globalThis.isSecureContext === false) return on('cpu', 'WebGPU needs a secure page: use https, or localhost');
  if (!gpu) return on('cpu', 'there is no WebGPU here: use a current Chrome, Edge, Safari or Firefox');
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (!adapter) return on('cpu', 'WebGPU finds no GPU here: enable hardware acceleration in the settings, or update the driver');
  const { description, vendor, architecture, device, isFallbackAdapter } = adapter.info ?? {};
  const name = description || [vendor, architecture].filter(Boolean).join(' ');
  const software = isFallbackAdapter || adapter.isFallbackAdapter || SOFTWARE.test([description, vendor, architecture, device]);
  return software ? on('cpu', `${name} is no GPU but a program on the CPU`, adapter, name) : on('webgpu', '', adapter, name);
}

/** What computes, and why that: `auto` takes a GPU where there is one. */
export async function choose(backend = 'auto') {
  if (backend === 'webgpu' || backend === 'cpu') return { backend, reason: '' };
  if (backend !== 'auto') throw new XceptionError('bad-argument', 'backend must be auto, webgpu or cpu');
  const { backend: chosen, reason } = await support();
  return { backend: chosen, reason };
}
