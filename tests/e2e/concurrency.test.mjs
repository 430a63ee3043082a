// Many calls at once, of two models, some of them cancelled: a property of any list of calls.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

await serveAndLaunch();

/** How many lists of calls are tried; the seed makes them the same each time. */
const RUNS = Number(process.env.RUNS ?? 2);
const SEED = Number(process.env.SEED ?? 1);

/** A call: which model's, what for, of which image, and after how many milliseconds it is cancelled. */
const call = fc.record({
  model: fc.constantFrom('webgpu', 'cpu'),
  method: fc.constantFrom('classify', 'predict', 'embed', 'explain', 'activations', 'classifyBatch', 'damaged'),
  image: fc.nat(3),
  abort: fc.option(fc.nat(400)),
});

/** An empty page with `make(call, signal)`, which makes a call of a model and gives its values as text. */
async function open() {
  const page = await packagePage(browser, url);
  await page.evaluate(async () => {
    addEventListener('unhandledrejection', ({ reason }) => unhandled.push(String(reason)));
    globalThis.unhandled = [];
    const photos = ['0000', '0004', '0009'].map((name) => `/models/kitchenware/photos/${name}.jpg`);
    const [, bitmap] = await Promise.all(photos.map(async (photo) => createImageBitmap(await (await fetch(photo)).blob())));
    const images = [photos[0], bitmap, await (await fetch(photos[2])).blob(), new ImageData(new Uint8ClampedArray(4 * 90 * 60).fill(200), 90, 60)];
    const damaged = new Blob([new Uint8Array(99)]);
    const plain = (value) => JSON.stringify(value, (key, part) => (key === 'timings' ? undefined : ArrayBuffer.isView(part) ? [...part] : part));
    const methods = {
      activations: (model, image, options) => model.activations(image, 'block2_pool', options),
      classifyBatch: (model, image, options) => model.classifyBatch([image, images[0], image], options),
      damaged: (model, _, options) => model.classify(damaged, options),
    };
    globalThis.make = ({ model, method, image }, signal) => {
      const run = methods[method] ?? ((model, image, options) => model[method](image, options));
      return run(models[model], images[image], { signal }).then(plain, ({ code }) => code);
    };
    globalThis.load = (backend) => Xception.load({ weights, backend, inputSize: 71, threads: 2 });
    globalThis.models = { webgpu: await load('webgpu'), cpu: await load('cpu') };
    // The values of calls one behind the other.
    const known = new Map();
    globalThis.alone = async ({ model, method, image }) => {
      const key = `${model} ${method} ${image}`;
      if (!known.has(key)) known.set(key, await make({ model, method, image }));
      return known.get(key);
    };
  });
  return page;
}

test('calls at once settle once each, in order, and give what they give by themselves', async () => {
  const page = await open();
  const property = fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 16, size: 'max' }), async (calls) => {
    const outcome = await page.evaluate(async (calls) => {
      const expected = [];
      for (const call of calls) expected.push(await alone(call));
      const settled = [];
      const answers = calls.map(async (call, index) => {
        const controller = new AbortController();
        if (call.abort !== null) setTimeout(() => controller.abort(), call.abort);
        const value = await make(call, controller.signal);
        settled.push(index);
        return value;
      });
      const values = await Promise.race([Promise.all(answers), new Promise((resolve) => setTimeout(resolve, 300_000))]);
      return { wrong: values?.map((value, i) => (value === expected[i] ? '' : value)), settled, unhandled };
    }, calls);
    assert.ok(outcome.wrong, `settled: ${outcome.settled.length} of ${calls.length}`);
    calls.forEach(({ abort }, i) => {
      const wrong = outcome.wrong[i];
      assert.ok(wrong === '' || (abort !== null && wrong === 'aborted'), `call ${i} gave ${wrong.slice(0, 300)}`);
    });
    for (const model of ['webgpu', 'cpu']) {
      const answered = outcome.settled.filter((i) => calls[i].model === model && calls[i].method !== 'damaged' && outcome.wrong[i] === '');
      assert.deepEqual(
        answered,
        answered.toSorted((a, b) => a - b),
      );
    }
    assert.deepEqual(outcome.unhandled, []);
  });
  const finds = [
    // The diagnostics' script was fetched before the call took its turn.
    ['activations', 'classify'].map((method) => ({ model: 'webgpu', method, image: 0, abort: null })),
  ];
  const many = Array.from({ length: 64 }, (_, i) => ({ model: i % 3 ? 'cpu' : 'webgpu', method: 'classify', image: i % 4, abort: null }));
  await fc.assert(property, { seed: SEED, numRuns: RUNS + 2, examples: [...finds, many].map((calls) => [calls]) });
  await page.close();
});

test('a model that is disposed of answers the calls before, refuses those behind, and others go on', async () => {
  const page = await open();
  const property = fc.asyncProperty(fc.array(call, { maxLength: 12 }), fc.array(call, { maxLength: 12 }), async (before, behind) => {
    const outcome = await page.evaluate(
      async ([before, behind]) => {
        const calls = [...before, ...behind];
        const expected = [];
        for (const call of calls) expected.push(await alone(call));
        const first = before.map((call) => make(call));
        const disposed = models.cpu.dispose();
        const values = await Promise.all([...first, ...behind.map((call) => make(call))]);
        await disposed;
        models.cpu = await load('cpu');
        return { values, expected, unhandled };
      },
      [before, behind],
    );
    const refused = (index) => index >= before.length && behind[index - before.length].model === 'cpu';
    outcome.values.forEach((value, i) => assert.equal(value, refused(i) ? 'disposed' : outcome.expected[i], `call ${i}`));
    assert.deepEqual(outcome.unhandled, []);
  });
  await fc.assert(property, { seed: SEED, numRuns: RUNS });
  await page.close();
});
