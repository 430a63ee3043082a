/** Threads of the CPU: workers whose wasm module has one memory with this thread's. */

/** The most threads where nobody says how many. */
const MOST = 4;

/** How long a thread may take to come, in ms; the others do not wait for it any longer. */
const PATIENCE = 10_000;

/** How many threads compute: one where memory cannot be shared, or where a thread must not wait. */
export function threads(asked) {
  const able = globalThis.crossOriginIsolated && globalThis.Worker && !globalThis.document;
  return able ? (asked ?? Math.min(MOST, navigator.hardwareConcurrency)) : 1;
}

/** The threads of a module, for all its models. They stay, asleep, as long as this thread does. */
export class Team {
  #coming = [];

  /** `team` is what the module knows of its threads. */
  constructor(team) {
    this.team = team;
  }

  /** Sees to it that there are `count` threads, this one included; those that do not come are done without. */
  async grow(count) {
    const most = Math.min(count, this.team.most);
    while (this.#coming.length < most - 1) this.#coming.push(start({ ...this.team.place(), rank: this.#coming.length + 1 }));
    await Promise.all(this.#coming);
  }
}

/** Starts a thread; resolves when it has come, or will not. */
function start(place) {
  return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    try {
      const worker = new Worker(new URL('./thread.js', import.meta.url), { type: 'module', name: 'xception thread' });
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
