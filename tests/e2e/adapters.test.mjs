// Adapters: detection of software adapters, and cached measurements.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

await serveAndLaunch();

test('the script and the compiled code mean the same by a software adapter, and by its name', async () => {
  const page = await packagePage(browser, url);
  const software = readFileSync('src/backend/gpu/software.txt', 'utf8').trim().split('\n');
  assert.ok(software.length >= 5);
  const cases = [
    ...software.map((name) => [{ description: `The ${name.toUpperCase()} (1.0)` }, false]),
    [{ description: 'Microsoft Basic Render Driver', vendor: 'microsoft', architecture: 'warp' }, false],
    [{ vendor: 'acme', architecture: 'rocket' }, true],
    [{ vendor: 'google', architecture: 'swiftshader' }, false],
    [{ description: 'Acme Rocket 3', vendor: 'acme', architecture: 'swiftshader' }, true],
  ];
  const found = await page.evaluate(async (cases) => {
    const found = [];
    for (const [info] of cases) {
      const all = { description: '', vendor: '', architecture: '', device: '', isFallbackAdapter: false, ...info };
      for (const [type, property] of [
        [GPUAdapter, 'info'],
        [GPUDevice, 'adapterInfo'],
      ])
        Object.defineProperty(type.prototype, property, { get: () => all, configurable: true });
      const { backend, adapter } = await Xception.isSupported();
      if (found.push([backend, adapter]) <= cases.length - 2) continue;
      // Loading takes long there: both read the same file of names, so that the last two tell what the compiled code does.
      const model = await Xception.load({ weights, backend: 'webgpu', tune: 'off', inputSize: 71, warmup: false });
      found.at(-1).push(model.info.dtype, model.info.adapter);
      await model.dispose();
    }
    return found;
  }, cases);
  const name = ({ description, vendor, architecture }) => description ?? `${vendor} ${architecture}`;
  for (const [i, [info, isHardware]] of cases.entries()) {
    const [backend, dtype] = isHardware ? ['webgpu', 'f16'] : ['cpu', 'f32'];
    const [asked, compiled] = [
      [backend, name(info)],
      [dtype, name(info)],
    ];
    assert.deepEqual(found[i], i < cases.length - 2 ? asked : [...asked, ...compiled]);
  }
  await page.close();
});

test('measurements of GPUs do not pile up, and go with the cached files', async () => {
  const page = await packagePage(browser, url);
  const result = await page.evaluate(async () => {
    const cache = await caches.open('xception-webgpu-tuning');
    for (let i = 0; i < 40; i++) await cache.put(`https://tuning.invalid/${i}`, new Response('old'));
    await (await Xception.load({ weights, backend: 'webgpu', tune: 'again', inputSize: 71, warmup: false })).dispose();
    const keys = (await cache.keys()).map(({ url }) => new URL(url).pathname.slice(1));
    await clearCache();
    return { count: keys.length, oldest: keys[0], newest: keys.at(-1), caches: await caches.keys() };
  });
  assert.deepEqual([result.count, result.oldest, result.caches], [32, '9', []]);
  assert.match(result.newest, /swiftshader/i);
  await page.close();
});
