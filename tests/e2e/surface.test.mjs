// The package's API: every kind of input, options, embeddings, workers, a lost device.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

// A page made up by a test has no network origin, and may not fetch from this machine.
await serveAndLaunch('--disable-features=LocalNetworkAccessChecks');

const open = () => packagePage(browser, url);

/** Run on the GPU, and on the CPU on the page and in a worker, with the same results; in Firefox with a GPU in a worker too. */
const useEverything = async (options) => {
  const phases = new Set();
  const model = await Xception.load({ weights, ...options, onProgress: ({ phase }) => phases.add(phase) });
  const blob = await (await fetch(cup)).blob();
  const bytes = await blob.arrayBuffer();
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  const rgb = { data: pixels.data.filter((_, i) => i % 4 < 3), width, height };
  const image = new Image();
  image.src = cup;
  await image.decode();
  const element = document.createElement('canvas');
  Object.assign(element, { width, height });
  element.getContext('2d').drawImage(bitmap, 0, 0);
  const frame = new VideoFrame(canvas, { timestamp: 0 });
  const inputs = { blob, bytes, view: new Uint8Array(bytes), url: cup, href: new URL(cup, location), bitmap, canvas, pixels, rgb, image, element, frame };
  const first = {};
  for (const [name, input] of Object.entries(inputs)) {
    const { predictions } = await model.classify(input, { topK: 1 });
    first[name] = `${predictions[0].label} ${predictions[0].score.toFixed(3)}`;
  }
  frame.close();
  const all = (await model.classify(blob, { topK: 6 })).predictions;
  const labels = async (options) => (await model.classify(blob, { topK: 6, ...options })).predictions.map(({ label }) => label);
  const half = { x: 0, y: 0, width: width >> 1, height };
  const embedding = await model.embed(blob);
  const again = await model.embed(bytes);
  const other = await model.embed('/models/kitchenware/photos/0412.jpg');
  const cosine = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0) / Math.hypot(...a) / Math.hypot(...b);
  const [best, fork, crop] = await Promise.all([{}, { classIndex: 1 }, { fit: 'crop' }].map((options) => model.explain(blob, options)));
  const mean = await model.activations(blob, 'global_average_pooling2d');
  const block = await model.activations(blob, 'block2_pool');
  const order = [];
  const slowFirst = [cup, bitmap, blob].map((input, i) => model.classify(input).then(() => order.push(i)));
  await Promise.all(slowFirst);
  const batch = await model.classifyBatch([blob, bitmap, pixels, cup], { batchSize: 3, topK: 1, threshold: 0.1 });
  const result = {
    info: model.info,
    phases: [...phases],
    first,
    all,
    threshold: await labels({ threshold: 0.5 }),
    allow: await labels({ allow: ['knife', 5] }),
    deny: await labels({ deny: ['cup'] }),
    roi: await model.classify(blob, { roi: half }).then(({ predictions }) => predictions[0].score),
    roiPixels: await model.classify(pixels, { roi: half }).then(({ predictions }) => predictions[0].score),
    crop: await model.classify(blob, { fit: 'crop' }).then(({ predictions }) => predictions[0].score),
    embedding: { length: embedding.length, kind: embedding.constructor.name, same: cosine(embedding, again), other: cosine(embedding, other) },
    maps: [best, fork, crop].map(({ prediction, width, height, values, region, image }) => ({
      label: prediction.label,
      size: [width, height, values.length, image.width, image.data.length],
      most: values.indexOf(Math.max(...values)),
      opacity: image.data[4 * (Math.floor(image.height / 2) * image.width + Math.floor(0.7 * image.width)) + 3],
      region,
    })),
    activations: [mean.shape, cosine(mean.values, embedding), block.shape, block.values.length],
    order,
    batch: batch.predictions.map(([best]) => best.label),
    refusals: {
      allow: await refusal(model.classify(blob, { allow: ['unicorn'] })),
      allowText: await refusal(model.classify(blob, { allow: 'cup' })),
      threshold: await refusal(model.classify(blob, { threshold: 2 })),
      roi: await refusal(model.classify(blob, { roi: { x: 0, y: 0, width: 1e5, height: 1 } })),
      fit: await refusal(model.classify(blob, { fit: 'stretch' })),
      pixels: await refusal(model.classify({ data: new Uint8Array(10), width: 2, height: 2 })),
      class: await refusal(model.explain(blob, { classIndex: 6 })),
      classLabel: await refusal(model.explain(blob, { classIndex: 'cup' })),
      layer: await refusal(model.activations(blob, 'block3_shortcut')),
      number: await refusal(model.classify(7)),
      nothing: await refusal(model.classify()),
      closed: await refusal(model.classify(frame)),
      missing: await refusal(model.classify('/models/none.jpg')),
      unreachable: await refusal(model.classify('http://localhost:1/none.jpg')),
      aborted: await refusal(model.classify(blob, { signal: AbortSignal.abort() })),
      batch: await refusal(model.classifyBatch([blob, 7])),
    },
    after: (await model.classify(blob)).predictions[0].label,
    open: bitmap.width > 0,
  };
  const waiting = model.classify(blob).then(({ predictions }) => predictions[0].label);
  const disposed = model.dispose();
  result.late = await refusal(model.classify(blob));
  result.waiting = await waiting;
  await disposed;
  return result;
};

const places = {
  // Software adapters take seconds for a photo of the model's own size.
  'the GPU, from the page': { backend: 'webgpu', inputSize: 71 },
  'the CPU, on the page': { backend: 'cpu', worker: false },
  'the CPU, in a worker': { backend: 'cpu' },
};

for (const [place, options] of Object.entries(places)) {
  test(`every input and option on ${place}`, async () => {
    const page = await open();
    const result = await page.evaluate(useEverything, options);
    const { first, all, embedding, refusals } = result;
    assert.deepEqual(result.info.labels.toSorted(), ['cup', 'fork', 'glass', 'knife', 'plate', 'spoon']);
    // Another size is written into the file.
    const phases = options.inputSize ? ['weights', 'convert'] : ['weights'];
    assert.deepEqual([result.phases, result.info.backend, result.info.reason], [phases, options.backend, '']);
    for (const [name, best] of Object.entries(first)) {
      assert.equal(best.split(' ')[0], 'cup', name);
      assert.ok(Math.abs(best.split(' ')[1] - all[0].score) < 0.02, `${name}: ${best} instead of ${all[0].score}`);
    }
    assert.equal(all.length, 6);
    assert.deepEqual(result.threshold, ['cup']);
    assert.deepEqual(result.allow.toSorted(), ['knife', result.info.labels[5]].toSorted());
    assert.deepEqual(
      result.deny,
      all.slice(1).map(({ label }) => label),
    );
    assert.ok(Math.abs(result.roi - result.roiPixels) < 0.02 && result.roi !== all[0].score);
    assert.notEqual(result.crop, all[0].score);
    const [best, fork, crop] = result.maps;
    assert.deepEqual([best.label, fork.label, crop.label], ['cup', 'fork', 'cup']);
    const side = options.inputSize ? 3 : 5;
    assert.deepEqual(best.size, [side, side, side ** 2, 16 * side, 4 * (16 * side) ** 2]);
    // Keras's values: golden.safetensors, explain.kitchen.0009.0.
    if (side === 5) assert.equal(best.most, 8);
    assert.ok(best.opacity > 150, `${best.opacity}`);
    assert.deepEqual(best.region, { x: 0, y: 0, width: 1, height: 1 });
    assert.ok(Math.abs(crop.region.x + crop.region.width / 2 - 0.5) < 1e-9 && crop.region.width < 1 !== crop.region.height < 1, JSON.stringify(crop.region));
    const [meanShape, same, blockShape, blockLength] = result.activations;
    const pooled = options.inputSize ? 17 : 36;
    assert.deepEqual([meanShape, blockShape, blockLength], [[1, 1, 2048], [pooled, pooled, 128], pooled ** 2 * 128]);
    assert.ok(same > 0.9999, `${same}`);
    assert.deepEqual([embedding.length, embedding.kind], [2048, 'Float32Array']);
    assert.ok(embedding.same > 0.9999 && embedding.other < embedding.same - 0.05, JSON.stringify(embedding));
    assert.deepEqual(result.order, [0, 1, 2]);
    assert.deepEqual(result.batch, ['cup', 'cup', 'cup', 'cup']);
    const bad = 'bad-argument';
    assert.deepEqual(refusals, {
      allow: bad,
      allowText: bad,
      threshold: bad,
      roi: bad,
      fit: bad,
      pixels: bad,
      number: bad,
      nothing: bad,
      class: bad,
      classLabel: bad,
      layer: bad,
      closed: 'decode',
      missing: 'fetch',
      unreachable: 'fetch',
      aborted: 'aborted',
      batch: bad,
    });
    assert.deepEqual([result.after, result.open], ['cup', true]);
    assert.deepEqual([result.late, result.waiting], ['disposed', 'cup'], 'what waits is answered, what comes later is not');
    await page.close();
  });
}

for (const options of [{ backend: 'webgpu', worker: true, inputSize: 71 }, { backend: 'cpu' }])
  test(`the page's thread stays free: ${options.backend}`, async (context) => {
    const page = await open();
    const longest = await page.evaluate(async (options) => {
      const tasks = [];
      new PerformanceObserver((list) => tasks.push(...list.getEntries())).observe({ type: 'longtask' });
      const blob = await (await fetch(cup)).blob();
      const model = await Xception.load({ weights, ...options, cache: false });
      for (let i = 0; i < 3; i++) await model.classify(blob);
      await new Promise((resolve) => setTimeout(resolve, 100));
      return Math.max(0, ...tasks.map(({ duration }) => duration));
    }, options);
    context.diagnostic(`longest task of the page: ${Math.round(longest)} ms (those below 50 are not told)`);
    assert.ok(longest <= 50, `a task of ${longest} ms`);
    await page.close();
  });

test('images of other sites need leave', async () => {
  const page = await open();
  const other = createServer((_, response) => response.setHeader('content-type', 'image/jpeg').end(readFileSync('tests/data/photos/baseline.jpg'))).listen(
    0,
    'localhost',
  );
  await once(other, 'listening');
  const code = await page.evaluate(async (port) => {
    const model = await Xception.load({ weights });
    return refusal(model.classify(`http://localhost:${port}/photo.jpg`));
  }, other.address().port);
  other.close();
  assert.equal(code, 'cors');
  await page.close();
});

test('a worker aborts, tells what fails, and takes any source of weights', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const load = (options) => Xception.load({ worker: true, backend: 'cpu', warmup: false, ...options });
    const aborter = new AbortController();
    const own = new Worker('/pkg/dist/worker.js', { type: 'module' });
    const works = async (options) => {
      const model = await load(options);
      await model.dispose();
      return model.info.classes;
    };
    return {
      aborted: await refusal(load({ weights, cache: false, signal: aborter.signal, onProgress: () => aborter.abort() })),
      thrown: await refusal(
        load({
          weights,
          onProgress: () => {
            throw new RangeError('enough');
          },
        }),
      ),
      missing: await refusal(load({ weights: '/models/none.safetensors' })),
      nothing: await refusal(load({})),
      response: await works({ weights: await fetch(weights) }),
      request: await works({ weights: new Request(weights, { cache: 'no-store' }) }),
      blob: await works({ weights: await (await fetch(weights)).blob() }),
      // A worker supplied by the page serves several models in turn.
      own: await works({ weights, worker: own }),
      again: await works({ weights, worker: own }),
    };
  });
  const { thrown, ...rest } = result;
  assert.match(thrown, /enough|internal/);
  assert.deepEqual(rest, { aborted: 'aborted', missing: 'fetch', nothing: 'bad-argument', response: 6, request: 6, blob: 6, own: 6, again: 6 });
  await page.close();
});

test('a lost device is told, and the model comes back; one that cannot says so', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    // A page cannot provoke a device loss by the browser.
    const losses = [];
    const { get } = Object.getOwnPropertyDescriptor(GPUDevice.prototype, 'lost');
    Object.defineProperty(GPUDevice.prototype, 'lost', {
      get() {
        return Promise.race([get.call(this), new Promise((lose) => losses.push(() => lose({ reason: 'unknown', message: 'the driver was reset' })))]);
      },
    });
    const lose = () => losses.splice(0).forEach((one) => one());
    const small = { weights, backend: 'webgpu', inputSize: 71 };
    const model = await Xception.load(small);
    const events = [];
    for (const type of ['devicelost', 'restored']) model.addEventListener(type, ({ detail }) => events.push(`${type} ${detail?.reason ?? ''}`.trim()));
    const before = (await model.classify(cup)).predictions[0].label;
    const restored = new Promise((resolve) => model.addEventListener('restored', resolve, { once: true }));
    lose();
    await new Promise((resolve) => model.addEventListener('devicelost', resolve, { once: true }));
    const meanwhile = (await model.classify(cup)).predictions[0].label;
    await restored;
    await model.dispose();
    const once = await Xception.load({ ...small, weights: await fetch(weights) });
    lose();
    await new Promise((resolve) => once.addEventListener('devicelost', resolve, { once: true }));
    const gone = await refusal(once.classify(cup));
    return { before, meanwhile, events, gone };
  });
  assert.deepEqual(result, { before: 'cup', meanwhile: 'cup', events: ['devicelost the driver was reset', 'restored'], gone: 'device-lost' });
  await page.close();
});

test('a defect rejects, the model says that it is gone, and another one loads', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const small = { weights, backend: 'webgpu', inputSize: 71 };
    const model = await Xception.load(small);
    // wgpu panics where a browser's call throws.
    const { submit } = GPUQueue.prototype;
    GPUQueue.prototype.submit = () => {
      throw new Error('no');
    };
    const broken = await refusal(model.classify(cup));
    GPUQueue.prototype.submit = submit;
    const after = await refusal(model.classify(cup));
    const disposed = await refusal(model.dispose());
    const another = await Xception.load(small);
    return { broken, after, disposed, another: (await another.classify(cup)).predictions[0].label };
  });
  assert.deepEqual(result, { broken: 'internal', after: 'disposed', disposed: 'none', another: 'cup' });
  await page.close();
});

test('what a browser can is told without loading anything', async () => {
  const page = await open();
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  const here = await page.evaluate(() => Xception.isSupported());
  assert.deepEqual([here.ok, here.backend, here.f16, here.timestamps], [true, 'cpu', false, true]);
  assert.match(here.reason, /swiftshader is a software adapter/i);
  assert.match(here.adapter, /swiftshader/i);
  const real = await page.evaluate(async () => {
    const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'info');
    const info = { vendor: 'acme', architecture: 'rocket', description: '', device: '' };
    Object.defineProperty(GPUAdapter.prototype, 'info', { get: () => info, configurable: true });
    const support = await Xception.isSupported();
    Object.defineProperty(GPUAdapter.prototype, 'info', { get, configurable: true });
    return support;
  });
  assert.deepEqual([real.ok, real.backend, real.reason, real.adapter], [true, 'webgpu', '', 'acme rocket']);
  const nameless = await page.evaluate(async () => {
    Object.defineProperty(GPUAdapter.prototype, 'info', {
      get: () => ({ vendor: '', architecture: '', description: '', device: '', isFallbackAdapter: true }),
    });
    return Xception.isSupported();
  });
  assert.deepEqual([nameless.backend, nameless.reason, nameless.adapter], ['cpu', 'WebGPU has only a software adapter here', '']);
  const none = await page.evaluate(() => {
    Object.defineProperty(navigator.gpu.constructor.prototype, 'requestAdapter', { value: async () => null });
    return Xception.isSupported();
  });
  assert.deepEqual([none.ok, none.backend], [true, 'cpu']);
  assert.match(none.reason, /hardware acceleration/);
  assert.deepEqual(requests, []);
  await page.close();
});
