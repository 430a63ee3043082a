/** A lost GPU: whether a call failed by it, and the model's way back. */

import { XceptionError } from './errors.js';

/** Errors of a call that no lost GPU causes. */
const OF_THE_CALL = ['bad-argument', 'decode', 'fetch', 'cors', 'too-large', 'aborted'];

/** Errors of a GPU that is gone, or is not back yet. */
const OF_THE_GPU = ['device-lost', 'no-adapter', 'gpu', 'internal'];

/** The most losses within a minute; the model moves to the CPU with the last of them. */
const LOSSES = 3;

/** Milliseconds for which a call that failed waits for the news of a loss. */
const GRACE = 1000;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The error of a call during which the GPU of `engine` was lost; undefined where `error` has another cause. */
export async function lossOf(engine, error) {
  if (OF_THE_CALL.includes(error?.code)) return undefined;
  // The loss may be told after the call has failed.
  const reason = await Promise.race([engine.lost, pause(GRACE)]);
  if (reason === undefined) return undefined;
  return new XceptionError('device-lost', `the GPU was lost (${reason}) during this call: call again, the model comes back`, { cause: error });
}

/**
 * Loads a model again by `start`, on the CPU after too many losses; resolves with the engine, and with `from`, as `restored` has it. `losses` has
 * the times of earlier ones.
 */
export async function restore(start, options, losses, reason) {
  const { weights } = options;
  const isFetched = typeof weights === 'string' || weights instanceof URL || weights instanceof Request;
  for (;;) {
    const now = performance.now();
    losses.splice(0, losses.length, ...losses.filter((time) => now - time < 60_000), now);
    const isEnough = losses.length >= LOSSES;
    let from = 'memory';
    const onProgress = ({ phase, fromCache }) => {
      if (isFetched && phase === 'weights') from = fromCache ? 'cache' : 'network';
    };
    const why = isEnough ? `the GPU was lost ${LOSSES} times within a minute (${reason})` : undefined;
    try {
      return { engine: await start({ ...options, onProgress, ...(isEnough && { backend: 'cpu' }) }, why), from };
    } catch (cause) {
      if (!isEnough && OF_THE_GPU.includes(cause?.code)) {
        // A browser whose GPU process ended needs a moment.
        await pause(500 * losses.length);
        continue;
      }
      throw new XceptionError('device-lost', `the GPU was lost (${reason}) and the model could not be loaded again: ${cause.message}`, { cause });
    }
  }
}
