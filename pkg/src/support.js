import software from '../../src/backend/gpu/software.txt';

/** An adapter's name: its description, which most browsers leave empty, or else its vendor and architecture. */
export const nameOf = ({ description, vendor, architecture }) => description || [vendor, architecture].filter(Boolean).join(' ');

/** Whether an adapter of that name is a software adapter. */
const isSoftware = (name) =>
  software
    .trim()
    .split('\n')
    .some((known) => name.toLowerCase().includes(known));

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
  const name = nameOf(adapter.info ?? {});
  if (!adapter.info?.isFallbackAdapter && !adapter.isFallbackAdapter && !isSoftware(name)) return on('webgpu', '', adapter, name);
  return on('cpu', name ? `${name} is a software adapter` : 'WebGPU has only a software adapter here', adapter, name);
}

/** Chooses the backend, with the reason: `auto` takes a GPU if there is one. */
export async function choose(backend = 'auto') {
  if (backend === 'webgpu' || backend === 'cpu') return { backend, reason: '' };
  const { backend: chosen, reason } = await support();
  return { backend: chosen, reason };
}
