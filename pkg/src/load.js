import { clearCache, find, keyOf, save } from './cache.js';
import { open, refusePage, toRequest } from './download.js';
import { XceptionError, settle } from './errors.js';
import { Integrity } from './integrity.js';
import { compile } from './pipelines.js';
import { ByteReader, slices } from './reader.js';
import { tuning } from './tuning.js';
import { core, formats } from './wasm.js';

/** The largest file that is read whole to be converted: 1 GiB. A model with its optimizer has about 300 MB. */
const MAX_FOREIGN_BYTES = 2 ** 30;

/** The largest file of a head: 256 MiB. Seventeen thousand classes have 139 MB. */
const MAX_HEAD_BYTES = 2 ** 28;

/** Errors after which a cached file is fetched anew. */
const BAD_FILE = ['integrity', 'bad-weights', 'unsupported-format'];

/** Brings weights to the GPU and returns the core's model. The options are described in index.d.ts. */
export async function load(options) {
  const { weights, wasm, integrity, dtype = 'auto', tune = 'auto', cache = true, warmup = true, onProgress = () => {} } = options;
  // A Request may bring its own signal.
  const signal = AbortSignal.any([options.signal, weights?.signal].filter(Boolean));
  const { labels, filter, fit, inputSize, head } = options;
  if (!['auto', 'f32', 'f16'].includes(dtype)) throw new XceptionError('bad-argument', 'dtype must be auto, f32 or f16');
  if (!['auto', 'again', 'off'].includes(tune)) throw new XceptionError('bad-argument', 'tune must be auto, again or off');
  const job = {
    dtype: dtype === 'auto' ? undefined : dtype,
    tune,
    head,
    warmup,
    onProgress,
    signal,
    integrity: integrity === undefined ? undefined : new Integrity(integrity),
    overrides: JSON.stringify({ labels, filter, fit, inputSize: inputSize && [inputSize, inputSize] }),
  };
  if (wasm !== undefined) core.source = wasm;
  return settle(signal, () => fetchModel(weights, cache, job));
}

/** Takes weights from the cache, or from where they are. */
async function fetchModel(weights, cache, job) {
  job.signal.throwIfAborted();
  // Fetched beside the weights; whoever needs it learns what went wrong.
  core.call(() => {}).catch(() => {});
  const request = toRequest(weights, job.signal);
  const key = cache && request ? keyOf(request) : undefined;
  const cached = key && (await find(key, job.integrity, job.signal));
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
  const saving = wanted ? save(key, response.type === 'cors' ? undefined : total, job.integrity) : undefined;
  const pieces = watch(source, job, saving);
  try {
    const reader = new ByteReader(pieces);
    if (response) refusePage(await reader.atLeast(512), response.url);
    const model = await build(reader, source, job);
    saving?.close();
    return model;
  } catch (error) {
    saving?.abort();
    throw error;
  } finally {
    await pieces.return();
    // Where not a piece was taken; else the body is locked, and ended.
    response?.body.cancel().catch(() => {});
  }
}

/** Passes pieces on; behind the last one it throws where the file is not the expected one. */
async function* watch(source, { integrity, onProgress, signal }, saving) {
  const sha256 = integrity && (await core.call(({ Sha256 }) => new Sha256()));
  let loaded = 0;
  for await (const piece of source.pieces) {
    loaded += piece.length;
    if (loaded > source.total) source.total = undefined;
    if (sha256) await core.call(() => sha256.update(piece));
    await saving?.write(piece);
    onProgress({ phase: 'weights', loaded, total: source.total, fromCache: Boolean(source.fromCache) });
    signal.throwIfAborted();
    yield piece;
  }
  if (sha256) integrity.check(await core.call(() => sha256.digest()));
}

/** Makes a model of a file of any kind. */
async function build(reader, source, job) {
  const header = await headerOf(reader);
  const own = header.length > 0 && (await core.call(({ isOwnFormat }) => isOwnFormat(header)));
  if (own && job.overrides === '{}' && !job.head) return stream(reader, source, job);
  const converted = await convert(reader, source, job);
  try {
    return await stream(new ByteReader(slices(converted)), {}, job);
  } finally {
    free(converted);
  }
}

/** The header of a safetensors file, or as much of it as is there; empty for another kind of file. */
async function headerOf(reader) {
  const start = await reader.atLeast(16);
  const length = await core.call(({ headerLength }) => headerLength(start));
  return (await reader.atLeast(length)).slice(0, length);
}

/** Loads a file of the project's own format, piece by piece, while its pipelines are compiled. */
async function stream(reader, source, job) {
  const { warmup, signal } = job;
  const header = await headerOf(reader);
  signal.throwIfAborted();
  const gpu = await core.call(({ Gpu }) => Gpu.open());
  let loader;
  try {
    const tuned = await tuning(gpu, header, job);
    signal.throwIfAborted();
    loader = await core.call(({ Loader }) => Loader.create(gpu, header, job.dtype, tuned));
    source.total = loader.length;
    const compiled = compile(gpu.device, loader.recipes());
    for await (const piece of reader.rest(header.length)) await core.call(() => loader.push(piece));
    await compiled;
    signal.throwIfAborted();
  } catch (error) {
    free(loader);
    throw error;
  } finally {
    free(gpu);
  }
  // This takes the loader, whether it succeeds or not.
  const model = await core.call(() => loader.finish());
  try {
    if (warmup) await core.call(() => model.warmUp());
    signal.throwIfAborted();
    return model;
  } catch (error) {
    free(model);
    throw error;
  }
}

/** Gathers a file in the second module's memory and converts it there. */
async function convert(reader, { total = 0, fromCache }, { overrides, head, onProgress, signal }) {
  const check = (length) => {
    if (length <= MAX_FOREIGN_BYTES) return;
    throw new XceptionError('too-large', `the weights go on beyond ${MAX_FOREIGN_BYTES} bytes: this is no Xception`);
  };
  check(total);
  const headFile = head && (await whole(head, signal));
  const converter = await formats.call(({ Converter }) => new Converter(total));
  try {
    let loaded = 0;
    for await (const piece of reader.rest()) {
      check((loaded += piece.length));
      await formats.call(() => converter.push(piece));
    }
    onProgress({ phase: 'convert', loaded, total: loaded, fromCache: Boolean(fromCache) });
    // The page may show that, or abort, before the conversion takes the thread.
    await new Promise((resolve) => setTimeout(resolve));
    signal.throwIfAborted();
  } catch (error) {
    free(converter);
    throw error;
  }
  return formats.call(() => converter.convert(overrides, headFile));
}

/** The bytes of a small file, from wherever weights may be. */
async function whole(source, signal) {
  const { pieces } = await open(toRequest(source, signal) ?? source, signal);
  const bytes = await new ByteReader(pieces).atLeast(MAX_HEAD_BYTES + 1);
  if (bytes.length <= MAX_HEAD_BYTES) return bytes;
  await pieces.return();
  throw new XceptionError('too-large', `the head goes on beyond ${MAX_HEAD_BYTES} bytes: give a file of its Dense layers alone`);
}

function free(object) {
  try {
    object?.free();
  } catch {
    // A module that panicked does not let go; that panic is the error to tell.
  }
}
