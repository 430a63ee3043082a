// A GPU that goes away: destroyed devices, in whatever a model does, and a GPU process that ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

// After a GPU process ended, Chromium may keep WebGPU from the site that was there; after a few, from all.
await serveAndLaunch('--disable-domain-blocking-for-3d-apis', '--disable-gpu-process-crash-limit');

/** An empty page whose devices `destroy` ends; `told` has the events of models that `listen` got. */
async function open() {
  const page = await packagePage(browser, url);
  await page.evaluate(() => {
    const devices = [];
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (...options) {
      const device = await requestDevice.apply(this, options);
      devices.push(device);
      return device;
    };
    // A minute passes when a test says so.
    globalThis.now = 0;
    performance.now = () => now;
    globalThis.destroy = () => devices.splice(0).forEach((device) => device.destroy());
    globalThis.told = [];
    globalThis.listen = (model) => {
      for (const type of ['devicelost', 'restored']) model.addEventListener(type, ({ detail }) => told.push({ type, ...detail }));
      return model;
    };
    globalThis.restored = (model) => new Promise((resolve) => model.addEventListener('restored', resolve, { once: true }));
    globalThis.small = { weights, backend: 'webgpu', inputSize: 71 };
    globalThis.best = async (answer) => (await answer).predictions[0].label;
  });
  return page;
}

test('calls under way are answered by the restored model, and a third loss within a minute ends on the CPU', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const model = listen(await Xception.load(small));
    const blob = await (await fetch(cup)).blob();
    const bitmap = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    const pixels = canvas.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height);
    const calls = () => [
      ...[cup, blob, bitmap, canvas, pixels].map((image) => model.classify(image).then(({ predictions }) => predictions[0].label)),
      model.classify(bitmap, { roi: { x: 0, y: 0, width: bitmap.width, height: bitmap.height } }).then(({ predictions }) => predictions[0].label),
      model.classifyBatch([cup, bitmap]).then(({ predictions }) => predictions.map(([{ label }]) => label).join()),
      model.embed(cup).then(({ length }) => length),
      model.explain(cup).then(({ prediction }) => prediction.label),
      model.activations(cup, 'block2_pool').then(({ shape }) => shape.length),
    ];
    const expected = await Promise.all(calls());
    const answers = [];
    // The first is more than a minute old when the second comes.
    for (const time of [0, 61_000, 61_000, 61_000]) {
      now = time;
      const under = calls();
      const back = restored(model);
      destroy();
      answers.push(await Promise.all(under));
      await back;
    }
    const { backend, reason } = model.info;
    const after = await best(model.classify(cup));
    const open = bitmap.width > 0;
    await model.dispose();
    return { expected, answers, backend, reason, after, told, open };
  });
  assert.deepEqual(result.answers, Array(4).fill(result.expected));
  assert.deepEqual(result.expected.slice(0, 6), Array(6).fill(result.after));
  assert.equal(result.backend, 'cpu');
  assert.match(result.reason, /^the GPU was lost 3 times within a minute/);
  assert.deepEqual(
    result.told.map(({ type, backend, from }) => [type, backend, from].filter(Boolean).join(' ')),
    [...Array(3).fill(['devicelost', 'restored webgpu cache']), ['devicelost', 'restored cpu cache']].flat(),
  );
  assert.ok(result.open, "the caller's bitmap stays open");
  await page.close();
});

test('a call that is not to be made again rejects, other models go on, and disposal is no loss', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const file = await (await fetch(weights)).blob();
    const model = listen(await Xception.load({ ...small, weights: file, retry: false }));
    const call = model.classify(cup).then(
      () => 'none',
      ({ code }) => code,
    );
    const back = restored(model);
    destroy();
    const [refused] = [await call, await back];
    const other = await Xception.load(small);
    const both = [await best(model.classify(cup)), await best(other.classify(cup))];
    const last = model.classify(cup);
    await model.dispose();
    const answered = (await last).predictions[0].label;
    destroy();
    const kept = await best(other.classify(cup));
    await other.dispose();
    return { refused, both, answered, kept, told };
  });
  const { both, answered, kept, refused, told } = result;
  assert.equal(refused, 'device-lost');
  assert.deepEqual([both[1], answered, kept], Array(3).fill(both[0]));
  assert.deepEqual(
    told.map(({ type, from }) => `${type} ${from ?? ''}`.trim()),
    ['devicelost', 'restored memory'],
  );
  await page.close();
});

test('a GPU process that ends harms no load, video, profile, batch or disposal of any model', async () => {
  const page = await open();
  const session = await browser.newBrowserCDPSession();
  await page.exposeFunction('crash', () => session.send('Browser.crashGpuProcess'));
  const result = await page.evaluate(async () => {
    const { now: clock } = Performance.prototype;
    performance.now = () => now + clock.call(performance);
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (...options) {
      GPUAdapter.prototype.requestDevice = requestDevice;
      await crash();
      return requestDevice.apply(this, options);
    };
    const model = listen(await Xception.load(small));
    const other = listen(await Xception.load({ ...small, worker: true }));
    const expected = await best(model.classify(cup));

    const canvas = document.createElement('canvas');
    const bitmap = await createImageBitmap(await (await fetch(cup)).blob());
    // Canvases that the GPU draws lose their picture with it.
    const draw = () => canvas.getContext('2d', { willReadFrequently: true }).drawImage(bitmap, 0, 0, 300, 150);
    draw();
    const timer = setInterval(draw, 100);
    const video = async () => {
      const labels = [];
      for await (const { predictions } of model.video(canvas.captureStream(10).getVideoTracks()[0])) {
        labels.push(predictions[0].label);
        if (labels.length === 1) await crash();
        if (labels.length === 3) return labels;
      }
    };
    const labels = ({ predictions }) => predictions.map(([{ label }]) => label);
    now += 61_000;
    const many = Array(5).fill(cup);
    const under = await Promise.all([video(), other.profile(cup), other.classifyBatch(many, { batchSize: 2 }).then(labels)]);
    clearInterval(timer);

    now += 61_000;
    const lost = new Promise((resolve) => model.addEventListener('devicelost', resolve, { once: true }));
    const back = restored(other);
    const last = model.classify(cup).then(
      ({ predictions }) => predictions[0].label,
      ({ code }) => code,
    );
    await crash();
    await lost;
    await model.dispose();
    const settled = await last;
    await back;
    const rest = [await best(other.classify(cup)), other.info.backend];
    await other.dispose();
    return { expected, under: [[under[0].length, under[0].at(-1)], under[1].passes.length > 30, under[2]], settled, rest, told };
  });
  const { expected, under, settled, rest, told } = result;
  assert.deepEqual(under, [[3, expected], true, Array(5).fill(expected)]);
  assert.ok([expected, 'disposed', 'device-lost'].includes(settled), settled);
  assert.deepEqual(rest, [expected, 'webgpu']);
  const types = told.map(({ type, from }) => `${type} ${from ?? ''}`.trim());
  // The model that was disposed of does not come back.
  assert.deepEqual(types.toSorted(), [...Array(4).fill('devicelost'), ...Array(3).fill('restored cache')]);
  await page.close();
});
