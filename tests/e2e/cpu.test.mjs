// The CPU backend: when it is chosen and with what reason, equal answers, threads, and failures.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { serve } from '../../scripts/serve.mjs';
import { launch } from './browser.mjs';

let server, browser, url, scratch;

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'xception-'));
  ({ server, url } = await serve(0, { '/scratch': scratch }));
  // Workers of a cross-origin isolated page need the header too.
  server.prependListener('request', (_, response) => response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp'));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
  rmSync(scratch, { recursive: true });
});

/** An empty page at its own address, and the names of the wasm modules that it fetches. */
async function open(path = 'empty', headers = {}) {
  const page = await browser.newPage();
  const modules = [];
  page.on('request', (request) => modules.push(...(request.url().match(/\w+(?=_bg\.wasm$)/) ?? [])));
  await page.route(`**/${path}`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>', headers }));
  await page.goto(`${url}${path}`);
  await page.evaluate(async () => {
    Object.assign(globalThis, await import('/pkg/dist/index.js'));
    globalThis.weights = '/models/kitchenware.safetensors';
    globalThis.cup = '/models/kitchenware/photos/0009.jpg';
    /** A model's answer and its info. */
    globalThis.answer = async (options) => {
      try {
        const model = await Xception.load({ weights, cache: false, ...options });
        const { predictions, timings } = await model.classify(cup, { topK: 6 });
        const { backend, reason, adapter, dtype, bytes } = model.info;
        const profile = backend === 'cpu' ? await model.profile(cup).catch(({ code }) => code) : undefined;
        await model.dispose();
        return { backend, reason, adapter, dtype, bytes, predictions, timings, profile };
      } catch ({ code, message }) {
        return { code, message };
      }
    };
  });
  return { page, modules };
}

/** The headers that let a page share memory between threads. */
const isolated = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

/** Asserts that two answers have the same classes and probabilities. */
function same(one, other, tolerance) {
  assert.deepEqual([one.code, one.message], [undefined, undefined]);
  for (const [i, { label, score }] of one.predictions.entries()) {
    assert.equal(label, other.predictions[i].label);
    assert.ok(Math.abs(score - other.predictions[i].score) < tolerance, `${label}: ${score} and ${other.predictions[i].score}`);
  }
}

test('it is taken where there is no GPU, and gives the same answers', async () => {
  const { page, modules } = await open();
  const software = await page.evaluate(() => answer());
  assert.deepEqual(modules.slice(0, 1), ['cpu_relaxed']);
  assert.ok(!modules.includes('xception') && !modules.includes('formats'), 'nothing else is fetched');
  assert.deepEqual([software.backend, software.dtype, software.profile], ['cpu', 'f16', 'bad-argument']);
  assert.match(software.reason, /swiftshader is a software adapter/);
  assert.match(software.adapter, /^CPU: relaxed SIMD, 1 thread$/);
  const gpu = await page.evaluate(() => answer({ backend: 'webgpu' }));
  assert.deepEqual([gpu.backend, gpu.reason], ['webgpu', '']);
  same(software, gpu, 1e-4);
  const none = await page.evaluate(async () => {
    GPU.prototype.requestAdapter = async () => null;
    const auto = await answer();
    const asked = await answer({ backend: 'webgpu', cache: false });
    Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined });
    return { auto, asked, missing: await answer(), forced: await answer({ backend: 'webgpu' }), wrong: await answer({ backend: 'tpu' }) };
  });
  assert.match(none.auto.reason, /finds no GPU/);
  assert.match(none.missing.reason, /no WebGPU here/);
  assert.deepEqual([none.asked.code, none.forced.code, none.wrong.code], ['no-adapter', 'no-webgpu', 'bad-argument']);
  same(none.missing, gpu, 1e-4);
  await page.close();
});

test('without a fused multiply-add, from other dtypes, and where no worker may start', async () => {
  const relaxed = await open();
  const { f32, f16 } = await relaxed.page.evaluate(async () => ({ f32: await answer({ dtype: 'f32' }), f16: await answer({ dtype: 'f16' }) }));
  same(f32, f16, 2e-3);
  assert.ok(f16.bytes < f32.bytes * 0.6, `${f16.bytes} and ${f32.bytes} bytes`);
  assert.equal((await relaxed.page.evaluate(() => answer({ dtype: 'i8' }))).code, 'bad-argument');
  await relaxed.page.close();

  const { page, modules } = await open('alone', { 'Content-Security-Policy': "worker-src 'none'" });
  await page.evaluate(() => {
    const { validate } = WebAssembly;
    WebAssembly.validate = (bytes) => bytes.length > 40 && validate(bytes);
  });
  const plain = await page.evaluate(() => answer({ dtype: 'f32' }));
  assert.deepEqual(modules, ['cpu']);
  assert.match(plain.adapter, /^CPU: SIMD, 1 thread$/);
  same(plain, f32, 1e-5);
  await page.close();
});

/** In a page: makes `sized([height, width])`, the kitchenware model for another input size. */
async function sizes(page) {
  await page.evaluate(async () => {
    const file = new Uint8Array(await (await fetch(weights)).arrayBuffer());
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    globalThis.sized = (size) => {
      const header = new TextDecoder().decode(file.subarray(8, 8 + length)).replace('[150,150]', JSON.stringify(size));
      const bytes = new TextEncoder().encode(header);
      const start = new Uint8Array(8);
      new DataView(start.buffer).setBigUint64(0, BigInt(bytes.length), true);
      return new Blob([start, bytes, file.subarray(8 + length)]);
    };
    /** A hash of every fifth layer for a photo, and the number of threads that computed it. */
    globalThis.computed = async (size, threads) => {
      const model = await Xception.load({ weights: sized(size), threads, cache: false, backend: 'cpu' });
      const hashes = {};
      for (const { name } of model.info.layers.filter((_, index) => index % 5 === 0)) {
        const { values } = await model.activations(cup, name);
        const digest = await crypto.subtle.digest('SHA-256', values);
        hashes[name] = [...new Uint8Array(digest, 0, 8)].join();
      }
      const { predictions } = await model.classify(cup, { topK: 6 });
      await model.dispose();
      return { hashes, predictions, threads: Number(model.info.adapter.match(/(\d+) thread/)[1]) };
    };
  });
}

test('any number of threads computes what one does, for images of any size', async () => {
  const { page, modules } = await open('isolated', isolated);
  await sizes(page);
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  for (const [size, counts] of [
    [[320, 96], [4]],
    [
      [400, 71],
      [3, 16],
    ],
    [
      [299, 299],
      [2, 16],
    ],
    [[71, 71], [5]],
  ]) {
    const one = await page.evaluate((size) => computed(size, 1), size);
    assert.equal(one.threads, 1);
    for (const count of counts) {
      const { hashes, predictions, threads } = await page.evaluate(([size, count]) => computed(size, count), [size, count]);
      assert.equal(threads, count);
      assert.deepEqual({ hashes, predictions }, { hashes: one.hashes, predictions: one.predictions }, `${size.join('×')} on ${count} threads`);
    }
  }
  assert.deepEqual([...new Set(modules)], ['cpu_relaxed', 'cpu_threads_relaxed'], 'one thread fetches its own module');
  await page.close();
});

test('without a fused multiply-add too', async () => {
  const { page, modules } = await open('isolated', isolated);
  await sizes(page);
  // The module is chosen in the worker.
  const script = 'const { validate } = WebAssembly; WebAssembly.validate = (bytes) => bytes.length > 40 && validate(bytes);';
  await page.route('**/worker.js', async (route) => {
    const response = await route.fetch();
    return route.fulfill({ response, body: script + (await response.text()) });
  });
  const [one, two] = await page.evaluate(async () => [await computed([96, 200], 1), await computed([96, 200], 2)]);
  assert.deepEqual([one.threads, two.threads], [1, 2]);
  assert.deepEqual(two.hashes, one.hashes);
  assert.deepEqual([...new Set(modules)], ['cpu', 'cpu_threads']);
  await page.close();
});

/** The outcome of photos with a replaced thread script; null for none. */
async function troubled(script, ms = 0) {
  const folder = join(scratch, `dist${troubled.count++}`);
  cpSync('pkg/dist', folder, { recursive: true });
  if (script) renameSync(join(folder, 'thread.js'), join(folder, 'real.js'));
  if (script) writeFileSync(join(folder, 'thread.js'), script);
  if (script === null) rmSync(join(folder, 'thread.js'));
  const { page } = await open('isolated', isolated);
  const result = await page.evaluate(
    async ([folder, ms]) => {
      const { Xception } = await import(`/scratch/${folder}/index.js`);
      const model = await Xception.load({ weights, cache: false, backend: 'cpu', threads: 3, worker: true });
      const answers = [];
      const end = performance.now() + ms;
      while (answers.length < 3 || performance.now() < end) answers.push((await model.classify(cup)).predictions[0]);
      await model.dispose();
      const different = answers.filter(({ label, score }) => label !== answers[0].label || score !== answers[0].score);
      return { label: answers[0].label, different, threads: Number(model.info.adapter.match(/(\d+) thread/)[1]) };
    },
    [basename(folder), ms],
  );
  await page.close();
  return result;
}
troubled.count = 0;

test('threads that cannot start, never come or die leave an answer', async () => {
  const right = (threads) => ({ label: 'cup', different: [], threads });
  assert.deepEqual(await troubled(undefined), right(3), 'as it should be');
  assert.deepEqual(await troubled(null), right(1), 'their script is not there');
  assert.deepEqual(await troubled('throw new Error("this thread cannot start")'), right(1), 'their script throws');
  assert.deepEqual(await troubled('addEventListener("message", () => postMessage({ failed: "no memory" }))'), right(1), 'they say so');
  assert.deepEqual(await troubled('addEventListener("message", () => postMessage({ ready: true }))'), right(1), 'they come and do nothing');
  assert.deepEqual(await troubled(' '), right(1), 'they never answer');
  const slow = `
    import './real.js';
    const post = postMessage;
    globalThis.postMessage = (message) => {
      post(message);
      for (const end = Date.now() + 500; Date.now() < end; );
    };`;
  assert.deepEqual(await troubled(slow), right(3), 'they are interrupted once they are ready');
  // Terminated in the middle of a strip, as browsers do when memory is short.
  const dying = `
    const thread = new Worker(new URL('./real.js', import.meta.url), { type: 'module' });
    addEventListener('message', ({ data: place }) => {
      thread.onmessage = ({ data }) => {
        postMessage(data);
        setTimeout(() => thread.terminate(), 300 * place.rank);
      };
      thread.postMessage(place);
    });`;
  // Chromium takes 2 s for it.
  assert.deepEqual(await troubled(dying, 5000), right(3), 'they die');
});

test('four threads take hardly more memory than one', async (context) => {
  const { page } = await open('isolated', isolated);
  const script = `
    import { Xception } from '/pkg/dist/index.js';
    // The module's memory is private, so the browser is asked for it.
    const memories = [];
    const { instantiateStreaming } = WebAssembly;
    WebAssembly.instantiateStreaming = async (...args) => {
      const result = await instantiateStreaming.apply(WebAssembly, args);
      memories.push(result.instance.exports.memory);
      return result;
    };
    addEventListener('message', async ({ data: threads }) => {
      const model = await Xception.load({ weights: '/models/kitchenware.safetensors', cache: false, backend: 'cpu', threads });
      await model.classify('/models/kitchenware/photos/0009.jpg');
      postMessage([Math.max(...memories.map(({ buffer }) => buffer.byteLength)), model.info.adapter]);
    });`;
  await page.route('**/measure.js', (route) => route.fulfill({ contentType: 'text/javascript', body: script, headers: isolated }));
  const [[one], [four, adapter]] = await page.evaluate(async () => {
    const measure = (threads) =>
      new Promise((resolve, reject) => {
        const worker = new Worker('/measure.js', { type: 'module' });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
        worker.postMessage(threads);
      });
    return [await measure(1), await measure(4)];
  });
  context.diagnostic(`${one} bytes with one thread, ${four} with four`);
  assert.match(adapter, /4 threads$/);
  assert.ok(four < one + 20e6, `${one} bytes with one thread, ${four} with four`);
  await page.close();
});

test('its memory is that of the weights and 60 MB, also after a large photo', async (context) => {
  const file = join(scratch, 'large.safetensors');
  execFileSync('cargo', ['run', '--release', '--quiet', '--', 'convert', 'models/kitchenware.safetensors', file, '--size', '299'], { stdio: 'pipe' });
  const { page } = await open();
  const { weights, memory, label } = await page.evaluate(async () => {
    const response = await fetch('/scratch/large.safetensors');
    const weights = Number(response.headers.get('content-length'));
    // The module's memory is private, so the browser is asked for it.
    const memories = [];
    const { instantiateStreaming } = WebAssembly;
    WebAssembly.instantiateStreaming = async (...args) => {
      const result = await instantiateStreaming.apply(WebAssembly, args);
      memories.push(result.instance.exports.memory);
      return result;
    };
    const model = await Xception.load({ weights: response, backend: 'cpu', worker: false });
    const cat = await createImageBitmap(await (await fetch(cup)).blob(), { resizeWidth: 4000, resizeHeight: 3000 });
    const { predictions } = await model.classify(cat);
    await model.classify({ data: new Uint8Array(4 * 4000 * 1000).fill(200), width: 4000, height: 1000 });
    return { weights, memory: Math.max(...memories.map(({ buffer }) => buffer.byteLength)), label: predictions[0].label };
  });
  context.diagnostic(`${weights} bytes of weights, ${memory} bytes of memory`);
  assert.ok(memory > weights && memory < weights + 60e6, `${memory} bytes for ${weights} of weights`);
  assert.equal(label, 'cup');
  await page.close();
});

test('what is transparent lets white through, and bad photos and weights harm nobody', async () => {
  const { page } = await open();
  const result = await page.evaluate(async () => {
    const refusal = (promise) =>
      promise.then(
        () => 'none',
        ({ code }) => code,
      );
    const results = {};
    for (const backend of ['cpu', 'webgpu']) {
      const model = await Xception.load({ weights, backend });
      const canvas = new OffscreenCanvas(200, 150);
      const context = canvas.getContext('2d');
      const gradient = context.createLinearGradient(0, 0, 200, 0);
      gradient.addColorStop(0, 'rgb(200 30 30 / 0)');
      gradient.addColorStop(1, 'rgb(30 30 200)');
      context.fillStyle = gradient;
      context.fillRect(0, 0, 200, 150);
      const { predictions } = await model.classify(await canvas.convertToBlob());
      results[backend] = {
        predictions,
        text: await refusal(model.classify(new Blob(['no image']))),
        roi: await refusal(model.classify(cup, { roi: { x: 0, y: 0, width: 1e5, height: 1 } })),
        after: (await model.classify(cup)).predictions[0].label,
      };
      await model.dispose();
    }
    const bytes = new Uint8Array(await (await fetch(weights)).arrayBuffer());
    results.cut = await refusal(Xception.load({ weights: bytes.slice(0, -1000), backend: 'cpu' }));
    results.keras = (await Xception.load({ weights: '/models/kitchenware/kitchenware.keras', backend: 'cpu' })).info.classes;
    return results;
  });
  const { cpu, webgpu, cut, keras } = result;
  assert.deepEqual([cpu.text, cpu.roi, cpu.after, cut, keras], ['decode', 'bad-argument', 'cup', 'bad-weights', 6]);
  same(cpu, webgpu, 2e-2);
  await page.close();
});
