/** A thread of the CPU, which `team.js` starts: it computes strips in the module's memory until it is terminated. */

import init, { serve } from '../glue/cpu_threads.js';

addEventListener('message', async ({ data: { module, memory, rank } }) => {
  try {
    await init({ module_or_path: module, memory });
  } catch ({ message }) {
    return postMessage({ failed: message });
  }
  serve(rank, () => postMessage({ ready: true }));
});
