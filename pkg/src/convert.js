/** Weights of other formats, by the module that reads them; it is fetched only then. */

import { isOfHub, open, toRequest } from './download.js';
import { checkLimit, lazyImport } from './errors.js';
import { ByteReader } from './reader.js';
import { isJson, joined } from './shards.js';
import { formats, free } from './wasm.js';

/** Gathers a file in the second module's memory and converts it there. */
export async function convert(reader, source, job) {
  const { fromCache } = source;
  const { overrides, head, limits, onProgress, signal } = job;
  const { file, total = 0 } = isJson(await reader.atLeast(1)) ? await joined(reader, fromCache, job) : { file: reader, total: source.total };
  checkLimit('the weights are', total, limits, 'weightsBytes');
  const headFile = head && (await whole(head, limits, signal));
  const converter = await formats.call(({ Converter }) => new Converter(total));
  try {
    let loaded = 0;
    for await (const piece of file.rest()) {
      loaded += piece.length;
      checkLimit('the weights are', loaded, limits, 'weightsBytes');
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
  return formats.call(() => converter.convert(overrides, headFile, limits.tensors));
}

/** The bytes of a small file, from wherever weights may be. */
export async function whole(source, limits, signal) {
  const ofHub = isOfHub(source) && (await lazyImport(import('./hub.js')));
  const where = ofHub ? (await ofHub.resolve(source, signal)).weights : source;
  const { pieces } = await open(toRequest(where, signal) ?? where, signal);
  const bytes = await new ByteReader(pieces).atLeast(limits.weightsBytes + 1);
  await pieces.return();
  checkLimit('the head is', bytes.length, limits, 'weightsBytes');
  return bytes;
}
