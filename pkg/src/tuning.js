import { TUNING } from './cache.js';
import { core } from './wasm.js';

/** The most entries. Updates of browsers, drivers and this package leave stale ones behind. */
const MOST = 32;

/**
 * Which shaders are fastest on this GPU for the model with this header, as the core wants it: measured once, for 1.5 s a load
 * until all is, and kept in the browser's Cache API. Undefined where that is not to be tried.
 */
export async function tuning(gpu, header, { dtype, tune }) {
  if (tune === 'off' || (tune === 'auto' && gpu.isSoftware)) return undefined;
  // A browser's update may bring another compiler.
  const key = `https://tuning.invalid/${encodeURIComponent(`${gpu.tuningKey(dtype)}; ${navigator.userAgent}`)}`;
  const cache = await globalThis.caches?.open(TUNING).catch(() => undefined);
  const kept = await cache
    ?.match(key)
    .then((response) => response?.text())
    .catch(() => {});
  const measured = await core.call(() => gpu.tune(header, dtype, kept, tune === 'again'));
  // If the cache is full, the next load measures again.
  if (measured !== kept) await keep(cache, key, measured).catch(() => {});
  return measured;
}

/** Keeps a measurement in place of the oldest. */
async function keep(cache, key, measured) {
  await cache?.put(key, new Response(measured));
  const keys = (await cache?.keys()) ?? [];
  await Promise.all(keys.slice(0, -MOST).map((old) => cache.delete(old)));
}
