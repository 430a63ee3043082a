/** Weights of other formats, by the module that reads them; it is fetched only then. */

import { open, toRequest } from './download.js';
import { XceptionError } from './errors.js';
import { ByteReader } from './reader.js';
import { isJson, joined } from './shards.js';
import { formats, free } from './wasm.js';

/** The largest file that is read whole to be converted: 1 GiB. A model with its optimizer has about 300 MB. */
const MAX_FOREIGN_BYTES = 2 ** 30;

/** The largest file of a head: 256 MiB. Seventeen thousand classes have 139 MB. */
const MAX_HEAD_BYTES = 2 ** 28;

/** Gathers a file in the second module's memory and converts it there. */
export async function convert(reader, source, job) {
  const { fromCache } = source;
  const { overrides, head, onProgress, signal } = job;
  const check = (length) => {
    if (length <= MAX_FOREIGN_BYTES) return;
    throw new XceptionError('too-large', `the weights go on beyond ${MAX_FOREIGN_BYTES} bytes: this is no Xception`);
  };
  const { file, total = 0 } = isJson(await reader.atLeast(1)) ? await joined(reader, fromCache, job) : { file: reader, total: source.total };
  check(total);
  const headFile = head && (await whole(head, signal));
  const converter = await formats.call(({ Converter }) => new Converter(total));
  try {
    let loaded = 0;
    for await (const piece of file.rest()) {
      loaded += piece.length;
      check(loaded);
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
