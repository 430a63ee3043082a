/** Whether a model can run here, and on what. */
export async function support() {
  const no = (reason) => ({ ok: false, reason, adapter: '', f16: false, timestamps: false });
  const gpu = globalThis.navigator?.gpu;
  if (!gpu && globalThis.isSecureContext === false) return no('WebGPU needs a secure page: use https, or localhost');
  if (!gpu) return no('there is no WebGPU here: use a current Chrome, Edge, Safari or Firefox');
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (!adapter) return no('WebGPU finds no GPU here: enable hardware acceleration in the settings, or update the driver');
  const { description, vendor, architecture } = adapter.info ?? {};
  const name = description || [vendor, architecture].filter(Boolean).join(' ');
  return { ok: true, reason: '', adapter: name, f16: adapter.features.has('shader-f16'), timestamps: adapter.features.has('timestamp-query') };
}
