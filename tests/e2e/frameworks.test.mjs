// The package in frameworks, built from the packed tarball by Vite: React in StrictMode, Vue, Svelte; and the custom element without any.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { serve } from '../../scripts/serve.mjs';
import { launch } from './browser.mjs';
import { pack, tool, tools } from './packed.mjs';

const app = resolve('test-results/frameworks');
const photo = (name) => `models/kitchenware/photos/${name}.jpg`;
let packed, server, browser, url;

before(async () => {
  ({ packed } = pack(app));
  // Beside the package, as npm installs them.
  for (const name of readdirSync(tools).filter((name) => name !== 'xception-webgpu' && !name.startsWith('.'))) {
    symlinkSync(join(tools, name), join(app, 'node_modules', name));
  }
  cpSync('examples', join(app, 'examples'), { recursive: true });
  ({ server, url } = await serve(0, { '/frameworks': 'test-results/frameworks' }));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

/** Builds an example by Vite, and opens it; counts what it asks for. */
async function open(name, plugins = []) {
  const { build } = await tool('vite/dist/node/index.js');
  const root = join(app, 'examples', name);
  const outDir = join(app, name);
  await build({
    root,
    base: './',
    logLevel: 'warn',
    configFile: false,
    plugins,
    worker: { format: 'es' },
    build: { outDir, emptyOutDir: true, target: 'esnext' },
  });
  return openPage(`frameworks/${name}/index.html`);
}

async function openPage(path) {
  const page = await browser.newPage({ serviceWorkers: 'block' });
  const seen = { weights: 0, complaints: [] };
  page.on('request', (request) => {
    if (request.url().endsWith('kitchenware.safetensors')) seen.weights++;
  });
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  page.on('console', (message) => {
    const isExpected = /favicon|Failed to load resource/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !isExpected) seen.complaints.push(message.text());
  });
  await page.goto(`${url}${path}`);
  const says = (pattern) =>
    page
      .waitForFunction((source) => new RegExp(source).test(document.getElementById('answer')?.textContent), pattern.source)
      .catch(async (cause) => {
        throw new Error(`${path} never said ${pattern}: ${await page.textContent('body')}; ${seen.complaints}`, { cause });
      });
  return { page, seen, says };
}

test('React: a model is loaded once in StrictMode, shared, and disposed of when nobody uses it', async () => {
  const { page, seen, says } = await open('react');
  await says(/^Choose a photo\.$/);
  assert.equal(await page.textContent('#facts'), '6 classes');
  await page.setInputFiles('input', photo('0009'));
  await says(/^cup, /);
  // The second photo's answer comes, not the first's.
  await page.setInputFiles('input', photo('0013'));
  await page.setInputFiles('input', photo('0412'));
  await says(/^fork, /);
  assert.equal(seen.weights, 1);
  // Gone for longer than a model stays; it comes back from the cache.
  await page.click('button');
  await page.waitForFunction(() => !document.getElementById('answer'));
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.equal(page.workers().length, 0, 'the model is disposed of, with its worker');
  await page.click('button');
  await says(/^Choose a photo\.$/);
  assert.deepEqual(seen.complaints, []);
  await page.close();
});

test('React: what fails is an error of the hook, and nothing happens on a server', async () => {
  const script = `
    import { createElement as h } from 'react';
    import { renderToString } from 'react-dom/server';
    import { useClassification, useXception } from 'xception-webgpu/react';
    const App = () => {
      const { model, error, progress } = useXception({ weights: 'nowhere' });
      return h('p', null, JSON.stringify([model, error, progress, useClassification(model, undefined)]));
    };
    console.log(renderToString(h(App)));
    await import('xception-webgpu/element');`;
  const { stdout, stderr } = spawnSync('node', ['--input-type=module', '-e', script], { cwd: app, encoding: 'utf8' });
  assert.deepEqual([stdout, stderr], ['<p>[null,null,null,{&quot;isPending&quot;:false}]</p>\n', '']);
  const page = await browser.newPage();
  await page.route('**/models/kitchenware.safetensors', (route) => route.fulfill({ status: 404 }));
  const thrown = page.waitForEvent('pageerror');
  await page.goto(`${url}frameworks/react/index.html`);
  // The suspended component throws, and React shows nothing of the tree, as there is no boundary.
  const error = await thrown;
  assert.match(String(error), /answered 404/);
  await page.close();
});

for (const name of ['vue', 'svelte']) {
  test(name, async () => {
    const plugins = name === 'svelte' ? (await tool('@sveltejs/vite-plugin-svelte/src/index.js')).svelte({ configFile: false }) : [];
    const { page, seen, says } = await open(name, plugins);
    await says(/^Choose a photo\.$/);
    await page.setInputFiles('input', photo('0009'));
    await says(/^cup, /);
    assert.deepEqual([seen.weights, seen.complaints], [1, []]);
    await page.close();
  });
}

test('the custom element takes a photo, shows its classes, and says what is wrong', async () => {
  const { page, seen } = await openPage('empty');
  await page.route('**/element.html', (route) =>
    route.fulfill({
      contentType: 'text/html',
      body: readFileSync('examples/element.html', 'utf8').replaceAll('../pkg', '/pkg').replaceAll('../models', '/models'),
    }),
  );
  seen.complaints.length = 0;
  await page.goto(`${url}element.html`);
  const status = page.locator('xception-classifier [part=status]');
  const classes = page.locator('xception-classifier [part=class]');
  await page.evaluate(() => {
    globalThis.events = [];
    const element = document.querySelector('xception-classifier');
    for (const type of ['loading', 'classified', 'failed'])
      element.addEventListener(type, ({ detail }) => events.push([type, detail.code ?? detail.phase ?? detail.predictions.length]));
  });
  await page.locator('xception-classifier input').setInputFiles(photo('0009'));
  await classes.first().waitFor();
  assert.deepEqual([await classes.count(), (await classes.first().textContent()).startsWith('cup')], [3, true]);
  await page.locator('xception-classifier input').setInputFiles({ name: 'text.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('text') });
  await page.waitForFunction(() => events.some(([type]) => type === 'failed'));
  assert.match(await status.textContent(), /not a readable image/);
  assert.equal(await classes.count(), 0);
  await page.evaluate(() => document.querySelector('xception-classifier').setAttribute('src', '/models/kitchenware/photos/0412.jpg'));
  await page.waitForFunction(() => events.filter(([type]) => type === 'classified').length === 2);
  assert.match(await classes.first().textContent(), /^fork/);
  // Other weights, which are none: the sentence, and then good ones again.
  await page.evaluate(() => document.querySelector('xception-classifier').setAttribute('weights', '/nowhere.safetensors'));
  await page.locator('xception-classifier input').setInputFiles(photo('0013'));
  await page.waitForFunction(() => events.filter(([type]) => type === 'failed').length === 2);
  assert.match(await status.textContent(), /answered 404/);
  await page.evaluate(() => document.querySelector('xception-classifier').setAttribute('weights', '/models/kitchenware.safetensors'));
  await page.locator('xception-classifier input').setInputFiles(photo('0013'));
  await page.waitForFunction(() => events.filter(([type]) => type === 'classified').length === 3);
  await page.evaluate(() => document.querySelector('xception-classifier').remove());
  const events = await page.evaluate(() => [...new Set(events.map(([type, what]) => `${type} ${what}`))]);
  assert.deepEqual(events, ['loading weights', 'classified 3', 'failed decode', 'failed fetch']);
  assert.deepEqual(seen.complaints, []);
  await page.close();
});

test('each is below 2 KB (brotli)', (context) => {
  for (const name of ['react', 'element']) {
    const bytes = brotliCompressSync(readFileSync(join(packed, `dist/${name}.js`))).length;
    context.diagnostic(`${name}: ${bytes} bytes brotli`);
    assert.ok(bytes < 2000, `${name}: ${bytes} bytes`);
  }
});
