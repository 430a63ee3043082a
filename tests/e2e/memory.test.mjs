// A GPU's memory: all is freed as soon as nobody uses it, and where it ends, calls go on with less or say so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';
import { track } from './tracked.mjs';

await serveAndLaunch();

/** An empty page where `bytes()` are those of all buffers and textures, and memory ends for buffers of which `ends` says so. */
async function open() {
  const page = await packagePage(browser, url);
  await page.evaluate(track);
  await page.evaluate(() => {
    globalThis.bytes = () => held().gpu;
    globalThis.ends = () => false;
    globalThis.refused = 0;
    const { createBuffer, pushErrorScope, popErrorScope } = GPUDevice.prototype;
    // Memory that really ends would take the machine with it.
    const scopes = [];
    GPUDevice.prototype.pushErrorScope = function (filter) {
      scopes.push({ filter });
      return pushErrorScope.call(this, filter);
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const { error } = scopes.pop();
      return (await popErrorScope.call(this)) ?? error ?? null;
    };
    GPUDevice.prototype.createBuffer = function (descriptor) {
      if (ends(descriptor)) {
        refused++;
        scopes.findLast(({ filter }) => filter === 'out-of-memory').error = new GPUOutOfMemoryError('');
      }
      return createBuffer.call(this, descriptor);
    };
    globalThis.small = { weights, backend: 'webgpu', inputSize: 71 };
    globalThis.labels = async (answer) => (await answer).predictions.map(([{ label }]) => label);
    globalThis.message = (promise) =>
      promise.then(
        () => 'none',
        ({ code, message }) => `${code}: ${message}`,
      );
  });
  return page;
}

test('what a model, a batch, a large photo or a tuning took is free again at once', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const first = await Xception.load({ ...small, tune: 'again' });
    const tuned = bytes() - first.info.bytes;
    await first.dispose();
    const steps = { empty: bytes() };
    const model = await Xception.load(small);
    await model.classify(cup);
    steps.model = bytes();
    const large = new ImageData(4000, 1500);
    const sizes = new Set();
    for (let round = 0; round < 2; round++) {
      for (const count of [2, 3]) await model.classifyBatch(Array(count).fill(cup));
      await Promise.all([model.classify(large), model.explain(cup)]);
      for (let i = 0; i < 9; i++) await model.classify(cup);
      sizes.add(bytes());
    }
    const pending = model.classify(cup);
    await model.dispose();
    steps.end = bytes();
    return { steps, sizes: [...sizes], tuned, claimed: model.info.bytes, label: (await pending).predictions[0].label };
  });
  const { steps, sizes, tuned, claimed, label } = result;
  assert.deepEqual([steps.empty, steps.end], [0, 0]);
  // Beside weights and activations: the photo's texture, and buffers of a few kilobytes.
  const photo = 4 * 1024 * 1024;
  for (const beside of [tuned, steps.model - claimed]) assert.ok(beside > photo && beside < 2 * photo, `${beside} bytes beside the model's`);
  assert.equal(sizes.length, 1, `the same calls always take the same: ${sizes}`);
  assert.equal(label, 'cup');
  await page.close();
});

test('a batch that memory does not suffice for is split, and what does not fit at all says so', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const model = await Xception.load(small);
    const alone = (await model.classify(cup)).predictions;
    const largest = model.info.features[0] * model.info.features[1] * 2048 * 4;
    // Activations of three photos are too large.
    ends = ({ label, size }) => label.startsWith('slot') && size >= 3 * largest;
    const counts = {};
    for (const count of [4, 1]) counts[count] = (await labels(model.classifyBatch(Array(count).fill(cup)))).join();
    const split = refused;
    counts.again = (await labels(model.classifyBatch(Array(3).fill(cup)))).join();
    const again = refused - split;
    ends = ({ label }) => label.startsWith('slot');
    const explain = await message(model.explain(cup));
    ends = () => false;
    const explained = (await model.explain(cup)).prediction.label;
    const same = JSON.stringify((await model.classify(cup)).predictions) === JSON.stringify(alone);
    ends = ({ label }) => label === 'taps across';
    const large = await message(model.classify(new ImageData(3000, 2000)));
    ends = () => false;
    const after = await message(model.classify(new ImageData(3000, 2000)));
    await model.dispose();
    const loads = {};
    for (const [name, test] of Object.entries({ weights: 'block4_sepconv1', activations: 'slot 1' })) {
      ends = ({ label }) => label.startsWith(test);
      loads[name] = await message(Xception.load({ ...small, dtype: 'f32' }));
    }
    const left = bytes();
    ends = () => false;
    const next = await Xception.load({ ...small, worker: false });
    const [label] = await labels(next.classifyBatch([cup]));
    return { counts, again, explain, explained, same, large, after, loads, left, label };
  });
  const cups = (count) => Array(count).fill('cup').join();
  assert.deepEqual(result.counts, { 4: cups(4), 1: 'cup', again: cups(3) });
  assert.equal(result.again, 0, 'a batch that was too large is not tried again');
  assert.match(result.explain, /^out-of-memory: the GPU has no memory left for \d+ bytes of activations \(images: 1\): take f16/);
  assert.deepEqual([result.explained, result.same, result.after, result.label], ['cup', true, 'none', 'cup']);
  assert.match(result.large, /^out-of-memory: .* for a photo of 3000×2000 pixels;/);
  assert.match(result.loads.weights, /^out-of-memory: .* for \d{8} bytes of weights: take f16, which needs half, or compute on the CPU/);
  assert.match(result.loads.activations, /^out-of-memory: .* for \d+ bytes of activations \(images: 1\): take f16/);
  assert.equal(result.left, 0);
  await page.close();
});
