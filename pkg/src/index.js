/**
 * Xception on WebGPU: weights in, photo in, classes out. The types and their documentation are in index.d.ts.
 *
 * The public API. `engine.js` does the work with the wasm core, here or in a worker (`remote.js`); weights of other
 * formats are converted first, by a second wasm module that is fetched only then.
 */

import { expect } from './cache.js';
import { Engine } from './engine.js';
import { abortable, lazyImport, XceptionError } from './errors.js';
import { toImage } from './image.js';
import { load } from './load.js';
import { BATCH, CLASSIFY, EMBED, EXPLAIN, IMAGES, LAYER, LIMITS, LOAD, PROFILE, SAVE, take, VIDEO, VIEW } from './options.js';
import { select } from './select.js';
import { choose, support } from './support.js';
import { formats } from './wasm.js';

export { clearCache, listCached } from './cache.js';
export { XceptionError } from './errors.js';

/** The way back from a lost GPU: fetched beside a model on one, as there may be no network then. */
const losses = () => lazyImport(import('./lost.js'));

/** Learned classes, fetched on demand. */
const learning = () => lazyImport(import('./learn.js'));

export class Xception extends EventTarget {
  #engine;
  #options;
  #disposed;
  /** The times of losses within the last minute. */
  #losses = [];
  /** The most images of a batch that the GPU has memory for, as far as is known. */
  #most;

  /** Use `Xception.load`. */
  constructor(engine, options) {
    super();
    // Options that only the first load needs are dropped: a reload reports no progress and has no signal.
    const { signal, onProgress, ...kept } = options;
    this.#options = kept;
    this.#use(engine);
  }

  static isSupported() {
    return support();
  }

  static async load(given) {
    const options = { retry: true, limits: LIMITS, ...take(given, LOAD) };
    try {
      const again = async (error) => {
        const isLost = ['device-lost', 'no-adapter'].includes(error?.code);
        if (!isLost || !options.retry || options.weights instanceof Response) throw error;
        // A GPU process that ended is soon there again.
        await new Promise((resolve) => setTimeout(resolve, 500));
        return start(options);
      };
      return new Xception(await start(options).catch(again), options);
    } catch (error) {
      throw XceptionError.from(error);
    }
  }

  async classify(image, options) {
    const { predictions, timings } = await this.#classify([image], take(options, CLASSIFY));
    return { predictions: predictions[0], timings };
  }

  async classifyBatch(images, options) {
    const { images: all } = take({ images }, IMAGES);
    const { batchSize, ...chosen } = take(options, BATCH);
    const answers = await this.#inBatches(all, batchSize, (images) => this.#classify(images, chosen));
    const sum = (step) => answers.reduce((total, { timings }) => total + timings[step], 0);
    const timings = Object.fromEntries(['decode', 'preprocess', 'inference', 'total'].map((step) => [step, sum(step)]));
    return { predictions: answers.flatMap(({ predictions }) => predictions), timings };
  }

  async predict(image, options) {
    const { signal, ...view } = take(options, VIEW);
    return this.#run([image], signal, (engine, ready) => engine.predict(ready, view));
  }

  async embed(image, options) {
    return (await this.#embed([image], take(options, VIEW))).values;
  }

  async embedBatch(images, options) {
    const { images: all } = take({ images }, IMAGES);
    return this.#embedAll(all, take(options, EMBED));
  }

  async explain(image, options) {
    const { signal, ...chosen } = take(options, EXPLAIN);
    const { classes, outputs, output } = this.info;
    if (output === 'features') throw new XceptionError('bad-argument', 'the model has no output but its features: there is nothing to explain');
    const count = classes || outputs;
    if (chosen.classIndex >= count) throw new XceptionError('bad-argument', `classIndex must be the number of a class or output, less than ${count}`);
    return this.#run([image], signal, async (engine, ready) => {
      const [map, { heat }] = await Promise.all([engine.explain(ready, chosen), lazyImport(import('./heat.js'))]);
      return { ...map, image: heat(map) };
    });
  }

  async activations(image, layer, options) {
    const { signal, ...view } = take(options, VIEW);
    const named = take({ layer }, LAYER);
    return this.#run([image], signal, (engine, ready) => engine.activations(ready, { ...named, ...view }));
  }

  async profile(image, options) {
    const { signal, runs = 5, ...view } = take(options, PROFILE);
    return this.#run([image], signal, (engine, ready) => engine.profile(ready, { runs, ...view }));
  }

  async learn(examples, options) {
    return (await learning()).learn(this.info, (images, options) => this.#embedAll(images, options), examples, options);
  }

  async withHead(head) {
    const run = (images, work) => this.#run(images, undefined, work);
    const { engine, blob } = await (await learning()).wear(this.info, head, run, this.#options.limits);
    return new Xception(engine, { ...this.#options, labels: undefined, activation: undefined, head: blob, retry: false });
  }

  async save(options) {
    return load({ module: formats, loaderFor: undefined }, { ...this.#options, ...take(options, SAVE) });
  }

  async *video(source, options) {
    const { maxFps, ...chosen } = take(options, VIDEO);
    const { frames } = await lazyImport(import('./video.js'));
    try {
      for await (const { frame, time } of frames(source, maxFps, chosen.signal)) yield { ...(await this.classify(frame, chosen)), time };
    } catch (error) {
      throw XceptionError.from(error);
    }
  }

  /** Frees the GPU's memory, after the queued photos. */
  dispose() {
    this.#disposed ??= this.#engine.then((engine) => engine.dispose()).catch(() => {});
    return this.#disposed;
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.dispose();
  }

  [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    return this.dispose();
  }

  /** What `run` gives for some images at a time; the next ones are decoded while the GPU computes, later ones are not in memory yet. */
  async #inBatches(all, size = 8, run) {
    const answers = [];
    let before;
    for (let at = 0; at < all.length; ) {
      const images = all.slice(at, at + Math.min(size, this.#most));
      at += images.length;
      const answer = this.#together(images, run);
      answer.catch(() => {});
      if (before) answers.push(...(await before));
      before = answer;
    }
    if (before) answers.push(...(await before));
    return answers;
  }

  /** What `run` gives for images together, or for halves of them where the GPU has no memory for all. */
  async #together(images, run) {
    try {
      return [await run(images)];
    } catch (error) {
      if (error.code !== 'out-of-memory' || images.length === 1) throw error;
      const half = Math.ceil(images.length / 2);
      this.#most = Math.min(this.#most, half);
      return [...(await this.#together(images.slice(0, half), run)), ...(await this.#together(images.slice(half), run))];
    }
  }

  async #classify(images, { roi, fit, signal, ...chosen }) {
    const { classes, output } = this.info;
    if (!classes) throw new XceptionError('bad-argument', `the model has no classes, its output is ${output}: call predict()`);
    const { count, choose } = select(/** @type {any} */ (chosen), this.info);
    return this.#run(images, signal, async (engine, ready) => {
      const { predictions, timings } = await engine.classify(ready, { count, roi, fit });
      return { predictions: predictions.map(choose), timings };
    });
  }

  async #embedAll(all, options) {
    const answers = await this.#inBatches(all, options.batchSize, async (images) => {
      const { values } = await this.#embed(images, options);
      const length = values.length / images.length;
      return images.map((_, index) => values.slice(index * length, (index + 1) * length));
    });
    return answers.flat();
  }

  #embed(images, { signal, ...view }) {
    return this.#run(images, signal, (engine, ready) => engine.embed(ready, view));
  }

  /** Runs `work` with the engine and images. Failures become XceptionErrors; `signal` rejects at once. */
  async #run(images, signal, work) {
    if (this.#disposed) throw new XceptionError('disposed', 'this model was disposed of: load it again');
    return abortable(signal, async () => {
      // Pixels are copied now: the caller may draw the next frame while the engine is busy.
      const ready = images.map((image) => toImage(image, signal));
      // The engine may reject before a handler is attached.
      ready.forEach((image) => image.catch(() => {}));
      try {
        return await this.#attempt((engine) => work(engine, ready), this.#options.retry ? 1 : 0);
      } finally {
        for (const image of ready) image.then((own) => own.close?.()).catch(() => {});
      }
    });
  }

  /** Runs `work` with the engine, and `retries` times more with the restored one if the GPU is lost meanwhile. */
  async #attempt(work, retries) {
    const engine = await this.#engine;
    try {
      return await work(engine);
    } catch (error) {
      const loss = engine.info.backend !== 'cpu' && (await (await losses()).lossOf(engine, error));
      if (!loss || this.#disposed) throw error;
      if (retries > 0) return this.#attempt(work, retries - 1);
      throw loss;
    }
  }

  #use(engine) {
    this.info = Object.freeze(engine.info);
    this.#most = engine.info.maxBatch;
    this.#engine = Promise.resolve(engine);
    if (engine.info.backend !== 'cpu') losses().catch(() => {});
    engine.lost.then((reason) => this.#restore(engine, reason));
  }

  /** Brings the model back after its device was lost; calls queue behind that. */
  async #restore(engine, reason) {
    if (this.#disposed) return;
    const restored = engine.dispose().then(async () => (await losses()).restore(start, this.#options, this.#losses, reason));
    this.#engine = restored.then(({ engine }) => engine);
    this.#engine.catch(() => {});
    this.#tell('devicelost', { reason });
    const again = await restored.catch(() => {});
    if (!again || this.#disposed) return;
    this.#use(again.engine);
    this.#tell('restored', { backend: this.info.backend, from: again.from });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Loads a model here or in a worker. The CPU's goes into a worker by default, so that a page stays responsive. A `reason` comes with a backend
 * that is not the caller's choice.
 */
async function start({ worker, backend, ...options }, reason = undefined) {
  const chosen = reason ? { backend, reason } : await choose(backend);
  const all = { ...options, ...chosen };
  const anyway = worker ?? (chosen.backend === 'cpu' && Boolean(globalThis.document && globalThis.Worker));
  if (!anyway) return Engine.load(all);
  if (!globalThis.Worker) throw new XceptionError('bad-argument', 'there are no workers here: leave out `worker`');
  const { Remote } = await lazyImport(import('./remote.js'));
  try {
    const remote = await Remote.load({ worker: anyway, ...all });
    expect(remote.written);
    return remote;
  } catch (error) {
    // The worker is optional here: it cannot come from another origin, and a policy may forbid it.
    if (worker || !error.noWorker) throw error;
    return Engine.load(all);
  }
}
