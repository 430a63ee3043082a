// Nothing leaves the device: the server's log of every call, and a proxy that whatever is for another host would come to. Workers, their threads
// and service workers are in both.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { Demo, launch } from './browser.mjs';
import { serveWithModel } from './models.mjs';

const WEIGHTS = 'models/kitchenware.safetensors';
const photo = (name) => `models/kitchenware/photos/${name}.jpg`;

let server, browser, url, proxy;
/** Paths asked of the server, and hosts asked of the proxy. */
const [log, others] = [[], []];
/** Without what Chromium asks for by itself: an account, its form filler, its updates, which it tries by http where https fails. */
const foreign = () => others.filter((host) => !/\.(google|googleapis)\.com:443$|^http:\/\/update\.googleapis\.com\/service\/update2\//.test(host));

before(async () => {
  ({ server, url } = await serveWithModel({}, false));
  const [, serveFile] = server.listeners('request');
  server.removeListener('request', serveFile);
  server.prependListener('request', ({ url }) => log.push(url.slice(1)));
  server.on('request', (request, response) => {
    // Memory is shared with threads on isolated pages alone.
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    if (request.url === '/empty') response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><link rel="icon" href="data:,">');
    else serveFile(request, response);
  });
  proxy = createServer(({ url }, response) => {
    others.push(url);
    response.writeHead(502).end();
  });
  proxy.on('connect', ({ url }, socket) => {
    others.push(url);
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  browser = await launch(`--proxy-server=127.0.0.1:${proxy.address().port}`);
});

after(async () => {
  await browser?.close();
  server?.close();
  proxy?.close();
});

/** The paths of requests since the last time, once each; names of the package's scripts without their hashes. */
function asked() {
  const names = log.splice(0).map((path) => path.replace(/-[A-Z0-9]{8}(?=\.js$)/, '').replace('pkg/dist/', ''));
  return [...new Set(names)].sort();
}

test('the package asks for its own files, the weights and the photos that it is given, each when it is needed', async () => {
  const page = await browser.newPage();
  await page.goto(`${url}empty`);
  assert.deepEqual(asked(), ['empty']);
  /** Runs a script of the page, with what it keeps in `globalThis`; what was asked meanwhile. */
  const during = async (script, argument) => {
    const value = await page.evaluate(script, argument);
    return [value, asked()];
  };
  const nothing = [undefined, []];
  const [, first] = await during(async () => {
    Object.assign(globalThis, await import('/pkg/dist/index.js'));
  });
  assert.deepEqual(first, ['chunk.js', 'index.js']);
  assert.deepEqual(await during(() => void Xception.isSupported()), nothing);

  const load = async (options) => {
    globalThis.model = await Xception.load({ weights: '/models/kitchenware.safetensors', ...options });
    await listCached();
    // What is fetched beside a model on the GPU has come, too.
    const isThere = () => performance.getEntriesByType('resource').some(({ name }) => /\/lost-\w+\.js$/.test(name));
    while (options.backend === 'webgpu' && !isThere()) await new Promise((resolve) => setTimeout(resolve, 20));
    return model.info.adapter;
  };
  const [adapter, loaded] = await during(load, { backend: 'cpu', threads: 2 });
  assert.equal(adapter, 'CPU: relaxed SIMD, 2 threads');
  const scripts = ['chunk.js', 'cpu.js', 'cpu_threads.js', 'cpu_threads_relaxed_bg.wasm', 'remote.js', 'thread.js', 'worker.js'];
  assert.deepEqual(loaded, [...scripts, WEIGHTS].sort());

  const [label, cup] = await during(async (cup) => (await model.classify(cup)).predictions[0].label, `/${photo('0009')}`);
  assert.deepEqual([label, cup], ['cup', [photo('0009')]]);
  await page.evaluate(
    async (cup) => {
      globalThis.bytes = await (await fetch(cup)).arrayBuffer();
    },
    `/${photo('0009')}`,
  );
  asked();
  const calls = [
    [async () => void (await model.classify(bytes)), []],
    [async () => void (await model.classifyBatch([bytes, bytes, bytes], { batchSize: 2 })), []],
    [async () => void (await model.embed(bytes)), []],
    [
      async () => {
        const examples = ['no', 'yes'].flatMap((label, bit) => [0, 1].map((other) => ({ label, features: [bit, other] })));
        await model.learn(examples);
      },
      ['learn.js', 'learn_bg.wasm'],
    ],
    [async () => void (await model.explain(bytes)), ['heat.js', 'interpret.js']],
    [async () => void (await model.activations(bytes, 'block1_conv1')), []],
    [
      async () => {
        const canvas = document.createElement('canvas');
        const context = canvas.getContext('2d');
        const paint = setInterval(() => context.fillRect(0, 0, 9, 9), 20);
        const [track] = canvas.captureStream().getVideoTracks();
        for await (const _ of model.video(track)) break;
        clearInterval(paint);
      },
      ['video.js'],
    ],
    [async () => model.dispose(), []],
  ];
  for (const [call, expected] of calls) assert.deepEqual(await during(call), [undefined, expected], String(call));

  const [, again] = await during(load, { backend: 'cpu', threads: 2 });
  assert.deepEqual(
    again.filter((path) => !scripts.includes(path)),
    [],
    'weights come from the cache',
  );
  // The profile itself would take half a minute here.
  const [, gpu] = await during(load, { backend: 'webgpu', warmup: false, profile: true });
  assert.deepEqual(
    gpu.filter((path) => !scripts.includes(path)),
    ['gpu.js', 'lost.js', 'profile.js', 'xception.js', 'xception_bg.wasm'],
  );
  const [, converted] = await during(load, { weights: '/models/kitchenware/kitchenware.keras', backend: 'cpu', worker: false });
  assert.deepEqual(
    converted.filter((path) => !scripts.includes(path)),
    ['convert.js', 'cpu_relaxed_bg.wasm', 'formats.js', 'formats_bg.wasm', 'models/kitchenware/kitchenware.keras'],
  );
  await page.close();
  assert.deepEqual(foreign(), []);
});

test('the page asks for itself and its model once, and for nothing with a photo', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const demo = new Demo(page, `${url}?backend=cpu`);
  asked();
  await demo.open();
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(() => document.getElementById('models').textContent.includes('cached'));
  const site = readdirSync('site', { recursive: true, withFileTypes: true }).filter((file) => file.isFile() && file.name !== 'index.html');
  const files = site.map(({ parentPath, name }) => `${parentPath}/${name}`.replace('site/', ''));
  // Modules that few pages need are fetched on demand.
  const unused = files.filter((name) => /\/(formats|learn|cpu_threads_bg)/.test(name));
  const expected = files.filter((name) => !unused.includes(name)).concat('', '?backend=cpu', WEIGHTS);
  assert.deepEqual([...new Set(log.splice(0))].sort(), expected.sort());

  for (const name of ['0009', '0412']) {
    await page.setInputFiles('#file', photo(name));
    await page.waitForFunction((name) => document.getElementById('status').textContent.startsWith(`${name}.jpg: `), name);
  }
  await page.setInputFiles('#file', ['0009', '0412', '0207'].map(photo));
  await page.waitForFunction(() => document.querySelectorAll('#gallery .label, #gallery button').length >= 3);
  await page.click('#predictions button');
  await page.waitForFunction(() => !document.getElementById('heat').hidden);
  // The browser itself looks for a new service worker, soon after the page has begun.
  assert.deepEqual(
    asked().filter((path) => path !== 'sw.js'),
    [],
  );
  await page.reload();
  await demo.settled();
  const again = new Set(log.splice(0));
  assert.deepEqual(
    [...again].filter((path) => !expected.includes(path)),
    [],
  );
  assert.deepEqual(
    ['?backend=cpu', 'models/index.json', 'index.html', WEIGHTS].map((path) => again.has(path)),
    [true, true, false, false],
  );
  assert.deepEqual(demo.complaints, []);
  await context.close();
  assert.deepEqual(foreign(), []);
});
