// The demo page in a real browser: a photo dropped on it, five rows read from the DOM; and everything that can be
// wrong with a photo, with weights, or with the browser.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { serve } from '../../scripts/serve.mjs';
import { Demo, launch } from './browser.mjs';
import { BAD_PHOTOS, smallInput, withoutAdapter, withoutWebGPU } from './states.mjs';

const LABELS = {
  '0004': 'plate',
  '0009': 'cup',
  '0013': 'knife',
  '0020': 'cup',
  '0026': 'plate',
  '0207': 'spoon',
  '0299': 'cup',
  '0403': 'cup',
  '0412': 'fork',
};
const photo = (name) => `/models/kitchenware/photos/${name}.jpg`;
const weights = readFileSync('models/kitchenware.safetensors');

let server, browser, url, scratch;

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'xception-'));
  ({ server, url } = await serve(0, { '/scratch': scratch }));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
  rmSync(scratch, { recursive: true });
});

/** Runs `body` with a fresh page, and fails if the page threw anything. */
async function withDemo(body, query = '') {
  // A service worker would answer in place of the tests.
  const page = await browser.newPage({ serviceWorkers: 'block' });
  const demo = new Demo(page, url + query);
  try {
    // Tests of this file use the kitchenware model, even where npm start has fetched the ImageNet weights.
    const entry = { name: 'Kitchenware', url: 'models/kitchenware.safetensors', samples: [photo('0009').slice(1)] };
    await page.route('**/models/index.json', (route) => route.fulfill({ json: [entry] }));
    await body(demo, page);
    assert.deepEqual(demo.complaints, []);
  } finally {
    await page.close();
  }
}

for (const [backend, names, wanted, others] of [
  // A software adapter takes seconds for a photo.
  ['webgpu', ['0009', '0013', '0412'], /\/xception_bg\.wasm$/, /\/(cpu\w*|formats)_bg\.wasm$/],
  ['cpu', Object.keys(LABELS), /\/cpu(_relaxed)?_bg\.wasm$/, /\/(xception|formats)_bg\.wasm$/],
]) {
  test(`photos dropped on the page are classified with backend=${backend}, by one wasm module`, () =>
    withDemo(async (demo, page) => {
      await demo.open();
      for (const name of names) {
        const { rows, error } = await demo.classify(`${name}.jpg`, photo(name));
        assert.equal(error, '');
        assert.equal(rows.length, 5);
        assert.equal(rows[0].label, LABELS[name], name);
        assert.ok(
          rows.every((row, i) => row.percent >= 0 && (i === 0 || row.percent <= rows[i - 1].percent)),
          JSON.stringify(rows),
        );
      }
      assert.ok(demo.requests.some((path) => wanted.test(path)));
      assert.deepEqual(
        demo.requests.filter((path) => others.test(path)),
        [],
        'no other backend, and no reader of foreign files',
      );
      // The sample and the file picker lead to the same place.
      await page.click('#samples button');
      await page.waitForFunction(() => document.getElementById('status').textContent === '0009.jpg: cup');
      await page.setInputFiles('#file', `.${photo('0207')}`);
      await page.waitForFunction(() => document.getElementById('status').textContent === '0207.jpg: spoon');
    }, `?backend=${backend}`));
}

test('bad photos get a sentence, and the next photo is classified', () =>
  withDemo(async (demo) => {
    await demo.open();
    for (const [name, [bytes, sentence]] of Object.entries(BAD_PHOTOS)) {
      const { rows, error } = await demo.classify(name, bytes);
      assert.match(error, sentence);
      assert.ok(error.startsWith(`${name}: `), error);
      assert.deepEqual(rows, []);
    }
    const { rows, error } = await demo.classify('0009.jpg', photo('0009'));
    assert.equal(error, '');
    assert.equal(rows[0].label, 'cup');
  }));

test('bad weights get a sentence, the model that was there stays, and a Keras file replaces it', () =>
  withDemo(async (demo, page) => {
    await demo.open();
    const nan = Buffer.from(weights);
    nan.writeUInt32LE(0x7fc00000, nan.length - 4000);
    const renamed = Buffer.from(weights);
    renamed.write('block9_sepconvX', renamed.indexOf('block9_sepconv1'));
    const other = JSON.stringify({ weight: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } });
    const foreign = Buffer.from(`\0\0\0\0\0\0\0\0${other}\0\0\0\0`);
    foreign.writeBigUInt64LE(BigInt(other.length));
    const keras = readFileSync('models/kitchenware/kitchenware.keras');
    const bad = {
      'text.h5': [Buffer.from('<!doctype html><title>Not found</title>'), /not a weights file/],
      'empty.h5': [Buffer.alloc(0), /empty/],
      'cut.safetensors': [weights.subarray(0, weights.length / 2), /cut short: \d+ of its \d+ bytes/],
      'header.safetensors': [weights.subarray(0, 1000), /cut short/],
      'nan.safetensors': [nan, /not a finite number/],
      'foreign.safetensors': [foreign, /has no Xception whose layers/],
      'missing.safetensors': [renamed, /block9_sepconv1\.\S+ is missing/],
      'cut.keras': [keras.subarray(0, keras.length / 2), /damaged/],
    };
    for (const [name, [bytes, sentence]] of Object.entries(bad)) {
      writeFileSync(join(scratch, name), bytes);
      await demo.drop(name, `/scratch/${name}`);
      await page.waitForFunction((name) => document.getElementById('error').textContent.startsWith(`${name}: `), name);
      await demo.settled();
      assert.match(await demo.error(), sentence);
    }
    const knife = await demo.classify('0013.jpg', photo('0013'));
    assert.equal(knife.rows[0]?.label, 'knife', knife.error);

    await demo.drop('kitchenware.keras', '/models/kitchenware/kitchenware.keras');
    await page.waitForFunction(() => document.getElementById('model').textContent.startsWith('kitchenware.keras: 6 classes'));
    await demo.settled();
    assert.ok(
      demo.requests.some((path) => path.endsWith('/formats_bg.wasm')),
      'the second module comes now',
    );
    assert.equal(await demo.error(), '');
    assert.equal((await demo.classify('0013.jpg', photo('0013'))).rows[0].label, 'class 3');
  }));

test('without a model the page opens, says so, and takes weights by drop', () =>
  withDemo(async (demo, page) => {
    await page.route('**/models/index.json', (route) => route.fulfill({ status: 404 }));
    await demo.open();
    assert.match(await page.textContent('#status'), /No model: drop a weights file/);
    await page.route('**/models/index.json', (route) => route.fulfill({ contentType: 'text/html', body: '<h1>Not found</h1>' }));
    await demo.open();
    assert.match(await page.textContent('#status'), /No model: drop a weights file/);
    const entries = [null, { name: 'x' }, { url: 'x' }, { name: 'x', url: 7 }, { name: 'Hub', url: 'hf:me/kitchen@v1', bytes: 42e6 }];
    for (const [list, status] of [
      [{}, /No model/],
      [entries, /^Ready for a photo\. Hub \(42\.0 MB\) is fetched from huggingface\.co then\.$/],
    ]) {
      await page.route('**/models/index.json', (route) => route.fulfill({ json: list }));
      await demo.open();
      assert.match(await page.textContent('#status'), status);
      assert.match(await demo.error(), /^models\/index\.json: it must be an array of models, each with its name and url/);
    }
    await page.route('https://huggingface.co/**', (route) => route.fulfill({ status: 401, headers: { 'access-control-allow-origin': '*' } }));
    await demo.drop('0009.jpg', photo('0009'));
    await page.waitForFunction(() => /^Hub: hf:me\/kitchen: there is no such repository/.test(document.getElementById('error').textContent));
    await page.route('**/models/index.json', (route) => route.fulfill({ status: 404 }));
    await demo.open();
    const { error } = await demo.classify('0009.jpg', photo('0009'));
    assert.match(error, /no model yet/);
    await demo.drop('kitchenware.safetensors', '/models/kitchenware.safetensors');
    await page.waitForFunction(() => document.getElementById('model').textContent.includes('6 classes'));
    await demo.settled();
    assert.equal((await demo.classify('0009.jpg', photo('0009'))).rows[0].label, 'cup');
  }));

for (const [what, prepare, reason, advice] of [
  ['without WebGPU', withoutWebGPU, /there is no WebGPU here: use a current Chrome/, /Chrome and Edge have it since 113.*Browser support/],
  ['without an adapter', withoutAdapter, /WebGPU finds no GPU here: enable hardware acceleration/, /Settings, System.*WebGPU report/],
  ['with a software adapter', () => {}, /swiftshader is a software adapter/, /Settings, System.*WebGPU report/],
]) {
  test(`a browser ${what} answers on the CPU, and says why`, () =>
    withDemo(async (demo, page) => {
      await prepare(page);
      await demo.open();
      const { rows, error } = await demo.classify('0009.jpg', photo('0009'));
      assert.deepEqual([rows[0].label, error], ['cup', '']);
      await demo.view('model');
      const line = await page.textContent('#model');
      assert.match(line, /computed on the CPU \((relaxed )?SIMD, \d+ threads?\): /);
      assert.match(line, reason);
      assert.match(await page.textContent('#hint'), advice);
      assert.ok(!demo.requests.some((path) => path.endsWith('/xception_bg.wasm')));
    }));
}

for (const [what, prepare, words] of [
  ['WebGPU', withoutWebGPU, /^Kitchenware: this browser has no WebGPU: Chrome and Edge have it/],
  ['an adapter', withoutAdapter, /^Kitchenware: .*enable hardware acceleration.*Settings, System/],
]) {
  test(`the GPU chosen without ${what} is told what to do, and the model that was there answers`, async () => {
    await withDemo(async (demo, page) => {
      await prepare(page);
      await demo.open();
      await demo.view('model');
      await page.selectOption('#backend', 'webgpu');
      await page.waitForSelector('#error:not([hidden])');
      assert.match(await demo.error(), words);
      await demo.settled();
      assert.match(await page.textContent('#model'), /computed on the CPU/);
      assert.equal(await page.inputValue('#backend'), 'auto', 'what is in force');
      const { rows, error } = await demo.classify('0009.jpg', photo('0009'));
      assert.deepEqual([rows[0].label, error], ['cup', '']);
    });
    await withDemo(async (demo, page) => {
      await prepare(page);
      await demo.open();
      assert.match(await demo.error(), words);
      const { error } = await demo.classify('0009.jpg', photo('0009'));
      assert.equal(error, (await demo.error()).replace('Kitchenware', '0009.jpg'), 'the reason stays');
      await demo.view('model');
      await page.selectOption('#backend', 'cpu');
      await page.waitForFunction(() => document.getElementById('model').textContent.includes('computed on the CPU'));
      await demo.settled();
      assert.equal(await demo.error(), '');
      assert.ok(await page.isHidden('#hint'), 'the CPU was asked for');
      assert.equal((await demo.classify('0009.jpg', photo('0009'))).rows[0].label, 'cup');
    }, '?backend=webgpu');
  });
}

test('the model goes to the GPU and back, with one answer', () =>
  withDemo(async (demo, page) => {
    await smallInput(page);
    await demo.open();
    const on = async (backend, device) => {
      await demo.view('model');
      await page.selectOption('#backend', backend);
      await page.waitForFunction((device) => document.getElementById('model').textContent.includes(`computed on the ${device}`), device);
      await demo.settled();
      const { rows, error } = await demo.classify('0412.jpg', photo('0412'));
      assert.equal(error, '');
      return [rows[0].label, await page.isDisabled('#time'), (await page.textContent('#time + span')).includes('GPU')];
    };
    assert.deepEqual(await on('webgpu', 'GPU'), ['fork', false, false]);
    assert.deepEqual(await on('cpu', 'CPU'), ['fork', true, true]);
    assert.deepEqual(await on('webgpu', 'GPU'), ['fork', false, false]);
    assert.deepEqual(await on('auto', 'CPU'), ['fork', true, true]);
  }));
