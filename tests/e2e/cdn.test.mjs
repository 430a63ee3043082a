// The package from another origin, as from a CDN: another server on localhost, which lets every site read its files.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { serve } from '../../scripts/serve.mjs';
import { launch } from './browser.mjs';

const FOLDER = 'test-results/cdn';
let cdn, own, browser;
/** The headers of our own pages. */
let headers = {};

before(async () => {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(`${FOLDER}/index.html`, '<!doctype html><script type="module" src="main.js"></script>');
  [cdn, own] = [await serve(0), await serve(0, { '/cdn': FOLDER })];
  cdn.server.prependListener('request', (_, response) => {
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
  });
  own.server.prependListener('request', (_, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  for (const { server } of [cdn, own]) server?.close();
});

/** What a page of our own origin answers, and how many workers it has: its script is a plain module that imports the package from the other. */
async function answer(options, sent = {}) {
  headers = sent;
  const script = `
    import { Xception } from '${cdn.url}pkg/dist/index.js';
    try {
      const model = await Xception.load({ weights: '/models/kitchenware.safetensors', ...${JSON.stringify(options)} });
      const [{ label }] = (await model.classify('/models/kitchenware/photos/0009.jpg')).predictions;
      document.title = label + ', ' + model.info.adapter;
    } catch ({ code, message }) {
      document.title = code + ': ' + message;
    }`;
  writeFileSync(`${FOLDER}/main.js`, script);
  const page = await browser.newPage();
  const complaints = [];
  page.on('console', (message) => complaints.push(message.text()));
  await page.goto(`${own.url}cdn/index.html`);
  await page
    .waitForFunction(() => document.title)
    .catch((cause) => {
      throw new Error(`no answer: ${complaints}`, { cause });
    });
  const [title, workers] = [await page.title(), page.workers().length];
  await page.close();
  return [title, workers];
}

const isolated = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

test('from another origin the CPU computes in a worker, and with threads where the page is isolated', async () => {
  const [title, workers] = await answer({ backend: 'cpu' });
  assert.match(title, /^cup, CPU: .*1 thread\)?$/);
  assert.equal(workers, 1);
  const [isolatedTitle] = await answer({ backend: 'cpu', threads: 2 }, isolated);
  assert.match(isolatedTitle, /^cup, CPU: .*2 threads\)?$/);
});

test('the GPU computes in a worker if that is asked for, under Trusted Types too', async () => {
  const { origin } = new URL(cdn.url);
  const policy = `script-src 'self' ${origin} 'wasm-unsafe-eval'; worker-src blob: ${origin}; require-trusted-types-for 'script'; trusted-types xception-webgpu`;
  const [title, workers] = await answer({ backend: 'webgpu', worker: true, warmup: false }, { 'Content-Security-Policy': policy });
  assert.match(title, /^cup, /);
  assert.equal(workers, 1);
});

test("a policy without blob: leaves the CPU on the page's thread", async () => {
  const policy = `script-src 'self' ${new URL(cdn.url).origin} 'wasm-unsafe-eval'; worker-src 'self'`;
  const [title, workers] = await answer({ backend: 'cpu' }, { 'Content-Security-Policy': policy });
  assert.match(title, /^cup, CPU/);
  assert.equal(workers, 0);
});
