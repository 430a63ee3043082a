import { toRequest } from './download.js';
import { abortable, XceptionError } from './errors.js';
import { startWorker } from './trusted.js';

/** Milliseconds after which a silent worker of the page's own counts as one that runs another script. */
const PATIENCE = 60_000;

/** A model in a worker, with the interface of `Engine`. It has a port of its own: the worker may have other models and another use. */
export class Remote {
  #port;
  /** The worker, unless it is the page's own. */
  #own;
  /** Aborted when the worker's script runs: later errors are answers to calls, or another script's. */
  #started = new AbortController();
  #left = new AbortController();
  /** The error that ended the connection. */
  #failure;
  #waiting = new Map();
  #id = 0;
  /** @type {Promise<unknown>} */
  #turn = Promise.resolve();
  #onProgress;
  /** Whether images are posted as copies, so that a call can be made again. */
  #keeps = false;
  info;
  /** Resolves when the weights are in the cache. */
  written;

  /** `worker` is true, or a Worker of the page's own that runs `worker.js`. */
  static async load({ worker, signal, onProgress, ...options }) {
    const borrowed = worker instanceof Worker ? worker : undefined;
    const script = () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'xception' });
    const remote = new Remote(borrowed ?? made(script), Boolean(borrowed));
    const thrown = new AbortController();
    remote.#onProgress = (progress) => {
      try {
        onProgress?.(progress);
      } catch (error) {
        thrown.abort(error);
      }
    };
    // A Request may bring its own signal, which cannot be posted.
    const ends = AbortSignal.any([thrown.signal, signal, options.weights.signal].filter(Boolean));
    try {
      remote.info = await abortable(ends, async () => remote.#call('load', ...(await pack(/** @type {any} */ (options)))));
      remote.#keeps = options.retry && remote.info.backend === 'webgpu';
      remote.written = remote.#call('written', []).catch(() => {});
      return remote;
    } catch (error) {
      // A model whose load is under way must not stay in the worker.
      remote.#port.postMessage({ call: 'dispose', values: [] });
      remote.#leave();
      throw thrown.signal.aborted ? thrown.signal.reason : error;
    }
  }

  constructor(worker, borrowed) {
    const { port1: port, port2 } = new MessageChannel();
    this.#port = port;
    this.#own = borrowed ? undefined : worker;
    const fail = (error) => {
      this.#failure = error;
      this.#reject(error);
    };
    const { locks } = navigator;
    // Only secure pages have them.
    const lock = locks && crypto.randomUUID();
    const start = (held) => {
      this.#started.abort();
      // The only sign that a worker was terminated.
      if (held) locks.request(lock, { signal: this.#left.signal }, () => fail(failed('it was ended'))).catch(() => {});
    };
    /** Resolves with the reason if the worker's device is lost. */
    this.lost = new Promise((resolve) => {
      port.addEventListener('message', ({ data: { id, value, error, progress, lost, started, held, unreadable } }) => {
        if (started) return start(held);
        if (unreadable) return this.#reject(failed('it could not read a message'));
        if (progress) return this.#onProgress(progress);
        if (lost) return resolve(lost);
        const waiting = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (error) waiting?.reject(new XceptionError(error.code, error.message));
        else waiting?.accept(value);
      });
    });
    port.addEventListener('messageerror', () => this.#reject(failed('its message could not be read')));
    port.start();
    const { signal } = this.#started;
    worker.addEventListener('error', ({ message }) => fail(failed(message ?? 'its script could not be loaded')), { signal });
    if (borrowed) {
      const silent = `the worker has not answered for ${PATIENCE / 1000} s: it must run xception-webgpu/worker, and not be busy`;
      const timer = setTimeout(() => fail(new XceptionError('bad-argument', silent)), PATIENCE);
      signal.addEventListener('abort', () => clearTimeout(timer));
    }
    worker.postMessage({ xception: port2, lock }, [port2]);
  }

  classify = (images, options) => this.#on('classify', images, options);
  predict = (images, options) => this.#on('predict', images, options);
  embed = (images, options) => this.#on('embed', images, options);
  explain = (images, options) => this.#on('explain', images, options);
  profile = (images, options) => this.#on('profile', images, options);
  activations = (images, options) => this.#on('activations', images, options);

  async #on(call, images, options) {
    const ready = await this.#inTurn(images);
    return this.#call(call, [ready, options], this.#transfer(ready));
  }

  async dispose() {
    await this.#turn;
    await Promise.allSettled([...this.#waiting.values()].map(({ answer }) => answer));
    await this.#call('dispose', []).catch(() => {});
    this.#leave();
  }

  #leave() {
    this.#started.abort();
    this.#left.abort();
    this.#failure = new XceptionError('disposed', 'this model was disposed of: load it again');
    this.#port.close();
    this.#own?.terminate();
  }

  #reject(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** The parts of images that are handed over. */
  #transfer(images) {
    return this.#keeps ? [] : images.flatMap(transferable);
  }

  /** The images of a call, after those of the previous call. */
  #inTurn(images) {
    images.forEach((image) => image.catch(() => {}));
    const ready = this.#turn.then(() => Promise.all(images));
    this.#turn = ready.catch(() => {});
    return ready;
  }

  async #call(call, values, transfer = []) {
    if (this.#failure) throw this.#failure;
    const id = this.#id++;
    try {
      this.#port.postMessage({ id, call, values }, transfer);
    } catch (cause) {
      // Images are copies that can be posted, unless they have pixels of another site.
      if (call !== 'load') throw new DOMException(cause.message, 'SecurityError');
      throw new XceptionError('bad-argument', `what holds the weights cannot be posted to a worker: ${cause.message}`, { cause });
    }
    const waiting = {};
    waiting.answer = new Promise((accept, reject) => Object.assign(waiting, { accept, reject }));
    this.#waiting.set(id, waiting);
    return waiting.answer;
  }
}

function made(script) {
  try {
    return startWorker(script);
  } catch (error) {
    throw failed(error.message);
  }
}

/** The error of a worker that cannot start, or ended. */
const failed = (why) => Object.assign(new XceptionError('internal', `the worker failed: ${why}`), { noWorker: true });

/** The transferable parts of an image. */
function transferable(image) {
  if (image.data) return [image.data.buffer];
  return image instanceof Blob ? [] : [image];
}

/** Options as a message, with its transferable parts. */
async function pack({ weights, head, wasm, wasmCpu, wasmCpuThreads, ...options }) {
  const sources = await Promise.all([weights, head].map(portable));
  const code = Object.entries({ wasm, wasmCpu, wasmCpuThreads }).map(([name, code]) => [name, toRequest(code)?.url ?? code]);
  const packed = { ...options, weights: sources[0], head: sources[1], ...Object.fromEntries(code) };
  return [[packed], sources.flatMap((source) => source?.response?.[0] ?? [])];
}

/** A source of weights in a form that can be posted: relative URLs, Request and Response are not portable. */
async function portable(source) {
  const request = toRequest(source);
  if (request) {
    const { url, method, credentials, cache, mode, redirect, referrerPolicy, integrity } = request;
    const body = ['GET', 'HEAD'].includes(method) ? undefined : await request.arrayBuffer();
    const init = { method, credentials, cache, redirect, referrerPolicy, integrity, body, headers: [...request.headers] };
    return { request: [url, mode === 'navigate' ? init : { ...init, mode }] };
  }
  if (source instanceof Response) {
    if (source.bodyUsed || source.body?.locked) {
      throw new XceptionError('bad-argument', 'the body of this Response was read already: fetch it again');
    }
    const { status, statusText } = source;
    return { response: [source.body, { status, statusText, headers: [...source.headers] }] };
  }
  return source;
}
