// npm run soak [webgpu|cpu] [calls] [seed]: thousands of mixed calls in Chromium, on the GPU's software adapter or the CPU, with cancelled ones,
// damaged photos, videos, reloads and disposals between; prints what the page holds meanwhile, and fails unless that stays flat.
// npm run soak native [webgpu|cpu] [calls] [seed]: `tools/soak.rs`. npm run soak losses [count] [seed]: `losses.mjs`.
import { launch, packagePage } from '../tests/e2e/browser.mjs';
import { track } from '../tests/e2e/tracked.mjs';
import { losses } from './losses.mjs';
import { serve } from './serve.mjs';
import { run, stop } from './shell.mjs';

const words = process.argv.slice(2);
const numbers = words.filter((word) => /^\d+$/.test(word)).map(Number);
const backend = words.find((word) => ['webgpu', 'cpu'].includes(word)) ?? 'cpu';
if (words.includes('losses')) {
  await losses(...numbers);
  process.exit();
}
if (words.includes('native')) {
  run('cargo', ['run', '--release', '--example', 'soak', '--', backend, ...numbers.map(String)]);
  process.exit();
}
const [calls = 5000, seed = 1] = numbers;
/** The parts of the run, behind each of which is counted; what is held may grow by the share `FLAT` in the second half. */
const PARTS = 20;
const FLAT = 0.01;

/** In the page: `mix(count)` makes calls and resolves with the milliseconds of those that classify one photo. */
async function prepare([backend, seed]) {
  globalThis.unhandled = [];
  addEventListener('unhandledrejection', ({ reason }) => unhandled.push(String(reason)));
  // Mulberry32.
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end) => Math.floor(random() * end);
  const blob = await (await fetch(cup)).blob();
  const bitmap = await createImageBitmap(blob);
  const canvas = document.createElement('canvas');
  const draw = (width, height) => {
    Object.assign(canvas, { width, height });
    canvas.getContext('2d', { willReadFrequently: true }).drawImage(bitmap, 0, 0, width, height);
    return canvas;
  };
  const side = () => 1 + below(900);
  const images = [() => blob, () => bitmap, () => draw(side(), side()), () => draw(side(), side()).getContext('2d').getImageData(0, 0, 60, 40), () => cup];
  const image = () => images[below(images.length)]();
  const load = (worker) => Xception.load({ weights, backend, inputSize: 71, threads: 2, worker });
  let model = await load(false);
  const code = (promise) =>
    promise.then(
      () => 'none',
      ({ code }) => code,
    );
  const expect = (value, ...known) => {
    if (!known.includes(value)) throw new Error(`${value} is none of ${known}`);
  };
  const rare = [
    async () => expect(await code(model.classify(new Blob([new Uint8Array(below(400))]))), 'decode'),
    async () => {
      const controller = new AbortController();
      const call = code(model.classify(image(), { signal: controller.signal }));
      setTimeout(() => controller.abort(), below(120));
      expect(await call, 'none', 'aborted');
    },
    () => Promise.all(['predict', 'embed', 'explain'].map((method) => model[method](image()))),
    () => model.activations(image(), 'block2_pool'),
    () => model.classifyBatch([1, 2, 3].slice(below(3)).map(image)),
    async () => {
      const track = draw(320, 240).captureStream(30).getVideoTracks()[0];
      const timer = setInterval(() => canvas.getContext('2d').drawImage(bitmap, 0, 0), 20);
      let frames = 0;
      for await (const _ of model.video(track)) if (++frames === 2) break;
      clearInterval(timer);
      track.stop();
    },
  ];
  let count = 0;
  globalThis.mix = async (calls) => {
    const times = [];
    for (let i = 0; i < calls; i++) {
      if (++count % 250 === 0) {
        await model.dispose();
        model = await load(false);
      }
      if (count % 1000 === 500) {
        const other = await load(true);
        await Promise.all([other.classify(cup), model.classify(cup)]);
        await other.dispose();
      }
      if (random() < 0.2) await rare[below(rare.length)]();
      const photo = image();
      const start = performance.now();
      await model.classify(photo);
      times.push(performance.now() - start);
    }
    return times;
  };
}

const { server, url } = await serve(0);
const browser = await launch();
try {
  const page = await packagePage(browser, url);
  const session = await page.context().newCDPSession(page);
  await page.evaluate(track);
  await page.evaluate(prepare, [backend, seed]);
  const times = [];
  const rows = [];
  for (let part = 1; part <= PARTS; part++) {
    times.push(...(await page.evaluate((count) => mix(count), Math.ceil(calls / PARTS))));
    // Finalizers run between.
    for (let i = 0; i < 3; i++) await session.send('HeapProfiler.collectGarbage');
    const { usedSize: heap } = await session.send('Runtime.getHeapUsage');
    const row = { calls: times.length, heap, ...(await page.evaluate(() => held())) };
    rows.push(row);
    console.log(JSON.stringify(row));
  }
  times.sort((a, b) => a - b);
  const [median, p99] = [0.5, 0.99].map((share) => times[Math.floor(share * times.length)]);
  console.log(`${times.length} classifications on ${backend}, seed ${seed}: median ${median.toFixed(1)} ms, 99th percentile ${p99.toFixed(1)} ms`);
  const unhandled = await page.evaluate(() => unhandled);
  if (unhandled.length > 0) stop(`Rejections that nobody handled: ${unhandled}`);
  for (const key of ['heap', 'gpu', 'wasm', 'workers']) {
    const [first, last] = [rows[PARTS / 2], rows.at(-1)].map((row) => row[key]);
    console.log(`${key.padEnd(8)}${first} → ${last}`);
    if (last > first * (1 + FLAT)) stop(`${key} grew: ${first} → ${last}`);
  }
} finally {
  await browser.close();
  server.close();
}
