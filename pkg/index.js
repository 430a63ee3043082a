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

  async classify(image, options) {
    const { predictions, timings } = await this.#queued([image], options?.topK ?? 5, false);
    return { predictions: predictions[0], timings };
  }

  async classifyBatch(images, options) {
    const { topK, batchSize } = { topK: 5, batchSize: 8, ...options };
    if (!images?.[Symbol.iterator]) throw new XceptionError('bad-argument', 'classifyBatch takes an array of images');
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new XceptionError('bad-argument', 'batchSize must be an integer of at least 1');
    }
    const all = [...images];
    const size = Math.min(batchSize, this.#model?.maxBatch ?? batchSize);
    const parts = [];
    for (let at = 0; at < all.length; at += size) parts.push(this.#queued(all.slice(at, at + size), topK, true));
    const answers = await Promise.all(parts);
    const sum = (step) => answers.reduce((total, { timings }) => total + timings[step], 0);
    const timings = Object.fromEntries(['decode', 'preprocess', 'gpu', 'total'].map((step) => [step, sum(step)]));
    return { predictions: answers.flatMap(({ predictions }) => predictions), timings };
  }

  /** Classifies photos at once. The next call's photos come to the GPU while it computes these. */
  #queued(images, topK, batch) {
    const started = this.#queue.then(() => this.#start(images, topK, batch));
    // A failure must not hold up the next photo.
    this.#queue = started.catch(() => {});
    return started
      .then(async ({ answer, lap, timings }) => {
        const predictions = JSON.parse(await core.call(() => answer.read()));
        timings.gpu = lap();
        timings.total = timings.decode + timings.preprocess + timings.gpu;
        return { predictions, timings };
      })
      .catch((error) => {
        throw XceptionError.from(error);
      });
  }

  /** Brings photos to the GPU and starts it. */
  async #start(images, topK, batch) {
    const model = this.#model;
    if (!model) throw new XceptionError('disposed', 'this model was disposed of: load it again');
    if (!Number.isInteger(topK) || topK < 1) throw new XceptionError('bad-argument', 'topK must be an integer of at least 1');
    const timings = { decode: 0, preprocess: 0, gpu: 0, total: 0 };
    let now = performance.now();
    const lap = () => {
      const last = now;
      now = performance.now();
      return now - last;
    };
    if (batch) await core.call(() => model.reserve(images.length));
    timings.preprocess += lap();
    for (const [index, image] of images.entries()) {
      const bitmap = await decode(image, model.maxPhotoSide);
      timings.decode += lap();
      try {
        await core.call(() => model.upload(bitmap, batch ? index : undefined));
      } finally {
        bitmap.close();
      }
      timings.preprocess += lap();
    }
    const answer = await core.call(() => model.start(topK, batch ? images.length : undefined));
    return { answer, lap, timings };
  }

  /** Frees the GPU's memory, after the photos that wait. */
  async dispose() {
    await this.#queue;
    this.#model?.free();
    this.#model = undefined;
  }
}
