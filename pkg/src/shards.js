/** TensorFlow.js's models: `model.json`, and files that have the bytes of its arrays ("shards"). */

import { find, keyOf, save } from './cache.js';
import { open } from './download.js';
import { XceptionError } from './errors.js';
import { ByteReader } from './reader.js';

/** The longest `model.json`: 16 MiB. An Inception V3's has 180 KB. */
const MAX_JSON_BYTES = 2 ** 24;

/** Whether bytes may begin a `model.json`. */
export const isJson = (start) => start[0] === 0x7b;

/** Bytes of a value by its type; of other types four. */
const SIZES = { uint8: 1, uint16: 2, float16: 2 };

/**
 * The JSON and, behind it, the files that it names, as the converter reads them, and their length together. The files lie beside it, or are
 * in the array of files given.
 */
export async function joined(reader, fromCache, job) {
  const { weights, request, integrity, signal, onProgress } = job;
  if (integrity) {
    throw new XceptionError('bad-argument', 'a TensorFlow.js model is several files, of which integrity would check one: leave it out');
  }
  const json = await reader.atLeast(MAX_JSON_BYTES);
  const { names, bytes } = manifest(json);
  const total = json.length + bytes;
  const opened = (name) => {
    if (request) return download(new Request(new URL(encodeURIComponent(name), request.url), request), fromCache, job);
    const file = Array.isArray(weights) && weights.find((file) => file.name === name);
    if (!file) throw new XceptionError('bad-argument', `${name} is missing: give it in an array with model.json, which names it`);
    return pieces(file, signal);
  };
  async function* all() {
    let loaded = json.length;
    yield json;
    for (const name of names) {
      for await (const piece of opened(name)) {
        loaded += piece.length;
        onProgress({ phase: 'weights', loaded, total, fromCache: Boolean(fromCache) });
        yield piece;
      }
    }
  }
  return { file: new ByteReader(all()), total };
}

/** The names of the files, and the bytes of all arrays; none of what is no such JSON, which the converter refuses. */
function manifest(json) {
  let names, bytes;
  try {
    const { weightsManifest } = JSON.parse(new TextDecoder().decode(json));
    const size = ({ shape, dtype, quantization }) => shape.reduce((size, side) => size * side, SIZES[quantization?.dtype ?? dtype] ?? 4);
    names = weightsManifest.flatMap(({ paths }) => paths);
    bytes = weightsManifest.flatMap(({ weights }) => weights).reduce((sum, array) => sum + size(array), 0);
  } catch {
    return { names: [], bytes: 0 };
  }
  // The converter refuses them too, but after everything was fetched.
  const elsewhere = names.findIndex((name) => typeof name !== 'string' || /^\.{0,2}$|[/\\:\0]/.test(name));
  const known = new Set();
  const twice = names.findIndex((name) => known.size === known.add(name).size);
  const refuse = (at, why) => {
    if (at >= 0) throw new XceptionError('bad-weights', `the weights cannot be used: model.json names the file ${JSON.stringify(names[at])}${why}`);
  };
  refuse(elsewhere, ', which is none beside it: put its files into its folder, and name them without a path');
  refuse(twice, ' twice: convert the model again');
  return { names, bytes };
}

async function* pieces(source, signal) {
  yield* (await open(source, signal)).pieces;
}

/** The pieces of a file from the cache, if the JSON is from there, or from where it is and then into the cache. */
async function* download(request, fromCache, { cache, saved, signal }) {
  const key = cache ? keyOf(request) : undefined;
  const cached = fromCache && key && (await find(key, undefined, signal));
  if (cached) return yield* cached.pieces;
  const { pieces, total, response } = await open(request, signal);
  const saving = key && save(key, response.type === 'cors' ? undefined : total);
  if (saving) saved.push(saving);
  for await (const piece of pieces) {
    await saving?.write(piece);
    yield piece;
  }
}
