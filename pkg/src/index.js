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
import { BATCH, CLASSIFY, EXPLAIN, IMAGES, LAYER, LIMITS, LOAD, PROFILE, take, VIDEO, VIEW } from './options.js';
import { select } from './select.js';
import { choose, support } from './support.js';

export { clearCache, listCached } from './cache.js';
export { XceptionError } from './errors.js';

/** Errors of a call that no lost GPU causes. */
const OF_THE_CALL = ['bad-argument', 'decode', 'fetch', 'cors', 'too-large', 'aborted'];

/** Errors of a GPU that is gone, or is not back yet. */
const OF_THE_GPU = ['device-lost', 'no-adapter', 'gpu', 'internal'];

/** The most losses within a minute; the model moves to the CPU with the last of them. */
const LOSSES = 3;

/** Milliseconds for which a call that failed waits for the news of a loss. */
const GRACE = 1000;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

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
        await pause(500);
        return start(options);
      };
      return new Xception(await start(options).catch(again), options);
    } catch (error) {
      throw XceptionError.from(error);
    }
  }

  async classify(image, options) {
    const { predictions, timings } = await this.#classify([image], take(options, CLASSIFY), false);
    return { predictions: predictions[0], timings };
  }

  async classifyBatch(images, options) {
    const { images: all } = take({ images }, IMAGES);
    const { batchSize = 8, ...chosen } = take(options, BATCH);
    const answers = [];
    let before;
    for (let at = 0; at < all.length; ) {
      // The next batch is decoded while the GPU computes this one; later batches are not in memory yet.
      const images = all.slice(at, at + Math.min(batchSize, this.#most));
      at += images.length;
      const answer = this.#together(images, chosen);
      answer.catch(() => {});
      if (before) answers.push(await before);
      before = answer;
    }
    if (before) answers.push(await before);
    return joined(answers);
  }

  async predict(image, options) {
    const { signal, ...view } = take(options, VIEW);
    return this.#run([image], signal, (engine, [ready]) => engine.predict(ready, view));
  }

  async embed(image, options) {
    const { signal, ...view } = take(options, VIEW);
    return this.#run([image], signal, (engine, [ready]) => engine.embed(ready, view));
  }

  async explain(image, options) {
    const { signal, ...chosen } = take(options, EXPLAIN);
    const { classes, outputs, output } = this.info;
    if (output === 'features') throw new XceptionError('bad-argument', 'the model has no output but its features: there is nothing to explain');
    const count = classes || outputs;
    if (chosen.classIndex >= count) throw new XceptionError('bad-argument', `classIndex must be the number of a class or output, less than ${count}`);
    return this.#run([image], signal, async (engine, [ready]) => {
      const [map, { heat }] = await Promise.all([engine.explain(ready, chosen), lazyImport(import('./heat.js'))]);
      return { ...map, image: heat(map) };
    });
  }

  async activations(image, layer, options) {
    const { signal, ...view } = take(options, VIEW);
    const named = take({ layer }, LAYER);
    return this.#run([image], signal, (engine, [ready]) => engine.activations(ready, { ...named, ...view }));
  }

  async profile(image, options) {
    const { signal, runs = 5, ...view } = take(options, PROFILE);
    return this.#run([image], signal, (engine, [ready]) => engine.profile(ready, { runs, ...view }));
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

  /** Classifies images together, or in halves where the GPU has no memory for all. */
  async #together(images, options) {
    try {
      // One by itself takes the least.
      return await this.#classify(images, options, images.length > 1);
    } catch (error) {
      if (error.code !== 'out-of-memory' || images.length === 1) throw error;
      const half = Math.ceil(images.length / 2);
      this.#most = Math.min(this.#most, half);
      return joined([await this.#together(images.slice(0, half), options), await this.#together(images.slice(half), options)]);
    }
  }

  async #classify(images, { roi, fit, signal, ...chosen }, batch) {
    const { classes, output } = this.info;
    if (!classes) throw new XceptionError('bad-argument', `the model has no classes, its output is ${output}: call predict()`);
    const { count, choose } = select(/** @type {any} */ (chosen), this.info);
    return this.#run(images, signal, async (engine, ready) => {
      const { predictions, timings } = await engine.classify(ready, { count, batch, roi, fit });
      return { predictions: predictions.map(choose), timings };
    });
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
      if (engine.info.backend === 'cpu' || OF_THE_CALL.includes(error?.code)) throw error;
      // The loss may be told after the call has failed.
      const reason = await Promise.race([engine.lost, pause(GRACE)]);
      if (reason === undefined || this.#disposed) throw error;
      if (retries > 0) return this.#attempt(work, retries - 1);
      throw new XceptionError('device-lost', `the GPU was lost (${reason}) during this call: call again, the model comes back`, { cause: error });
    }
  }

  #use(engine) {
    this.info = Object.freeze(engine.info);
    this.#most = engine.info.maxBatch;
    this.#engine = Promise.resolve(engine);
    engine.lost.then((reason) => this.#restore(engine, reason));
  }

  /** Brings the model back after its device was lost; calls queue behind that. */
  async #restore(engine, reason) {
    if (this.#disposed) return;
    const restored = engine.dispose().then(() => this.#again(reason));
    this.#engine = restored.then(({ engine }) => engine);
    this.#engine.catch(() => {});
    this.#tell('devicelost', { reason });
    const again = await restored.catch(() => {});
    if (!again || this.#disposed) return;
    this.#use(again.engine);
    this.#tell('restored', { backend: this.info.backend, from: again.from });
  }

  /** Loads the model again, on the CPU after too many losses; resolves with the engine, and with `from`, as `restored` has it. */
  async #again(reason) {
    const { weights } = this.#options;
    const isFetched = typeof weights === 'string' || weights instanceof URL || weights instanceof Request;
    for (;;) {
      const now = performance.now();
      this.#losses = [...this.#losses.filter((time) => now - time < 60_000), now];
      const isEnough = this.#losses.length >= LOSSES;
      let from = 'memory';
      const onProgress = ({ phase, fromCache }) => {
        if (isFetched && phase === 'weights') from = fromCache ? 'cache' : 'network';
      };
      const options = { ...this.#options, onProgress, ...(isEnough && { backend: 'cpu' }) };
      const why = isEnough ? `the GPU was lost ${LOSSES} times within a minute (${reason})` : undefined;
      try {
        return { engine: await start(options, why), from };
      } catch (cause) {
        if (!isEnough && OF_THE_GPU.includes(cause?.code)) {
          // A browser whose GPU process ended needs a moment.
          await pause(500 * this.#losses.length);
          continue;
        }
        throw new XceptionError('device-lost', `the GPU was lost (${reason}) and the model could not be loaded again: ${cause.message}`, { cause });
      }
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Answers of several batches as one. */
function joined(answers) {
  const sum = (step) => answers.reduce((total, { timings }) => total + timings[step], 0);
  const timings = Object.fromEntries(['decode', 'preprocess', 'inference', 'total'].map((step) => [step, sum(step)]));
  return { predictions: answers.flatMap(({ predictions }) => predictions), timings };
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
