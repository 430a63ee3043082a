/** Threads of the CPU: workers whose wasm module has one memory with this thread's. */

import { startWorker } from './trusted.js';

/** The default limit of threads. */
const MOST = 4;

/** How long the others wait for a thread to start, in ms. */
const PATIENCE = 10_000;

/** The number of threads: one if memory cannot be shared, or on a page's main thread, which must not block. */
export function threads(asked) {
  const able = globalThis.crossOriginIsolated && globalThis.Worker && !globalThis.document;
  return able ? (asked ?? Math.min(MOST, navigator.hardwareConcurrency)) : 1;
}

/** The threads of a module, for all its models. They sleep between passes, and live as long as this thread. */
export class Team {
  #coming = [];

  /** `team` is the module's side of it. */
  constructor(team) {
    this.team = team;
  }

  /** Starts threads until there are `count`, this one included, and waits for them. Threads that fail to start are left out. */
  async grow(count) {
    const most = Math.min(count, this.team.most);
    while (this.#coming.length < most - 1) this.#coming.push(start({ ...this.team.place(), rank: this.#coming.length + 1 }));
    await Promise.all(this.#coming);
  }
}

/** Starts a thread; resolves when it is ready or has failed. */
function start(place) {
  return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    try {
      const worker = startWorker(() => new Worker(new URL('./thread.js', import.meta.url), { type: 'module', name: 'xception thread' }));
      worker.addEventListener('message', resolve);
      worker.addEventListener('error', (event) => {
        // Handled here; it must not reach the page's error handlers.
        event.preventDefault();
        resolve();
      });
      worker.postMessage(place);
      setTimeout(resolve, PATIENCE);
    } catch {
      // A policy of the page forbids it.
      resolve();
    }
  });
}
