// A GPU that goes away: destroyed devices, in whatever a model does, and a GPU process that ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

// After a GPU process ended, Chromium may keep WebGPU from the site that was there.
await serveAndLaunch('--disable-domain-blocking-for-3d-apis');

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
