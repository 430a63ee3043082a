// Other networks than the classic one, in a browser: a trained Inception V3 from the files of a TensorFlow.js model, and two networks on one page.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { decompress } from 'fzstd';
import { Demo, emptyPage, launch } from './browser.mjs';
import { serveWithModel } from './models.mjs';
import { extract, pattern } from './nsfwjs.mjs';

const FOLDER = 'test-results/nsfwjs';
const { output: EXPECTED } = JSON.parse(readFileSync('tests/data/nsfwjs.json', 'utf8'));

let server, browser, url, files;

before(async () => {
  rmSync(FOLDER, { recursive: true, force: true });
  files = extract(FOLDER);
  writeFileSync(`${FOLDER}/pattern.json`, JSON.stringify([...pattern(299)]));
  writeFileSync(`${FOLDER}/graph.json`, JSON.stringify({ format: 'graph-model', modelTopology: { node: [] }, weightsManifest: [] }));
  writeFileSync(`${FOLDER}/xception41p.pth`, decompress(readFileSync('tests/data/networks/xception41p.pth.zst')));
  ({ server, url } = await serveWithModel({ '/nsfwjs': FOLDER }));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

function close(values, expected = EXPECTED) {
  assert.equal(values.length, expected.length);
  for (const [at, value] of values.entries()) {
    assert.ok(Math.abs(value - expected[at]) <= 1e-4 + 1e-3 * Math.abs(expected[at]), `${values} instead of ${expected}`);
  }
}

test('an Inception V3 of TensorFlow.js answers as TensorFlow.js does, from URLs and from files', async (context) => {
  const page = await emptyPage(browser, url);
  const fetched = [];
  page.on('request', (request) => fetched.push(new URL(request.url()).pathname.replace('/nsfwjs/', '')));
  const results = await page.evaluate(async (files) => {
    const { listCached, Xception } = await import('/pkg/dist/index.js');
    const image = { data: Uint8ClampedArray.from(await (await fetch('/nsfwjs/pattern.json')).json()), width: 299, height: 299 };
    const answer = async (options) => {
      const model = await Xception.load({ backend: 'cpu', pixels: 'tf', ...options });
      const { network, output, classes } = model.info;
      const values = [...(await model.predict(image))];
      const channels = (await model.activations(image, 'mixed10')).shape;
      await model.dispose();
      return { network, output, classes, values, channels };
    };
    const refusal = (options) => Xception.load({ backend: 'cpu', ...options }).catch(({ code, message }) => [code, message]);
    const local = await Promise.all(files.map(async (name) => new File([await (await fetch(`/nsfwjs/${name}`)).blob()], name)));
    return {
      url: await answer({ weights: '/nsfwjs/model.json', worker: false }),
      cached: (await listCached()).map(({ url }) => url.split('/').at(-1)).sort(),
      again: await answer({ weights: '/nsfwjs/model.json', worker: true }),
      files: await answer({ weights: local.reverse(), worker: true }),
      refused: [
        await refusal({ weights: local.filter(({ name }) => !name.endsWith('shard3of6')) }),
        await refusal({ weights: new Blob([local.find(({ name }) => name === 'model.json')]) }),
        await refusal({ weights: '/nsfwjs/model.json', integrity: '0'.repeat(64) }),
        await refusal({ weights: '/nsfwjs/graph.json' }),
      ],
    };
  }, files);
  for (const { network, output, classes, values, channels } of [results.url, results.again, results.files]) {
    assert.deepEqual([network, output, classes, channels], ['inception_v3', 'softmax', 5, [8, 8, 2048]]);
    close(values);
  }
  assert.deepEqual(results.cached, [...files].sort(), 'all files are kept');
  for (const name of files) assert.equal(fetched.filter((path) => path === name).length, 2, `${name} is fetched once for the cache, once by the test`);
  const [missing, alone, integrity, graph] = results.refused;
  assert.deepEqual(missing[0], 'bad-argument');
  assert.match(missing[1], /group1-shard3of6 is missing/);
  assert.match(alone.join(), /bad-argument,group1-shard1of6 is missing/);
  assert.match(integrity.join(), /bad-argument.*several files/);
  assert.match(graph.join(), /unsupported-format.*graph model of TensorFlow.js/);
  context.diagnostic(`${results.url.values}`);
  await page.close();
});

test('only files beside model.json are fetched: others are refused before any is', async () => {
  const page = await emptyPage(browser, url);
  const { modelTopology } = JSON.parse(readFileSync(`${FOLDER}/model.json`, 'utf8'));
  const asked = [];
  await page.context().route('**/*', (route) => {
    const address = new URL(route.request().url());
    if (address.pathname.startsWith('/pkg/')) return route.continue();
    asked.push(address.href.replace(url, ''));
    const paths = ['group1-shard1of6', decodeURIComponent(address.search.slice(1))];
    return route.fulfill({ json: { modelTopology, weightsManifest: [{ paths, weights: [] }] } });
  });
  const hostile = [
    '../secret',
    '../../secret',
    '/secret',
    '//example.com/a',
    'https://example.com/a',
    'file:///etc/passwd',
    'data:,a',
    'a\\..\\b',
    '..',
    '',
    'a/b',
  ];
  const twice = 'group1-shard1of6';
  const refused = await page.evaluate(
    async (names) => {
      const { Xception } = await import('/pkg/dist/index.js');
      const refusal = (weights) => Xception.load({ weights, backend: 'cpu', worker: false }).catch(({ code, message }) => `${code}: ${message}`);
      const told = {};
      for (const name of names) {
        const query = encodeURIComponent(name);
        const file = new File([await (await fetch(`model.json?${query}`)).blob()], 'model.json');
        told[name] = [await refusal(`model.json?${query}`), await refusal([file, new File(['secret'], name)])];
      }
      return told;
    },
    [...hostile, twice],
  );
  for (const name of hostile) {
    const sentence = `bad-weights: the weights cannot be used: model.json names the file ${JSON.stringify(name)}, which is none beside it: put its files into its folder, and name them without a path`;
    assert.deepEqual(refused[name], [sentence, sentence]);
  }
  assert.match(refused[twice][0], /^bad-weights: the weights cannot be used: model.json names the file "group1-shard1of6" twice/);
  assert.deepEqual(
    asked,
    [...hostile, twice].flatMap((name) => Array(2).fill(`model.json?${encodeURIComponent(name)}`)),
    'once by the test and once by the package, and no file that it names',
  );
  await page.close();
});

test('the command line reads the same files', () => {
  const run = (...args) => execFileSync('cargo', ['run', '--release', '--quiet', '--', ...args], { encoding: 'utf8', stdio: 'pipe' });
  const told = run('convert', `${FOLDER}/model.json`, `${FOLDER}/nsfwjs.safetensors`, '--dtype', 'f16');
  assert.match(told, /5 classes, input 299×299/);
  assert.match(run('inspect', `${FOLDER}/nsfwjs.safetensors`), /network\s+inception_v3/);
  rmSync(`${FOLDER}/group1-shard6of6`);
  assert.throws(() => run('inspect', `${FOLDER}/model.json`), /group1-shard6of6/);
});

test('the page takes a model of several files, and another network after it', async () => {
  const page = await browser.newPage({ serviceWorkers: 'block' });
  const demo = new Demo(page, `${url}?backend=cpu`);
  await demo.open();
  files = extract(FOLDER);
  await demo.dropAll(files.map((name) => [name, `/nsfwjs/${name}`]));
  await page.waitForFunction(() => document.getElementById('model').textContent.includes('5 classes'));
  await demo.settled();
  const rows = (await demo.classify('photo.jpg', '/models/kitchenware/photos/0009.jpg')).rows;
  assert.equal(rows.length, 5);
  await demo.drop('xception41p.pth', '/nsfwjs/xception41p.pth');
  await page.waitForFunction(() => document.getElementById('status').textContent === 'Ready for a photo.');
  assert.equal((await demo.classify('photo.jpg', '/models/kitchenware/photos/0009.jpg')).rows.length, 5);
  // All that were loaded, the page's own model too, are compared.
  await demo.view('compare');
  // Published facts are there without a photo.
  await page.waitForFunction(() => document.querySelectorAll('#compared tr').length === 10);
  await page.click('#compare');
  await page.waitForFunction(() => document.getElementById('status').textContent === 'The networks were compared.', null, { timeout: 180_000 });
  const table = await page.$$eval('#compared tr', (rows) => rows.map((row) => [...row.children].map(({ textContent }) => textContent)));
  assert.equal(table.length, 10, 'every published network has a line');
  const timed = table.slice(1).filter(([, , , , ms]) => /^\d+ \(\d+ to \d+\)( at \d+×\d+)?$/.test(ms));
  assert.deepEqual(
    timed.map(([network]) => network),
    ['xception', 'xception41p', 'inception_v3'],
  );
  assert.deepEqual(table.find(([network]) => network === 'inception_v3').slice(1, 4), ['23.9 M', '5.71', '110']);
  assert.match(timed[2][7], /^model.json: class \d [\d.]+ %$/);
  assert.equal(await page.locator('#networks-plot circle').count(), 3);
  if (process.env.SCREENSHOTS) {
    for (const width of [390, 1280]) {
      await page.setViewportSize({ width, height: 900 });
      await page.locator('[data-view="compare"]').screenshot({ path: `${process.env.SCREENSHOTS}/networks-${width}.png` });
    }
  }
  assert.deepEqual(demo.complaints, []);
  await page.close();
});
