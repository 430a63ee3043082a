/** How threads of the CPU exchange what they computed: through shared memory, at every pass. */

import { XceptionError } from './errors.js';

/** A thread that has not come for so many milliseconds is gone. */
const PATIENCE = 20_000;

/** How often to look before the thread goes to sleep: waking takes longer than most waits. */
const LOOKS = 5000;

/** How much memory activations of up to `values` take. */
export const sharedBytes = (values) => 8 + 2 * 4 * values;

/**
 * A function for each of `count` threads: it takes an activation of which values from `begin` to `end` are there, and fills in `margin`
 * more on both sides, as far as there are some.
 */
export function exchanger(shared, count) {
  const [arrived, round] = [0, 1];
  const state = new Int32Array(shared, 0, 2);
  const length = (shared.byteLength - 8) / 8;
  // While slower threads still read the one, faster ones write the other.
  const rooms = [0, 1].map((room) => new Float32Array(shared, 8 + 4 * length * room, length));
  let turn = 0;
  return (values, begin, end, margin) => {
    const room = rooms[(turn ^= 1)];
    // What others may want: all of it, or its two ends.
    const inner = [Math.min(end, begin + margin), Math.max(begin, end - margin)];
    if (inner[0] >= inner[1]) room.set(values.subarray(begin, end), begin);
    else [[begin, inner[0]], [inner[1], end]].forEach(([from, to]) => room.set(values.subarray(from, to), from));
    const now = Atomics.load(state, round);
    if (Atomics.add(state, arrived, 1) === count - 1) {
      Atomics.store(state, arrived, 0);
      Atomics.add(state, round, 1);
      Atomics.notify(state, round);
    } else {
      for (let i = 0; i < LOOKS && Atomics.load(state, round) === now; i++);
      if (Atomics.wait(state, round, now, PATIENCE) === 'timed-out') throw new XceptionError('internal', 'a thread of the model is gone');
    }
    const from = Math.max(0, begin - margin);
    values.set(room.subarray(from, begin), from);
    values.set(room.subarray(end, Math.min(values.length, end + margin)), end);
  };
}
