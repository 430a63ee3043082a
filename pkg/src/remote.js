import { XceptionError, settle } from './errors.js';

/** A model in a worker of its own, with the face of `Engine`. */
export class Remote {
  #worker;
  /** Whether the worker is the page's, which may have another use for it. */
  #borrowed;
  #gone = new AbortController();
  #waiting = new Map();
  #id = 0;
  #turn = Promise.resolve();
  #onProgress;

  /** `worker` is true, or a Worker of the page's own that runs `worker.js`. */
  static async load({ worker, signal, onProgress, ...options }) {
    const own = worker instanceof Worker ? worker : undefined;
    const script = () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'xception' });
    const remote = new Remote(own ?? made(script), Boolean(own));
    const abort = () => remote.#call('abort', []).catch(() => {});
    signal?.addEventListener('abort', abort);
    let failure;
    remote.#onProgress = (progress) => {
      try {
        onProgress?.(progress);
      } catch (error) {
        failure = error;
        abort();
      }
    };
    try {
      remote.info = await settle(signal, () => remote.#call('load', ...pack(options)));
      /** When the weights are in the cache. */
      remote.written = remote.#call('written', []).catch(() => {});
      return remote;
    } catch (error) {
      remote.#leave();
      throw failure ?? error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  constructor(worker, borrowed) {
    this.#worker = worker;
    this.#borrowed = borrowed;
    const listen = (type, listener) => worker.addEventListener(type, listener, { signal: this.#gone.signal });
    /** Why the browser took the worker's device away, should it do that. */
    this.lost = new Promise((resolve) => {
      listen('message', ({ data }) => {
        const { id, value, error, progress, lost } = data ?? {};
        if (progress) return this.#onProgress(progress);
        if (lost) return resolve(lost);
        const waiting = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (error) waiting?.reject(new XceptionError(error.code, error.message));
        else waiting?.accept(value);
      });
    });
    // The script is not there, or a message cannot be read.
    const fail = ({ message }) => {
      const error = failed(message ?? 'a message could not be read');
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    listen('error', fail);
    listen('messageerror', fail);
  }

  async classify(images, options) {
    const ready = await this.#inTurn(images);
    return this.#call('classify', [ready, options], ready.flatMap(transferable));
  }

  embed = (image, options) => this.#one('embed', image, options);
  explain = (image, options) => this.#one('explain', image, options);
  profile = (image, options) => this.#one('profile', image, options);
  activations = (image, options) => this.#one('activations', image, options);

  async #one(call, image, options) {
    const ready = await this.#inTurn([image]);
    return this.#call(call, [...ready, options], ready.flatMap(transferable));
  }

  async dispose() {
    await this.#turn;
    await Promise.allSettled([...this.#waiting.values()].map(({ answer }) => answer));
    await this.#call('dispose', []).catch(() => {});
    this.#leave();
  }

  #leave() {
    this.#gone.abort();
    if (!this.#borrowed) this.#worker.terminate();
  }

  /** The images of a call, not before those of the call before it. */
  #inTurn(images) {
    images.forEach((image) => image.catch(() => {}));
    const ready = this.#turn.then(() => Promise.all(images));
    this.#turn = ready.catch(() => {});
    return ready;
  }

  #call(call, values, transfer = []) {
    const id = this.#id++;
    const waiting = {};
    waiting.answer = new Promise((accept, reject) => Object.assign(waiting, { accept, reject }));
    this.#waiting.set(id, waiting);
    this.#worker.postMessage({ id, call, values }, transfer);
    return waiting.answer;
  }
}

function made(script) {
  try {
    return script();
  } catch (error) {
    throw failed(error.message);
  }
}

/** That there is no worker, or none any more. */
const failed = (why) => Object.assign(new XceptionError('internal', `the worker failed: ${why}`), { noWorker: true });

/** What an image takes along. */
function transferable(image) {
  if (image.data) return [image.data.buffer];
  return image instanceof Blob ? [] : [image];
}

/** Options as a message, and what it takes along. */
function pack({ weights, head, ...options }) {
  const packed = { ...options, weights: portable(weights), head: portable(head) };
  return [[packed], [packed.weights, packed.head].flatMap((source) => source?.response?.[0] ?? [])];
}

/** What holds weights, as a message can. A worker knows neither the page's address nor Request and Response of another thread. */
function portable(source) {
  if (typeof source === 'string' || source instanceof URL) return new URL(source, globalThis.document?.baseURI).href;
  if (source instanceof Request) {
    const { url, method, credentials, cache, mode, redirect, referrerPolicy } = source;
    const init = { method, credentials, cache, redirect, referrerPolicy, headers: [...source.headers] };
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
