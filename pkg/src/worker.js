/** A model in a module worker; `remote.js` is its other end. */
import { written } from './cache.js';
import { Engine } from './engine.js';
import { XceptionError } from './errors.js';

/** What `portable` of remote.js made of a source of weights. */
function revive(source) {
  if (source?.request) return new Request(...source.request);
  return source?.response ? new Response(...source.response) : source;
}

let engine;
let loading;

const calls = {
  async load(options) {
    loading = new AbortController();
    const onProgress = (progress) => postMessage({ progress });
    const [weights, head] = [options.weights, options.head].map(revive);
    engine = await Engine.load({ ...options, weights, head, onProgress, signal: loading.signal });
    engine.lost.then((reason) => postMessage({ lost: reason }));
    return { value: engine.info };
  },
  abort: async () => loading?.abort(),
  /** Answers when what was loaded is in the cache. */
  written: async () => void (await written()),
  classify: async (images, options) => ({ value: await engine.classify(images.map(async (image) => image), options) }),
  async embed(image, options) {
    const value = await engine.embed(Promise.resolve(image), options);
    return { value, transfer: [value.buffer] };
  },
  async explain(image, options) {
    const value = await engine.explain(Promise.resolve(image), options);
    return { value, transfer: [value.values.buffer] };
  },
  async activations(image, options) {
    const value = await engine.activations(Promise.resolve(image), options);
    return { value, transfer: [value.values.buffer] };
  },
  profile: async (image, options) => ({ value: await engine.profile(Promise.resolve(image), options) }),
  async dispose() {
    await engine?.dispose();
  },
};

addEventListener('message', async ({ data: { id, call, values } }) => {
  try {
    const { value, transfer } = (await calls[call](...values)) ?? {};
    postMessage({ id, value }, transfer ?? []);
  } catch (error) {
    const { code, message } = XceptionError.from(error);
    postMessage({ id, error: { code, message } });
  }
});
