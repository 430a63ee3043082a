// One runtime, alone in its frame: what it loads, what it asks of WebGPU and what it leaves behind is its own.
import { counted } from './count.js';
import { runtimes } from './runtimes.js';

let run;
let bitmap;

/** Fetches and makes everything up to a model that waits for its first photo. */
async function load(id, context) {
  const runtime = runtimes(context.threads).find((runtime) => runtime.id === id);
  const photo = await (await fetch(`${context.models}/photo.png`)).blob();
  bitmap = await createImageBitmap(photo, { premultiplyAlpha: 'none', colorSpaceConversion: 'none' });
  const start = performance.now();
  run = await runtime.load(context);
  return performance.now() - start;
}

/** Classifies the photo: from a bitmap to numbers that JavaScript has. */
async function classify() {
  const before = counted();
  const start = performance.now();
  const answer = await run(bitmap);
  const ms = performance.now() - start;
  const after = counted();
  return { ...answer, ms, dispatches: after.dispatches - before.dispatches, bindGroups: after.bindGroups - before.bindGroups };
}

/** What is alive once garbage is collected, where this browser lets a page ask for that. */
async function held() {
  globalThis.gc?.();
  // Finalizers run in tasks of their own.
  await new Promise((resolve) => setTimeout(resolve, 50));
  return counted();
}

const OWN = /^\/bench\/(\w+\.js|frame\.html|models\/\d+\/photo\.png)$/;

/** Paths of all that was fetched for the runtime and the model. */
function fetched() {
  const paths = performance.getEntriesByType('resource').map(({ name }) => new URL(name));
  const own = paths.filter(({ host }) => host === location.host).map(({ pathname }) => pathname);
  return [...new Set(own)].filter((path) => !OWN.test(path));
}

Object.assign(globalThis, { bench: { load, classify, held, fetched } });
