// The model. A service worker cannot have it: there is no import() and no worker there, and it ends when it is idle.
import { Xception } from './xception-webgpu/index.js';

/** Milliseconds without work after which the document closes, and its memory is freed. */
const IDLE_TIME = 120_000;

let loading;
let pending = 0;
let timer;

async function classify(image) {
  clearTimeout(timer);
  pending++;
  try {
    loading ??= Xception.load({ weights: 'model.safetensors' });
    const model = await loading;
    const { predictions } = await model.classify(image, { topK: 5 });
    return { predictions, computedBy: model.info.adapter || model.info.backend };
  } finally {
    if (--pending === 0) timer = setTimeout(() => close(), IDLE_TIME);
  }
}

chrome.runtime.onMessage.addListener(({ to, image }, _, respond) => {
  if (to !== 'offscreen') return false;
  classify(image).then(respond, ({ message }) => respond({ error: message }));
  return true;
});
