import { core } from './wasm.js';

/** Apart from the weights: this is no file of anybody's. */
const NAME = 'xception-webgpu-tuning';

/**
 * Which shaders are fastest on this GPU for the model with this header, as the core wants it: measured once, for 1.5 s a load
 * until all is, and kept in the browser's Cache API. Undefined where that is not to be tried.
 */
export async function tuning(gpu, header, { dtype, tune }) {
  if (tune === 'off' || (tune === 'auto' && gpu.isSoftware)) return undefined;
  // A browser's update may bring another compiler.
  const key = `https://tuning.invalid/${encodeURIComponent(`${gpu.tuningKey(dtype)}; ${navigator.userAgent}`)}`;
  const cache = await globalThis.caches?.open(NAME).catch(() => {});
  const kept = await cache?.match(key).then((response) => response?.text()).catch(() => {});
  const measured = await core.call(() => gpu.tune(header, dtype, kept, tune === 'again'));
  // Where there is no room it is measured again.
  if (measured !== kept) await cache?.put(key, new Response(measured)).catch(() => {});
  return measured;
}
