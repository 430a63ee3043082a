/** Models in a module worker, each with a port of its own; `remote.js` is the other end. */
import { written } from './cache.js';
import { Engine } from './engine.js';
import { XceptionError } from './errors.js';

/** Restores a source of weights from the form that `portable` of remote.js gave it. */
function revive(source) {
  const { request, response } = source ?? {};
  if (request) return new Request(request[0], request[1]);
  return response ? new Response(response[0], response[1]) : source;
}

/** Runs `work` with posted images, which are this worker's own, and closes them. */
async function using(images, work) {
  try {
    return await work(images.map(async (image) => image));
  } finally {
    for (const image of images) image.close?.();
  }
}

/** Answers the calls that come to a port, about the one model that it loads, and has a lock until that is disposed of. */
async function serve(port, lock) {
  const ended = new AbortController();
  let engine;
  let loaded;
  let release = () => {};

  /** A call with images; `parts` of what it gives are handed over. */
  const on = (call, parts) => async (images, options) => {
    const value = await using(images, (ready) => engine[call](ready, options));
    return { value, transfer: parts(value) };
  };

  const calls = {
    async load(options) {
      const onProgress = (progress) => port.postMessage({ progress });
      const [weights, head] = [options.weights, options.head].map(revive);
      loaded = Engine.load({ ...options, weights, head, onProgress, signal: ended.signal });
      engine = await loaded;
      engine.lost.then((reason) => port.postMessage({ lost: reason }));
      return { value: engine.info };
    },
    /** Answers when what was loaded is in the cache. */
    written: async () => void (await written()),
    classify: on('classify', () => []),
    predict: on('predict', (values) => [values.buffer]),
    embed: on('embed', ({ values }) => [values.buffer]),
    explain: on('explain', ({ values }) => [values.buffer]),
    activations: on('activations', ({ values }) => [values.buffer]),
    profile: on('profile', () => []),
    /** Ends a load, too. */
    async dispose() {
      ended.abort();
      try {
        await (await loaded)?.dispose();
      } finally {
        release();
      }
    },
  };

  port.addEventListener('message', async ({ data: { id, call, values } }) => {
    try {
      const { value, transfer } = (await calls[call](...values)) ?? {};
      port.postMessage({ id, value }, transfer ?? []);
    } catch (error) {
      const { code, message } = XceptionError.from(error);
      port.postMessage({ id, error: { code, message } });
    }
  });
  port.addEventListener('messageerror', () => port.postMessage({ unreadable: true }));
  port.start();
  const hold = (held) => {
    const wait = (resolve) => {
      release = resolve;
      held(true);
    };
    navigator.locks.request(lock, () => new Promise(wait)).catch(() => held(false));
  };
  const held = lock && (await new Promise(hold));
  port.postMessage({ started: true, held: Boolean(held) });
}

addEventListener('message', ({ data }) => {
  // The worker may be the page's, with messages of its own.
  if (data?.xception instanceof MessagePort) void serve(data.xception, data.lock);
});
