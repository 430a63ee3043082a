import { clearCache, find, keyOf, save } from './cache.js';
import { isOfHub, open, refusePage, toRequest } from './download.js';
import { abortable, checkLimit, lazyImport } from './errors.js';
import { ByteReader, slices } from './reader.js';
import { core, free } from './wasm.js';

/** Errors after which a cached file is fetched anew. */
const BAD_FILE = ['integrity', 'bad-weights', 'unsupported-format'];

/**
 * Brings weights to where `module` computes, by `loaderFor`, and returns its model; without `loaderFor` the file of this project's format that they
 * become. The options are described in index.d.ts.
 */
export async function load({ module, loaderFor }, options) {
  const { weights, wasm, integrity, dtype = 'auto', tune = 'auto', cache = true, warmup = true, onProgress = () => {} } = options;
  // A Request may bring its own signal.
  const signal = AbortSignal.any([options.signal, weights?.signal].filter(Boolean));
  const { limits, labels, filter, fit, crop, pixels, mean, std, activation, inputSize, head } = options;
  const job = {
    module,
    loaderFor,
    weights,
    cache,
    dtype: dtype === 'auto' ? undefined : dtype,
    tune,
    head,
    limits,
    warmup,
    onProgress,
    signal,
    overrides: JSON.stringify({ labels, filter, fit, crop, pixels, mean, std, activation, inputSize }),
  };
  core.source ??= wasm;
  return abortable(signal, async () => {
    let hash = integrity;
    if (isOfHub(weights)) {
      const { resolve } = await lazyImport(import('./hub.js'));
      const found = await resolve(weights, signal);
      job.weights = found.weights;
      hash ??= found.integrity;
    }
    if (hash !== undefined) {
      const { Integrity } = await lazyImport(import('./integrity.js'));
      job.integrity = new Integrity(hash);
    }
    return fetchModel(job);
  });
}

/** Takes weights from the cache, or from where they are. */
async function fetchModel(job) {
  const { cache } = job;
  // The one of several files that names the others.
  const weights = Array.isArray(job.weights) ? job.weights.find(({ name }) => /\.json$/i.test(name)) : job.weights;
  job.signal.throwIfAborted();
  // The module is fetched beside the weights; its errors are reported where it is used.
  job.module.call(() => {}).catch(() => {});
  const request = toRequest(weights, job.signal);
  job.request = request;
  const key = cache && request ? keyOf(request) : undefined;
  if (key && job.integrity && globalThis.navigator?.crossOriginStorage) {
    const { Shared } = await lazyImport(import('./shared.js'));
    job.shared = new Shared(job.integrity);
  }
  const cached = key && ((await job.shared?.find(job.signal)) ?? (await find(key, job.integrity, job.signal)));
  if (cached) {
    try {
      return await receive(cached, job);
    } catch (error) {
      if (!BAD_FILE.includes(error?.code)) throw error;
      await clearCache(key);
    }
  }
  // The browser's own cache may have the same bad bytes.
  const source = await open(request ?? weights, job.signal, cached && { cache: 'reload' });
  return receive(source, job, key);
}

/** Makes a model of a file's bytes as they come, and caches them under `key` once they proved good. */
async function receive(source, job, key) {
  const { response, total } = source;
  const wanted = key && !/\bno-store\b/i.test(response.headers.get('cache-control'));
  // Another site does not tell whether its length is that of a compressed body.
  const saving = wanted ? (job.shared?.save() ?? save(key, response.type === 'cors' ? undefined : total, job.integrity)) : undefined;
  job.saved = saving ? [saving] : [];
  const pieces = watch(source, job, saving);
  try {
    checkLimit('the weights are', total, job.limits, 'weightsBytes');
    const reader = new ByteReader(pieces);
    if (response) refusePage(await reader.atLeast(512), response.url);
    const model = await build(reader, source, job);
    for (const saving of job.saved) saving.close();
    return model;
  } catch (error) {
    for (const saving of job.saved) saving.abort();
    throw error;
  } finally {
    await pieces.return();
    // Only if no piece was taken; otherwise the body is locked and ended.
    response?.body.cancel().catch(() => {});
  }
}

/** Passes pieces on; behind the last one it throws where the file is not the expected one. */
async function* watch(source, { integrity, limits, onProgress, signal }, saving) {
  const hash = integrity?.hash();
  let loaded = 0;
  for await (const piece of source.pieces) {
    loaded += piece.length;
    checkLimit('the weights are', loaded, limits, 'weightsBytes');
    if (loaded > source.total) source.total = undefined;
    hash?.update(piece);
    await saving?.write(piece);
    onProgress({ phase: 'weights', loaded, total: source.total, fromCache: Boolean(source.fromCache) });
    signal.throwIfAborted();
    yield piece;
  }
  if (hash) integrity.check(hash.digest());
}

/** Makes a model of a file of any kind. */
async function build(reader, source, job) {
  if (job.loaderFor) {
    const header = await headerOf(reader, job.module);
    const own = header.length > 0 && (await job.module.call(({ isOwnFormat }) => isOwnFormat(header)));
    if (own && job.overrides === '{}' && !job.head) return stream(reader, source, job);
  }
  const { convert } = await lazyImport(import('./convert.js'));
  const converted = await convert(reader, source, job);
  try {
    if (!job.loaderFor) return new Blob([...slices(converted)]);
    return await stream(new ByteReader(slices(converted)), {}, job);
  } finally {
    free(converted);
  }
}

/** The header of a safetensors file, or as much of it as is there; empty for another kind of file. */
async function headerOf(reader, module) {
  const start = await reader.atLeast(16);
  const length = await module.call(({ headerLength }) => headerLength(start));
  return (await reader.atLeast(length)).slice(0, length);
}

/** Loads a file of the project's own format, piece by piece. */
async function stream(reader, source, job) {
  const { module, loaderFor, warmup, signal } = job;
  const header = await headerOf(reader, module);
  signal.throwIfAborted();
  const loader = await loaderFor(header, job);
  try {
    source.total = loader.length;
    for await (const piece of reader.rest(header.length)) await module.call(() => loader.push(piece));
    await loader.ready;
    signal.throwIfAborted();
  } catch (error) {
    free(loader);
    throw error;
  }
  // This takes the loader, whether it succeeds or not.
  const model = await module.call(() => loader.finish());
  try {
    if (warmup) await module.call(() => model.warmUp());
    signal.throwIfAborted();
    return model;
  } catch (error) {
    free(model);
    throw error;
  }
}
