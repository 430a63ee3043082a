/** Cross-Origin Storage, where a browser has it: one copy of a file for all sites, found by its hash. Used only for weights whose hash is known. */

import { read } from './download.js';
import { XceptionError } from './errors.js';

export class Shared {
  #hash;

  constructor({ hex }) {
    this.#hash = { algorithm: 'SHA-256', value: hex };
  }

  /** The file, as `open` returns files; undefined where it is not there, or this site may not know. */
  async find(signal) {
    try {
      const file = await (await navigator.crossOriginStorage.requestFileHandle(this.#hash)).getFile();
      const broken = (_, cause) => {
        throw new XceptionError('bad-weights', 'the shared file could not be read', { cause });
      };
      return { pieces: read(file.stream(), file.size, signal, broken), total: file.size, fromCache: true };
    } catch {
      return undefined;
    }
  }

  /** Writes the file piece by piece; the browser checks its hash when it is closed. */
  save() {
    const options = { create: true, origins: '*' };
    const writable = navigator.crossOriginStorage.requestFileHandle(this.#hash, options).then((handle) => handle.createWritable());
    const writer = writable.then((stream) => stream.getWriter());
    const ignore = () => {};
    return {
      write: (piece) => writer.then((writer) => writer.write(piece)).catch(ignore),
      abort: () => writer.then((writer) => writer.abort()).catch(ignore),
      close: () => writer.then((writer) => writer.close()).catch(ignore),
    };
  }
}
