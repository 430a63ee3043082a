// The package: its size, its types, and its API called from a page.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { emptyPage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

await serveAndLaunch();

let page;
before(async () => {
  page = await emptyPage(browser, url);
});

test('the core wasm is at most 120 KB (brotli)', (context) => {
  const brotli = (name) => brotliCompressSync(readFileSync(`pkg/dist/${name}_bg.wasm`)).length;
  context.diagnostic(`core ${brotli('xception')} bytes brotli, formats ${brotli('formats')}`);
  assert.ok(brotli('xception') <= 120_000, `${brotli('xception')} bytes`);
});

test('the types describe the package', () => {
  const args = ['node_modules/typescript/bin/tsc', '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext'];
  const { status, stdout } = spawnSync('node', [...args, '--lib', 'es2022,dom', 'tests/e2e/types.ts'], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('the labels of ImageNet are in the package', async () => {
  const { default: imagenet } = await import('../../pkg/dist/imagenet.js');
  assert.equal(imagenet.length, 1000);
  assert.deepEqual(
    [imagenet[0], imagenet[281]],
    [
      ['n01440764', 'tench'],
      ['n02123045', 'tabby'],
    ],
  );
  // Keras's imagenet_class_index.json, byte for byte.
  const index = imagenet.map(([wnid, name], i) => `"${i}": ["${wnid}", "${name.replaceAll(' ', '_')}"]`).join(', ');
  assert.equal(createHash('md5').update(`{${index}}`).digest('hex'), 'c2c37ea517e94d9795004a39431a14cb');
});

test("dtype, head and labels are the caller's", async () => {
  const result = await page.evaluate(async () => {
    const { Xception } = await import('/pkg/dist/index.js');
    const weights = '/models/kitchenware.safetensors';
    const photo = await (await fetch('/models/kitchenware/photos/0009.jpg')).blob();
    const answer = async (options) => {
      try {
        const model = await Xception.load({ weights, backend: 'webgpu', inputSize: 71, ...options });
        const { predictions } = await model.classify(photo, { topK: 2 });
        await model.dispose();
        return { info: model.info, predictions };
      } catch ({ code, message }) {
        return { code, message };
      }
    };
    // A PyTorch linear layer whose logits are its bias for every photo.
    const tensor = (shape, start, end) => ({ dtype: 'F32', shape, data_offsets: [start, end] });
    const size = 4 * 3 * 2048;
    const json = JSON.stringify({ 'fc.weight': tensor([3, 2048], 0, size), 'fc.bias': tensor([3], size, size + 12) });
    const header = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
    const values = new Float32Array([...new Array(3 * 2048).fill(0), 0, 0, Math.log(2)]);
    const head = new Blob([new BigUint64Array([BigInt(header.length)]), header, values]);
    return {
      auto: await answer({}),
      f16: await answer({ dtype: 'f16' }),
      fit: await answer({ fit: 'squash', backend: 'cpu' }),
      i8: await answer({ dtype: 'i8' }),
      head: await answer({ backend: 'cpu', head, labels: ['one', 'n02123045 two', 'n02123045 tabby'] }),
      noHead: await answer({ backend: 'cpu', head: new Blob(['<html>']) }),
      labels: await answer({ backend: 'cpu', head, labels: ['one'] }),
      foreign: await answer({ backend: 'cpu', weights: head }),
    };
  });
  const { auto, f16, fit, i8, head, noHead, labels, foreign } = result;
  assert.equal(auto.info.dtype, 'f32', 'a software adapter computes from f32');
  assert.deepEqual(Object.keys(auto.info.source), ['kind', 'sha256', 'license']);
  // The file was converted with the filter and the labels; PyTorch's head tells nothing of its own.
  const assumed = [
    { name: 'pixel values', value: '−1 to 1', option: 'pixels' },
    { name: 'fit', value: 'squash', option: 'fit' },
  ];
  const activation = { name: 'final activation', value: 'softmax', option: 'activation' };
  assert.deepEqual(
    [auto, f16, head].map(({ info }) => info.assumed),
    [assumed, assumed, [...assumed, activation]],
  );
  assert.deepEqual(fit.info.assumed, [assumed[0]]);
  assert.equal(f16.info.dtype, 'f16');
  assert.ok(f16.info.bytes < auto.info.bytes * 0.51, `${f16.info.bytes} bytes`);
  assert.deepEqual(
    [auto, f16].map(({ predictions }) => predictions[0].label),
    ['cup', 'cup'],
  );
  assert.ok(Math.abs(auto.predictions[0].score - f16.predictions[0].score) < 2e-3);
  assert.notEqual(auto.predictions[0].score, f16.predictions[0].score);
  assert.equal(i8.code, 'bad-argument', i8.message);
  const [first, second] = head.predictions;
  assert.deepEqual([first.index, first.label, first.wnid], [2, 'tabby', 'n02123045'], head.message);
  assert.ok(Math.abs(first.score - 0.5) < 1e-6 && Math.abs(second.score - 0.25) < 1e-6, `${first.score}`);
  assert.deepEqual(head.info.labels, ['one', 'two', 'tabby']);
  assert.equal(noHead.code, 'bad-argument');
  assert.match(noHead.message, /^the head: .*web page/);
  assert.equal(labels.code, 'bad-argument');
  assert.match(labels.message, /1 labels for 3 classes/);
  assert.match(foreign.message, /has no Xception whose layers/);
});

test('a photo costs one submit and one compute pass, and makes no GPU object', async () => {
  const { load, photo } = await page.evaluate(async () => {
    const { Xception } = await import('/pkg/dist/index.js');
    let calls = {};
    const undo = [];
    const count = (type, name) => {
      const original = type.prototype[name];
      undo.push(() => (type.prototype[name] = original));
      type.prototype[name] = function (...args) {
        calls[name] = (calls[name] ?? 0) + 1;
        return original.apply(this, args);
      };
    };
    ['createBuffer', 'createTexture', 'createBindGroup', 'createComputePipeline', 'createShaderModule'].forEach((name) => count(GPUDevice, name));
    count(GPUQueue, 'submit');
    count(GPUQueue, 'copyExternalImageToTexture');
    count(GPUCommandEncoder, 'beginComputePass');
    count(GPUComputePassEncoder, 'dispatchWorkgroups');
    const model = await Xception.load({ weights: '/models/kitchenware.safetensors', backend: 'webgpu', inputSize: 71 });
    const load = calls;
    await model.classify('/models/kitchenware/photos/0009.jpg');
    calls = {};
    await model.classify('/models/kitchenware/photos/0026.jpg');
    const photo = calls;
    undo.forEach((restore) => restore());
    await model.dispose();
    return { load, photo };
  });
  // 7 slots, 118 tensors, 1 staging buffer, 3 for the photo, the numbers of 40 products; 78 passes and 2 of preprocessing.
  assert.equal(load.createBuffer, 7 + 118 + 1 + 3 + 40);
  assert.equal(load.createBindGroup, 80);
  assert.ok(load.createComputePipeline <= 22, `${load.createComputePipeline} pipelines`);
  assert.deepEqual(photo, { submit: 1, copyExternalImageToTexture: 1, beginComputePass: 1, dispatchWorkgroups: 80 });
});

test('the fastest shaders are found by trying, kept, and answer as the others do', async () => {
  const result = await page.evaluate(async () => {
    const { Xception } = await import('/pkg/dist/index.js');
    const photo = await (await fetch('/models/kitchenware/photos/0009.jpg')).blob();
    const answer = async (tune) => {
      const model = await Xception.load({ weights: '/models/kitchenware.safetensors', backend: 'webgpu', inputSize: 71, tune });
      const { predictions } = await model.classify(photo, { topK: 2 });
      await model.dispose();
      return { tuned: model.info.tuned, predictions };
    };
    const kept = async () => {
      const cache = await caches.open('xception-webgpu-tuning');
      return Promise.all((await cache.keys()).map(async (key) => (await cache.match(key)).text()));
    };
    const auto = await answer('auto');
    const none = await kept();
    const again = await answer('again');
    const refused = await Xception.load({ weights: '', backend: 'webgpu', tune: 'often' }).catch(({ code }) => code);
    return { auto, none, again, kept: await kept(), refused };
  });
  const { auto, none, again, kept, refused } = result;
  assert.deepEqual([auto.tuned, none], [false, []], 'a software adapter is not measured without being asked');
  assert.equal(again.tuned, true);
  assert.equal(kept.length, 1);
  assert.match(kept[0], /^(\d+×\d+×\d+ to \d+, 1 at once: (direct|(tiled|fused) [\dx/]+( f16)?)(, \d+ ns, \d+ left)?\n)+$/);
  assert.equal(again.predictions[0].label, 'cup');
  assert.ok(Math.abs(auto.predictions[0].score - again.predictions[0].score) < 1e-5);
  assert.equal(refused, 'bad-argument');
});

test('the API answers in order, counts, refuses and lets go', async () => {
  const result = await page.evaluate(async () => {
    const { Xception, XceptionError, clearCache } = await import('/pkg/dist/index.js');
    await clearCache();
    const refusal = async (promise) => {
      const error = await promise.then(
        () => undefined,
        (error) => error,
      );
      return error instanceof XceptionError ? error.code : String(error);
    };
    const [weights, backend] = ['/models/kitchenware.safetensors', 'webgpu'];
    const phases = [];
    const aborter = new AbortController();
    const aborted = Xception.load({ weights, backend, signal: aborter.signal, onProgress: () => aborter.abort() });
    const result = {
      aborted: await refusal(aborted),
      missing: await refusal(Xception.load({ weights: '/models/none.safetensors', backend })),
      reason: await refusal(Xception.load({ weights, backend, signal: AbortSignal.abort('enough') })),
      nothing: await refusal(Xception.load()),
      nothing2: await refusal(Xception.load(null)),
      size: await refusal(Xception.load({ weights, backend, inputSize: 50 })),
      filter: await refusal(Xception.load({ weights, backend, filter: 'cubic' })),
      labels: await refusal(Xception.load({ weights, backend, labels: ['one', 'two'] })),
    };
    const model = await Xception.load({ weights, backend, inputSize: [107, 107], onProgress: (progress) => phases.push(progress) });
    const bytes = await (await fetch('/models/kitchenware/photos/0009.jpg')).arrayBuffer();
    const bitmap = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(300, 200);
    canvas.getContext('2d').drawImage(bitmap, 0, 0, 300, 200);
    const inputs = [bytes, new Uint8Array(bytes), new Blob([bytes]), bitmap, canvas];
    const many = inputs.map((input) => model.classify(input, { topK: 2 }));
    const answers = await Promise.all(many);
    result.first = answers[0];
    result.same = answers.slice(0, 4).every((answer) => JSON.stringify(answer.predictions) === JSON.stringify(answers[0].predictions));
    result.canvas = answers[4].predictions[0].label;
    result.open = bitmap.width > 0;
    result.all = (await model.classify(bytes, { topK: 99 })).predictions.length;
    result.zero = await refusal(model.classify(bytes, { topK: 0 }));
    result.number = await refusal(model.classify(7));
    // A browser without a decoder for the file.
    const browsers = globalThis.createImageBitmap;
    globalThis.createImageBitmap = (source, options) => (source instanceof Blob ? Promise.reject(new DOMException('no decoder')) : browsers(source, options));
    result.decoded = (await model.classify(bytes)).predictions;
    result.undecoded = await refusal(model.classify(new TextEncoder().encode('no image')));
    globalThis.createImageBitmap = browsers;
    // A photo creates no GPU object: all are created at load.
    const made = [];
    const makers = ['createBuffer', 'createBindGroup', 'createTexture', 'createComputePipeline'];
    const originals = makers.map((name) => GPUDevice.prototype[name]);
    makers.forEach((name, index) => {
      GPUDevice.prototype[name] = function (...args) {
        made.push(name);
        return originals[index].apply(this, args);
      };
    });
    const before = await model.classify(bytes);
    result.made = made.slice();
    const other = await (await fetch('/models/kitchenware/photos/0412.jpg')).blob();
    const batch = await model.classifyBatch([other, bytes, other], { topK: 2, batchSize: 2 });
    result.reserved = made.length > 0;
    makers.forEach((name, index) => (GPUDevice.prototype[name] = originals[index]));
    result.batch = batch.predictions.map(([best]) => best.label);
    result.batchSame = Math.abs(batch.predictions[1][0].score - before.predictions[0].score);
    result.batchTotal = batch.timings.total > 0;
    result.batchBad = await refusal(model.classifyBatch([bytes, new TextEncoder().encode('no image')]));
    result.batchSize = await refusal(model.classifyBatch([bytes], { batchSize: 0 }));
    result.batchOfNothing = await refusal(model.classifyBatch(undefined));
    result.nullOptions = (await model.classify(bytes, null)).predictions.length;
    result.batchNone = (await model.classifyBatch([])).predictions.length;
    result.info = model.info;
    // Another size is written into the file.
    result.last = phases.findLast(({ phase }) => phase === 'weights');
    const waiting = model.classify(bytes);
    const disposed = model.dispose();
    result.waiting = (await waiting).predictions.length;
    await disposed;
    result.after = await refusal(model.classify(bytes));
    const again = await Xception.load({ weights, backend, inputSize: 71, warmup: false });
    result.again = (await again.classify(bytes)).predictions[0].label;
    await again.dispose();
    return result;
  });
  assert.equal(result.aborted, 'aborted');
  assert.equal(result.missing, 'fetch');
  assert.equal(result.reason, 'aborted');
  assert.equal(result.nothing, 'bad-argument');
  assert.equal(result.nothing2, 'bad-argument');
  assert.equal(result.size, 'bad-argument');
  assert.equal(result.filter, 'bad-argument');
  assert.equal(result.labels, 'bad-argument');
  assert.equal(result.first.predictions.length, 2);
  assert.deepEqual(Object.keys(result.first.predictions[0]), ['index', 'label', 'score']);
  assert.deepEqual(Object.keys(result.first.timings), ['decode', 'preprocess', 'inference', 'total']);
  assert.ok(result.same, 'bytes, blobs and bitmaps of one photo give one answer');
  assert.equal(result.canvas, 'cup');
  assert.ok(result.open, 'a bitmap that was handed in is not closed');
  assert.equal(result.all, 6);
  assert.equal(result.zero, 'bad-argument');
  assert.equal(result.number, 'bad-argument');
  assert.equal(result.decoded[0].label, 'cup');
  // Two JPEG decoders, each within the standard's tolerance.
  assert.ok(Math.abs(result.decoded[0].score - result.first.predictions[0].score) < 1e-3);
  assert.equal(result.undecoded, 'decode');
  assert.deepEqual(result.made, []);
  assert.ok(result.reserved, 'the counter counts');
  assert.deepEqual(result.batch, ['fork', 'cup', 'fork']);
  assert.ok(result.batchSame < 1e-5, 'a photo among others has the same answer');
  assert.ok(result.batchTotal);
  assert.equal(result.batchBad, 'decode');
  assert.equal(result.batchSize, 'bad-argument');
  assert.equal(result.batchOfNothing, 'bad-argument');
  assert.equal(result.batchSize, 'bad-argument');
  assert.equal(result.nullOptions, 5);
  assert.equal(result.batchNone, 0);
  assert.deepEqual(result.info.inputSize, [107, 107]);
  assert.equal(result.info.classes, 6);
  assert.equal(result.info.dispatches, 78);
  const length = readFileSync('models/kitchenware.safetensors').length;
  assert.deepEqual(result.last, { phase: 'weights', loaded: length, total: length, fromCache: false });
  assert.equal(result.waiting, 5);
  assert.equal(result.after, 'disposed');
  assert.equal(result.again, 'cup');
});
