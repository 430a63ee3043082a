/**
 * Xception on WebGPU: weights in, photo in, classes out. The types and their documentation are in index.d.ts.
 *
 * The wasm core loads weights of the project's own format and classifies. All others are converted first, by a second
 * wasm module that is fetched only then.
 */

import { XceptionError } from './errors.js';
import { decode } from './image.js';
import { load } from './load.js';
import { core } from './wasm.js';

export { clearCache, listCached } from './cache.js';
export { XceptionError } from './errors.js';

export class Xception {
  #model;
  #queue = Promise.resolve();

  /** Use `Xception.load`. */
  constructor(model) {
    this.#model = model;
    this.info = Object.freeze(JSON.parse(model.info()));
  }

  static async load(options) {
    try {
      if (!globalThis.navigator?.gpu) {
        throw new XceptionError(
          'no-webgpu',
          'this browser has no WebGPU: use a current Chrome, Edge, Safari or Firefox, over https or on localhost',
        );
      }
      return new Xception(await load(options ?? {}));
    } catch (error) {
      throw XceptionError.from(error);
    }
  }

  classify(image, options) {
    const turn = this.#queue.then(() => this.#classify(image, options?.topK ?? 5));
    // A failure must not hold up the next photo.
    this.#queue = turn.catch(() => {});
    return turn;
  }

  async #classify(image, topK) {
    if (!this.#model) throw new XceptionError('disposed', 'this model was disposed of: load it again');
    if (!Number.isInteger(topK) || topK < 1) throw new XceptionError('bad-argument', 'topK must be an integer of at least 1');
    const start = performance.now();
    let lap = start;
    const ms = () => {
      const last = lap;
      lap = performance.now();
      return lap - last;
    };
    try {
      const bitmap = await decode(image, this.#model.maxPhotoSide);
      const timings = { decode: ms() };
      try {
        await core.call(() => this.#model.upload(bitmap));
      } finally {
        bitmap.close();
      }
      timings.preprocess = ms();
      const predictions = JSON.parse(await core.call(() => this.#model.classify(topK)));
      timings.gpu = ms();
      timings.total = lap - start;
      return { predictions, timings };
    } catch (error) {
      throw XceptionError.from(error);
    }
  }

  /** Frees the GPU's memory, after the photos that wait. */
  async dispose() {
    await this.#queue;
    this.#model?.free();
    this.#model = undefined;
  }
}
