import { read } from './download.js';
import { XceptionError } from './errors.js';

const NAME = 'xception-webgpu';

/** The cache of GPU measurements, apart from the weights. */
export const TUNING = `${NAME}-tuning`;

/** The response header that keeps the hash by which a cached file was verified. */
const SHA256 = 'x-xception-sha256';

/** Complete files that are still being written to the cache, here or by a worker. */
const puts = new Set();

/** Makes later queries of the cache wait for `work`. */
export function expect(put) {
  puts.add(put);
  put.then(() => puts.delete(put));
}

export const written = () => Promise.all(puts);

/** The cache key of a request; undefined if it is not to be cached. */
export function keyOf({ method, url, cache }) {
  return method === 'GET' && /^https?:/.test(url) && !/^(no-|reload)/.test(cache) ? withoutFragment(url) : undefined;
}

function withoutFragment(url) {
  return url.replace(/#.*/, '');
}

/** The result of `work` with the cache; undefined without a cache, room or permission. */
async function attempt(work) {
  try {
    return await work(await caches.open(NAME));
  } catch {
    return undefined;
  }
}

/** The cached file of a key, as `open` returns files; undefined if there is none, or if it was verified by another hash. */
export async function find(key, integrity, signal) {
  const response = await attempt((cache) => cache.match(key));
  const hash = response?.headers.get(SHA256);
  if (!response?.body || (integrity && hash && hash !== integrity.hex)) return undefined;
  const total = Number(response.headers.get('content-length')) || undefined;
  const broken = (_, cause) => {
    throw new XceptionError('bad-weights', 'the cached file could not be read', { cause });
  };
  return { pieces: read(response.body, total, signal, broken), total, fromCache: true };
}

/** Writes a file to the cache piece by piece, holding no more than one. It appears in the cache when it is closed, and only then. */
export function save(key, total, integrity) {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const headers = new Headers({ date: new Date().toUTCString() });
  if (total) headers.set('content-length', total);
  if (integrity) headers.set(SHA256, integrity.hex);
  const ignore = () => {};
  const abort = () => writer.abort().catch(ignore);
  // A cancelled reader must not block the writer.
  const put = attempt((cache) => cache.put(key, new Response(readable, { headers }))).then(abort);
  return {
    async write(piece) {
      writer.write(piece).catch(ignore);
      await writer.ready.catch(ignore);
    },
    abort,
    close() {
      expect(put);
      writer.close().catch(ignore);
    },
  };
}

export async function listCached() {
  await written();
  const describe = async (cache, request) => {
    const response = await cache.match(request);
    // Another page may just have removed it.
    if (!response) return [];
    const { headers } = response;
    const bytes = Number(headers.get('content-length')) || (await response.blob()).size;
    return [{ url: request.url, bytes, date: new Date(headers.get('date')) }];
  };
  const list = async (cache) => (await Promise.all((await cache.keys()).map((request) => describe(cache, request)))).flat();
  return (await attempt(list)) ?? [];
}

export async function clearCache(url) {
  await written();
  const clear = async (cache) => {
    if (url !== undefined) return cache.delete(withoutFragment(new Request(url).url));
    await caches.delete(TUNING);
    return (await cache.keys()).length > 0 && caches.delete(NAME);
  };
  return (await attempt(clear)) ?? false;
}
