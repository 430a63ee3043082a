// Loading in a browser from a faulty server: what loads is right, what does not gets a sentence, and only verified files are cached.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import { Demo, launch } from './browser.mjs';
import { corrupt, file, hostile } from './hostile.mjs';

const hash = (bytes, encoding) => createHash('sha256').update(bytes).digest(encoding);
const hex = hash(file, 'hex');
const sri = `sha256-${hash(file, 'base64')}`;

let server, url, requests, browser, page, complaints;

before(async () => {
  ({ server, url, requests } = await hostile());
  browser = await launch('--js-flags=--expose-gc');
  page = await browser.newPage();
  ({ complaints } = new Demo(page, url));
  await page.goto(`${url}empty`);
  await page.evaluate(async () => {
    const { Xception, XceptionError, clearCache, listCached } = await import('/pkg/dist/index.js');
    const photo = await (await fetch('/models/kitchenware/photos/0009.jpg')).blob();
    Object.assign(globalThis, { Xception, clearCache, listCached });
    /** The outcome of a load: its last progress and an answer, or its error; and the cached files. */
    globalThis.outcome = async (options, classify) => {
      const result = {};
      try {
        const onProgress = (progress) => (result.last = progress);
        const model = await Xception.load({ backend: 'cpu', worker: false, onProgress, warmup: Boolean(classify), ...options });
        result.label = classify && (await model.classify(photo)).predictions[0].label;
        await model.dispose();
      } catch (error) {
        result.code = error instanceof XceptionError ? error.code : `not ours: ${error}`;
        result.message = error.message;
      }
      result.cached = (await listCached()).map(({ url }) => new URL(url).pathname);
      return result;
    };
    /** Whether the first piece comes from the cache. */
    globalThis.fromCache = (options) =>
      new Promise((resolve) => {
        const stop = new AbortController();
        const onProgress = (progress) => {
          resolve(progress.fromCache);
          stop.abort();
        };
        void outcome({ signal: stop.signal, onProgress, ...options });
      });
  });
});

after(async () => {
  await browser?.close();
  server?.close();
});

afterEach(async () => {
  await page.evaluate(() => clearCache());
  assert.deepEqual(complaints.splice(0), []);
});

const at = (name) => `/hostile/${name}`;
const load = (options, classify) => page.evaluate(([options, classify]) => outcome(options, classify), [options, classify]);
const asked = (name) => requests.filter(({ path }) => path === at(name)).map(({ range }) => range && Number(range.slice(6, -1)));

/** Loads what is refused, and is not cached. */
async function refused(name, code, sentence, options) {
  const result = await load({ weights: at(name), ...options });
  assert.equal(result.code, code, `${name}: ${result.message}`);
  assert.match(result.message, sentence);
  assert.deepEqual(result.cached, [], name);
}

test('a download that breaks off three times goes on where it was', async () => {
  const { last, label, code, message, cached } = await load({ weights: at('cut3'), integrity: hex }, true);
  assert.equal(code, undefined, message);
  assert.equal(label, 'cup');
  assert.deepEqual(last, { phase: 'weights', loaded: file.length, total: file.length, fromCache: false });
  assert.deepEqual(cached, [at('cut3')]);
  // How much of the received data a browser delivers after a break is up to it.
  const [first, ...offsets] = asked('cut3');
  assert.deepEqual([first, offsets.length], [undefined, 3]);
  assert.ok(offsets[0] <= 1000 && offsets[0] < offsets[1] && offsets[1] < offsets[2], `${offsets}`);
});

test('a fourth break is told with how far the download came; other sites are asked without a preflight', async () => {
  const elsewhere = `${url.replace('localhost', '127.0.0.1')}hostile/cut4?elsewhere`;
  const broken = (bytes, total = file.length) =>
    new RegExp(`: the download broke off after ${bytes} of ${total} bytes, and three further attempts failed: try again$`);
  await Promise.all([
    refused('cut4', 'fetch', broken(2500)),
    refused('', 'fetch', broken(2500), { weights: elsewhere }),
    refused('worse-resumes', 'fetch', broken(1000)),
    refused('gone-after', 'fetch', broken(1000)),
    refused('long', 'fetch', broken(2000, 3000)),
  ]);
  assert.deepEqual(asked('cut4'), [undefined, 1000, 1500, 2000]);
  assert.deepEqual(asked('gone-after'), [undefined, 1000, 1000, 1000]);
  assert.deepEqual(asked('worse-resumes'), [undefined, 1000, 1000, 1000]);
  const methods = requests.filter(({ path }) => path.endsWith('?elsewhere')).map(({ method }) => method);
  assert.deepEqual(methods, ['GET', 'GET', 'GET', 'GET']);
});

test('a server without ranges sends the file again; one that fails in between is asked again', async () => {
  const loads = ['no-ranges', 'bad-resumes'].map((name, i) => load({ weights: at(name), integrity: [hex, sri][i] }));
  for (const { code, message, last } of await Promise.all(loads)) {
    assert.equal(code, undefined, message);
    assert.equal(last.loaded, file.length);
  }
  assert.equal(asked('no-ranges').length, 3);
  assert.deepEqual(asked('bad-resumes'), [undefined, 1000, 1000, 1000]);
});

test('a file that changes on the server meanwhile is not pieced together', async () => {
  for (const name of ['new-tag', 'new-date', 'new-length', 'new-whole']) {
    await refused(name, 'fetch', /changed on the server while it was fetched/);
    assert.deepEqual(asked(name), [undefined, 1000]);
  }
});

test('web pages, Git LFS pointers and the start of a file are called by their name', async () => {
  for (const name of ['html', 'html-bytes']) await refused(name, 'fetch', /hostile\/html.*answered with a web page/);
  await refused('short', 'bad-weights', /cut short: 1000 of the header's \d+ bytes/);
  await refused('lfs', 'fetch', /hostile\/lfs is a Git LFS pointer/);
  const response = await page.evaluate(async () => outcome({ weights: await fetch('/hostile/html') }));
  assert.match(response.message, /answered with a web page/);
});

test('integrity holds for every source, and refuses what is no hash before anything is fetched', async () => {
  // Weights are uploaded while the file arrives, but a damaged file gives no model.
  const escaped = (text) => text.replace(/[+/]/g, '\\$&');
  const sentence = new RegExp(`hash is sha256-${escaped(hash(corrupt, 'base64'))}, not ${escaped(sri)}$`);
  await refused('corrupt', 'integrity', sentence, { integrity: sri });
  for (const integrity of ['', 'sha256-abc', `sha384-${'A'.repeat(64)}`, hex.slice(1), `${hex}\n`, 7, null]) {
    await refused('unasked', 'bad-argument', /integrity must be/, { integrity });
  }
  assert.deepEqual(asked('unasked'), []);
  const sources = await page.evaluate(async (integrity) => {
    const blob = (await (await fetch('/hostile/good')).blob()).slice(0, 1000);
    const sources = [blob, await blob.arrayBuffer(), new DataView(await blob.arrayBuffer()), new Response(blob)];
    return Promise.all(sources.map((weights) => outcome({ weights, integrity })));
  }, hex);
  const start = hash(file.subarray(0, 1000), 'hex');
  for (const { code, message } of sources) {
    assert.equal(code, 'integrity', message);
    assert.match(message, new RegExp(`${start}, not ${hex}$`));
  }
  await refused('keras', 'integrity', /not the expected ones/, { integrity: hex });
});

test('a file is fetched once, and again only where that is asked for', async () => {
  const weights = at('good');
  const first = await load({ weights });
  assert.deepEqual([first.code, first.last.fromCache], [undefined, false]);
  const [entry] = await page.evaluate(() => listCached());
  assert.deepEqual([entry.url, entry.bytes], [`${url}hostile/good`, file.length]);
  assert.ok(Math.abs(Date.now() - entry.date) < 60_000, `${entry.date}`);
  const { length } = requests;
  const second = await load({ weights: `${weights}#fragment`, integrity: hex }, true);
  assert.deepEqual(second.last, { phase: 'weights', loaded: file.length, total: file.length, fromCache: true });
  assert.deepEqual([second.label, requests.length], ['cup', length]);
  // A wrong option is not reported as a damaged file.
  const wrong = await load({ weights, labels: ['one', 'two'] });
  assert.deepEqual([wrong.code, wrong.cached, requests.length], ['bad-argument', [at('good')], length]);
  const others = await page.evaluate((weights) => {
    const requests = ['default', 'no-store', 'reload', 'no-cache'].map((cache) => new Request(weights, { cache }));
    const options = [{ weights, cache: false }, { weights: `${weights}?other` }, ...requests.map((weights) => ({ weights }))];
    return Promise.all(options.map(fromCache));
  }, weights);
  assert.deepEqual(others, [false, false, true, false, false, false]);
  assert.equal(await page.evaluate(() => clearCache('/hostile/none')), false);
  assert.equal(await page.evaluate(() => clearCache('/hostile/good#fragment')), true);
  assert.deepEqual(await page.evaluate(async () => [await listCached(), await clearCache()]), [[], false]);
  const unwanted = await load({ weights: at('private') });
  assert.deepEqual([unwanted.code, unwanted.cached], [undefined, []], 'no-store is honoured');
});

test('a cached file that is not the wanted one is fetched again', async () => {
  const weights = at('good?again');
  const plant = (source, end) =>
    page.evaluate(
      async ([weights, source, end]) => {
        const body = (await (await fetch(source)).blob()).slice(0, end);
        await (await caches.open('xception-webgpu')).put(weights, new Response(body));
      },
      [weights, at(source), end],
    );
  await plant('corrupt');
  const replaced = await load({ weights, integrity: hex });
  assert.deepEqual([replaced.code, replaced.last.fromCache, replaced.cached], [undefined, false, [at('good')]]);
  // Its hash is known now: the cached file is not read for a different one.
  assert.equal(await page.evaluate((weights) => fromCache({ weights, integrity: '0'.repeat(64) }), weights), false);
  assert.equal(await page.evaluate((weights) => fromCache({ weights }), weights), true);
  // A truncated entry.
  await plant('good', 1000);
  const seen = await page.evaluate(async (weights) => {
    const stop = new AbortController();
    const seen = [];
    const onProgress = ({ fromCache }) => seen.push(fromCache) && !fromCache && stop.abort();
    await outcome({ weights, signal: stop.signal, onProgress });
    return seen;
  }, weights);
  assert.deepEqual(seen, [true, false]);
});

test('Keras files are hashed, cached and converted as they come', async () => {
  const keras = readFileSync('models/kitchenware/kitchenware.keras');
  const labels = ['cup', 'fork', 'glass', 'knife', 'plate', 'spoon'];
  const options = { weights: at('keras'), integrity: hash(keras, 'hex'), labels };
  for (const fromCache of [false, true]) {
    const { code, message, label, last } = await load(options, fromCache);
    assert.equal(code, undefined, message);
    assert.equal(label, fromCache ? 'cup' : false);
    assert.deepEqual(last, { phase: 'convert', loaded: keras.length, total: keras.length, fromCache });
  }
});

test('without room or permission to cache, weights load all the same', async () => {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: new URL(url).origin, quotaSize: 10e6 });
  const full = await load({ weights: at('good') });
  assert.deepEqual([full.code, full.last.fromCache, full.cached], [undefined, false, []]);
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: new URL(url).origin });
  const without = await page.evaluate(async () => {
    const description = Object.getOwnPropertyDescriptor(globalThis, 'caches');
    const forbidden = () => {
      throw new DOMException('no', 'SecurityError');
    };
    Object.defineProperty(globalThis, 'caches', { get: forbidden, configurable: true });
    const result = await outcome({ weights: '/hostile/good' });
    Object.defineProperty(globalThis, 'caches', { get: () => undefined, configurable: true });
    const none = [await listCached(), await clearCache()];
    Object.defineProperty(globalThis, 'caches', description);
    return { ...result, none };
  });
  assert.deepEqual([without.code, without.cached, without.none], [undefined, [], [[], false]], without.message);
});

test('an abort takes effect in every phase, and nothing is cached', async () => {
  const result = await page.evaluate(async () => {
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    /** The code, how many files are cached, and whether the answer came at once. */
    const aborted = async (weights, when) => {
      const aborter = new AbortController();
      let start;
      const abort = () => {
        start ??= performance.now();
        aborter.abort();
      };
      const { code, cached } = await outcome({ weights, signal: aborter.signal, ...when(abort) });
      return [code, cached.length, performance.now() - start < 400];
    };
    const after = (ms) => (abort) => void wait(ms).then(abort);
    const once = (test) => (abort) => ({ onProgress: (progress) => test(progress) && abort() });
    const late = (abort) => ({ onProgress: ({ loaded }) => loaded === 30e6 && wait(100).then(abort) });
    const foreign = new AbortController();
    const request = outcome({ weights: new Request('/hostile/slow', { signal: foreign.signal }) });
    const response = fetch('/hostile/slow').then((weights) => aborted(weights, after(200)));
    wait(200).then(() => foreign.abort());
    return {
      'before all': await aborted('/hostile/good', (abort) => abort()),
      'at the first piece': await aborted(
        '/hostile/good',
        once(() => true),
      ),
      'as a server is silent': await aborted('/hostile/slow', after(200)),
      'silent later': await aborted('/hostile/slow-later', late),
      'between two attempts': await aborted('/hostile/gone-after?abort', after(800)),
      'before the conversion': await aborted(
        '/hostile/keras',
        once(({ phase }) => phase === 'convert'),
      ),
      'at the last piece': await aborted(
        '/hostile/good',
        once(({ loaded, total }) => loaded === total),
      ),
      'by the request': [(await request).code, (await request).cached.length, true],
      'of a response': await response,
    };
  });
  for (const [phase, outcome] of Object.entries(result)) assert.deepEqual(outcome, ['aborted', 0, true], phase);
  const before = requests.length;
  await page.waitForTimeout(2500);
  assert.equal(requests.length, before, 'no attempt follows');
  assert.deepEqual(
    requests.filter(({ closed }) => !closed),
    [],
  );
  assert.deepEqual(await page.evaluate(() => listCached()), []);
});

test('the page never holds the file twice', { skip: !existsSync('/proc/self/clear_refs') }, async (context) => {
  const { processInfo } = await (await browser.newBrowserCDPSession()).send('SystemInfo.getProcessInfo');
  const renderers = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  const status = (id, key) => Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${id}/status`))[1]) * 1024;
  // Chromium buffers pieces that arrive, unread, while the pipelines are made.
  for (const [source, limit] of [
    ['the server', file.length + 16e6],
    ['the cache', 48e6],
  ]) {
    await page.evaluate(() => gc());
    // The largest growth is the page's: the other processes are idle.
    const before = renderers.map((id) => {
      writeFileSync(`/proc/${id}/clear_refs`, '5');
      return status(id, 'VmRSS');
    });
    const { code, cached } = await page.evaluate(() => outcome({ weights: '/hostile/good', backend: 'webgpu', onProgress: () => gc() }));
    assert.deepEqual([code, cached], [undefined, [at('good')]]);
    const growth = Math.max(...renderers.map((id, i) => status(id, 'VmHWM') - before[i]));
    context.diagnostic(`${file.length} bytes from ${source}: the page held ${growth} bytes more at most`);
    assert.ok(growth < limit, `${growth} bytes`);
  }
});
