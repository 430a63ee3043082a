/**
 * Xception on WebGPU: weights in, photo in, classes out. The types and their documentation are in index.d.ts.
 *
 * This file is what a page sees. `engine.js` does the work with the wasm core, here or in a worker (`remote.js`); weights of other
 * formats are converted first, by a second wasm module that is fetched only then.
 */

import { expect } from './cache.js';
import { Engine } from './engine.js';
import { XceptionError, part, settle } from './errors.js';
import { toImage } from './image.js';
import { select } from './select.js';
import { choose, support } from './support.js';

export { clearCache, listCached } from './cache.js';
export { XceptionError } from './errors.js';

export class Xception extends EventTarget {
  #engine;
  #options;
  #disposed = false;

  /** Use `Xception.load`. */
  constructor(engine, options) {
    super();
    // What a load needs but once must not be kept, nor told of a load that nobody asked for.
    const { signal, onProgress, ...kept } = options;
    this.#options = kept;
    this.info = Object.freeze(engine.info);
    this.#use(engine);
  }

  static isSupported() {
    return support();
  }

  static async load(options) {
    try {
      return new Xception(await start(options ?? {}), options ?? {});
    } catch (error) {
      throw XceptionError.from(error);
    }
  }

  async classify(image, options) {
    const { predictions, timings } = await this.#predict([image], options, false);
    return { predictions: predictions[0], timings };
  }

  async classifyBatch(images, options) {
    const batchSize = options?.batchSize ?? 8;
    if (!images?.[Symbol.iterator]) throw new XceptionError('bad-argument', 'classifyBatch takes an array of images');
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new XceptionError('bad-argument', 'batchSize must be an integer of at least 1');
    }
    const all = [...images];
    const size = Math.min(batchSize, this.info.maxBatch);
    const answers = [];
    let before;
    for (let at = 0; at < all.length; at += size) {
      // The next images come to the GPU while it computes these; more of them need not be in memory.
      const answer = this.#predict(all.slice(at, at + size), options, true);
      answer.catch(() => {});
      if (before) answers.push(await before);
      before = answer;
    }
    if (before) answers.push(await before);
    const sum = (step) => answers.reduce((total, { timings }) => total + timings[step], 0);
    const timings = Object.fromEntries(['decode', 'preprocess', 'inference', 'total'].map((step) => [step, sum(step)]));
    return { predictions: answers.flatMap(({ predictions }) => predictions), timings };
  }

  async embed(image, options) {
    const { roi, fit, signal } = options ?? {};
    return this.#run(signal, (engine) => engine.embed(toImage(image, signal), { roi, fit }));
  }

  async explain(image, options) {
    const { classIndex, roi, fit, signal } = options ?? {};
    if (classIndex !== undefined && !(Number.isInteger(classIndex) && classIndex >= 0)) {
      throw new XceptionError('bad-argument', 'classIndex must be the number of a class');
    }
    return this.#run(signal, async (engine) => {
      const ready = toImage(image, signal);
      const map = await engine.explain(ready, { classIndex, roi, fit });
      const { heat } = await part(import('./heat.js'));
      return { ...map, image: heat(map) };
    });
  }

  async activations(image, layer, options) {
    const { roi, fit, signal } = options ?? {};
    return this.#run(signal, (engine) => engine.activations(toImage(image, signal), { layer: String(layer), roi, fit }));
  }

  async profile(image, options) {
    const { runs = 5, roi, fit, signal } = options ?? {};
    if (!Number.isInteger(runs) || runs < 1) throw new XceptionError('bad-argument', 'runs must be an integer of at least 1');
    return this.#run(signal, (engine) => engine.profile(toImage(image, signal), { runs, roi, fit }));
  }

  async *video(source, options) {
    const { maxFps, ...rest } = options ?? {};
    const { frames } = await part(import('./video.js'));
    for await (const { frame, time } of frames(source, maxFps, rest.signal)) yield { ...(await this.classify(frame, rest)), time };
  }

  /** Frees the GPU's memory, after the photos that wait. */
  async dispose() {
    this.#disposed = true;
    const engine = await this.#engine.catch(() => {});
    await engine?.dispose();
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.dispose();
  }

  [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    return this.dispose();
  }

  async #predict(images, options, batch) {
    const { roi, fit, signal, ...chosen } = options ?? {};
    const { count, choose } = select(chosen, this.info);
    return this.#run(signal, async (engine) => {
      const ready = images.map((image) => toImage(image, signal));
      const { predictions, timings } = await engine.classify(ready, { count, batch, roi, fit });
      return { predictions: predictions.map(choose), timings };
    });
  }

  /** What `work` makes of the engine, as one of our errors where it fails, and at once where `signal` ends it. */
  async #run(signal, work) {
    if (this.#disposed) throw new XceptionError('disposed', 'this model was disposed of: load it again');
    return settle(signal, async () => work(await this.#engine));
  }

  #use(engine) {
    this.#engine = Promise.resolve(engine);
    engine.lost.then((reason) => this.#restore(engine, reason));
  }

  /** Loads the model again where the browser took its device away. */
  async #restore(engine, reason) {
    if (this.#disposed) return;
    const restored = engine.dispose().then(() => start(this.#options));
    // Calls wait for this.
    this.#engine = restored.catch((cause) => {
      const message = `the GPU was lost (${reason}) and the model could not be loaded again: ${cause.message}`;
      throw new XceptionError('device-lost', message, { cause });
    });
    this.#engine.catch(() => {});
    this.#tell('devicelost', { reason });
    const again = await restored.catch(() => {});
    if (!again) return;
    this.#use(again);
    this.#tell('restored', {});
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** A model where it is to run: the CPU's in a worker, where that is not said otherwise, so that a page stays responsive. */
async function start({ worker, backend, ...options }) {
  const chosen = await choose(backend);
  const all = { ...options, ...chosen };
  const anyway = worker ?? (chosen.backend === 'cpu' && Boolean(globalThis.document && globalThis.Worker));
  if (!anyway) return Engine.load(all);
  if (!globalThis.Worker) throw new XceptionError('bad-argument', 'there are no workers here: leave out `worker`');
  const { Remote } = await part(import('./remote.js'));
  try {
    const remote = await Remote.load({ worker: anyway, ...all });
    expect(remote.written);
    return remote;
  } catch (error) {
    // Nobody asked for a worker, which may not come from another site, nor where a policy forbids it.
    if (worker || !error.noWorker) throw error;
    return Engine.load(all);
  }
}
