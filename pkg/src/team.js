/** Threads of the CPU: workers with the same weights, each of which computes some rows of every activation. */

import { exchanger, sharedBytes } from './exchange.js';

/** The most threads where nobody says how many: each has the weights once more. */
const MOST = 4;

/** How many threads compute: one where memory cannot be shared, or where a thread must not wait. */
export function threads(asked) {
  const able = globalThis.crossOriginIsolated && globalThis.Worker && !globalThis.document;
  return able ? (asked ?? Math.min(MOST, navigator.hardwareConcurrency)) : 1;
}

export class Team {
  #workers;
  #ready;

  /** The other threads, where there are some and the page's policy allows them. */
  static start(count, options) {
    try {
      return count > 1 ? new Team(count, options) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Starts `count - 1` threads beside this one; `options` are a loader's, and where the compiled code is. */
  constructor(count, options) {
    this.#workers = Array.from({ length: count - 1 }, () => new Worker(new URL('./thread.js', import.meta.url), { type: 'module', name: 'xception thread' }));
    const answer = (worker) =>
      new Promise((accept, reject) => {
        worker.addEventListener('message', ({ data }) => (data === 'ready' ? accept() : reject(new Error(data))), { once: true });
        worker.addEventListener('error', ({ message }) => reject(new Error(message)), { once: true });
      });
    this.#ready = Promise.all(this.#workers.map(answer));
    this.#ready.catch(() => {});
    this.#workers.forEach((worker, i) => worker.postMessage({ call: 'load', values: [{ index: i + 1, count, ...options }] }));
  }

  push(bytes) {
    this.#post('push', bytes);
  }

  /** Lets `model` lead, once the others are there; where one is not, for want of memory say, it computes alone. */
  async finish(model) {
    const shared = new SharedArrayBuffer(sharedBytes(model.largest()));
    this.#post('finish', shared);
    const count = this.#workers.length + 1;
    try {
      await this.#ready;
      model.join(0, count, exchanger(shared, count), (pixels, end) => this.#post('follow', pixels, end));
    } catch {
      this.close();
    }
  }

  close() {
    this.#workers.forEach((worker) => worker.terminate());
    this.#workers = [];
  }

  #post(call, ...values) {
    for (const worker of this.#workers) worker.postMessage({ call, values });
  }
}
