// Every state of the page with its words, at phone and desktop width, without findings of axe-core; and the page as a whole: size, keyboard,
// layout shifts, offline use.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { Demo, FAKE_CAMERA } from './browser.mjs';
import { serveWithModel } from './models.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';
import { says, states } from './states.mjs';

const axe = readFileSync('node_modules/axe-core/axe.min.js', 'utf8');
await serveAndLaunch(...FAKE_CAMERA);

/** The findings of axe-core, in both colour schemes. */
async function violations(page) {
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const results = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    found.push(...results.violations.map(({ id, nodes }) => `${colorScheme}: ${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(', ')}`));
  }
  return found;
}

for (const [name, enter] of Object.entries(states)) {
  test(name, async () => {
    const page = await browser.newPage({ serviceWorkers: 'block', bypassCSP: true, viewport: { width: 320, height: 700 } });
    const demo = new Demo(page, url);
    await page.addInitScript(axe);
    await enter(demo, page);
    assert.deepEqual(await violations(page), []);
    for (const width of [320, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `scrolls sideways at ${width}`);
    }
    const small = () => {
      const targets = [...document.querySelectorAll('button, .button, select, input:not(.button input), summary')].filter((element) =>
        element.checkVisibility(),
      );
      return targets
        .map((element) => [element, element.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 44 || height < 44)
        .map(([{ outerHTML }]) => outerHTML);
    };
    assert.deepEqual(await page.evaluate(small), [], 'targets of at least 44 pixels');
    assert.deepEqual(demo.complaints, []);
    await page.close();
  });
}

test('each view has an address, and a photo leads back to its own', async () => {
  const page = await browser.newPage({ serviceWorkers: 'block' });
  const demo = new Demo(page, url);
  const now = () =>
    page.evaluate(() => ({
      views: [...document.querySelectorAll('[data-view]')].filter((view) => view.checkVisibility()).map(({ dataset }) => dataset.view),
      links: [...document.querySelectorAll('nav [aria-current="page"]')].map(({ hash }) => hash),
      title: document.title,
    }));
  const at = (view, title) => ({ views: [view], links: [`#/${view}`], title });
  await states.answered(demo, page);
  assert.deepEqual(await now(), at('photo', 'Xception on WebGPU'));
  await demo.view('compare');
  assert.deepEqual(await now(), at('compare', 'Compare networks – Xception on WebGPU'));
  await page.waitForFunction(() => document.activeElement.id === 'compare-title');
  await demo.view('model');
  await page.goBack();
  await page.waitForFunction(() => document.getElementById('compare').checkVisibility());
  assert.deepEqual(await now(), at('compare', 'Compare networks – Xception on WebGPU'));
  await page.reload();
  assert.deepEqual(await now(), at('compare', 'Compare networks – Xception on WebGPU'));
  await says(page, 'status', /^Ready for a photo/);
  await demo.classify('0412.jpg', 'models/kitchenware/photos/0412.jpg');
  await page.waitForFunction(() => document.getElementById('photo').checkVisibility());
  assert.deepEqual(await now(), at('photo', 'Xception on WebGPU'));
  await page.goto(`${url}#/nowhere`);
  assert.deepEqual((await now()).views, ['photo']);
  // A camera that nobody sees is off.
  await page.click('#camera');
  await says(page, 'status', /photos a second$/);
  await demo.view('teach');
  await says(page, 'status', /^Ready for a photo\.$/);
  assert.ok(await page.evaluate(() => document.getElementById('video').srcObject === null));
  await page.close();
});

test("the page's own files are below 30 KB (brotli)", (context) => {
  const own = readdirSync('site').filter((name) => /\.(html|css|js)$/.test(name));
  const bytes = own.reduce((sum, name) => sum + brotliCompressSync(readFileSync(`site/${name}`)).length, 0);
  context.diagnostic(`${own.join(', ')}: ${bytes} bytes brotli`);
  assert.ok(own.length === 9 && bytes <= 30_000, `${own}: ${bytes} bytes`);
});

test('before the wasm has come a photo can be given, by keyboard alone, and nothing shifts', async () => {
  const page = await browser.newPage({ serviceWorkers: 'block' });
  let pass;
  const held = new Promise((resolve) => (pass = resolve));
  await page.route('**/*.wasm', async (route) => {
    await held;
    await route.continue();
  });
  await page.route('**/models/index.json', (route) => route.fulfill({ json: [{ name: 'Kitchenware', url: 'models/kitchenware.safetensors', bytes: 42e6 }] }));
  await page.addInitScript(() => {
    globalThis.shift = 0;
    new PerformanceObserver((list) => list.getEntries().forEach(({ value, hadRecentInput }) => (shift += hadRecentInput ? 0 : value))).observe({
      type: 'layout-shift',
      buffered: true,
    });
  });
  await page.goto(url);
  await says(page, 'status', /^Loading/);
  const tab = async (selector) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press('Tab');
      if (await page.evaluate((selector) => document.activeElement.matches(selector), selector)) return;
    }
    throw new Error(`the keyboard does not reach ${selector}`);
  };
  await tab('#samples button');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.getElementById('photo').naturalWidth > 0);
  pass();
  await says(page, 'status', /^Cat: \w+$/);
  await page.evaluate(() => document.activeElement.blur());
  await tab('#predictions button');
  await page.keyboard.press('Space');
  await page.waitForFunction(() => !document.getElementById('heat').hidden);
  await tab('#opacity');
  await page.keyboard.press('Home');
  assert.equal(await page.$eval('#heat', (heat) => heat.style.opacity), '0');
  assert.ok((await page.evaluate(() => shift)) < 0.01, 'layout shift');
  await page.close();
});

test('a load can be cancelled, a cached file deleted, the answer copied, a photo pasted', async () => {
  const context = await browser.newContext({ serviceWorkers: 'block', permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  await states.loading(new Demo(page, url), page);
  await page.click('#cancel');
  await page.close();
  const other = await context.newPage();
  const demo = new Demo(other, url);
  await states.answered(demo, other);
  await other.click('#details summary');
  await other.click('#copy-json');
  const { image, predictions, model } = JSON.parse(await other.evaluate(() => navigator.clipboard.readText()));
  assert.deepEqual([image, predictions.length, predictions[0].label, model], ['0009.jpg', 5, 'cup', 'Kitchenware']);
  await other.click('#copy-code');
  const copied = () => other.evaluate(() => navigator.clipboard.readText());
  assert.match(await copied(), /Xception\.load\(\{ weights: "http:\/\/localhost:\d+\/models\/kitchenware\.safetensors" \}\)/);
  await demo.view('model');
  await other.selectOption('#backend', 'cpu');
  await says(other, 'status', /^Ready for a photo/);
  await demo.view('photo');
  await other.click('#copy-code');
  assert.match(await copied(), /kitchenware\.safetensors", backend: 'cpu' \}\)/);
  await demo.view('model');
  await says(other, 'models', /· cached/);
  await other.click('#models button.small');
  await other.waitForFunction(() => !document.getElementById('models').textContent.includes('cached'));
  await other.evaluate(async () => {
    const data = new DataTransfer();
    data.items.add(new File([await (await fetch('models/kitchenware/photos/0412.jpg')).blob()], 'image.png'));
    dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));
  });
  await says(other, 'status', /^image\.png: fork$/);
  await context.close();
});

test('the passes can be sorted and taken away; ?profile writes photos into the performance panel, ?profile=loop again and again', async () => {
  const page = await browser.newPage({ serviceWorkers: 'block' });
  await states.profiled(new Demo(page, url), page);
  const counts = await page.evaluate(() => ['#passes tbody tr', '#plots rect', '#plots circle'].map((selector) => document.querySelectorAll(selector).length));
  assert.deepEqual(counts, [78, 78, 76]);
  const times = () => page.$$eval('#passes tbody td:nth-child(4)', (cells) => cells.map(({ textContent }) => Number(textContent)));
  await page.click('#passes th:nth-child(4) button');
  assert.deepEqual(
    await times(),
    (await times()).toSorted((a, b) => b - a),
  );
  assert.equal(await page.getAttribute('#passes th:nth-child(4)', 'aria-sort'), 'descending');
  const saved = async (button) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
    return readFileSync(await download.path(), 'utf8');
  };
  const events = JSON.parse(await saved('#trace')).traceEvents.filter(({ ph }) => ph === 'X');
  assert.deepEqual([events.length, events[0].name, events[0].ts], [78, 'block1_conv1', 0]);
  const lines = (await saved('#csv')).trim().split('\n');
  assert.deepEqual([lines.length, lines[0].split(',').length], [79, lines[1].split(',').length]);
  await page.close();

  const looped = await browser.newPage({ serviceWorkers: 'block' });
  await states.answered(new Demo(looped, `${url}?profile=loop`), looped);
  await looped.waitForFunction(() => performance.getEntriesByName('block1_conv1', 'measure').length >= 3);
  await looped.close();
});

/** A server of a test's own, which may stop it before. */
async function ownServer(context) {
  const local = await serveWithModel({}, false);
  local.stop = () => {
    local.server.closeAllConnections();
    return new Promise((accept) => local.server.close(accept));
  };
  context.after(local.stop);
  return local;
}

test('after one visit it works without a network', async (test) => {
  const local = await ownServer(test);
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${local.url}#/model`);
  await says(page, 'models', /· cached/);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.close();
  await local.stop();
  const again = await context.newPage();
  await again.goto(local.url);
  await again.click('#samples button');
  await says(again, 'status', /^Cat: \w+$/);
  await context.close();
});

test('a new version of the page keeps nothing of the old ones', async (test) => {
  const local = await ownServer(test);
  const context = await browser.newContext();
  const page = await context.newPage();
  // The page without its service worker.
  await page.goto(`${local.url}manifest.webmanifest`);
  await page.evaluate(async () => {
    for (const name of ['page-old', 'more', 'more-old', 'more of others', 'xception-webgpu']) await (await caches.open(name)).put('/x', new Response('x'));
  });
  await page.goto(`${local.url}#/model`);
  await says(page, 'models', /· cached/);
  await page.evaluate(() => navigator.serviceWorker.ready);
  for (const query of ['?backend=cpu', '?backend=auto', '?backend=cpu']) {
    await page.goto(local.url + query);
    await says(page, 'status', /^Ready for a photo/);
  }
  const kept = await page.evaluate(async () => {
    const names = await caches.keys();
    const more = await (await caches.open(names.find((name) => /^more-/.test(name)))).keys();
    return { names, more: more.map(({ url }) => url) };
  });
  assert.match(kept.names.toSorted().join(), /^more of others,more-\w{10},page-\w{10},xception-webgpu$/);
  assert.deepEqual(
    kept.more.filter((url) => url.includes('?')),
    [],
  );
  assert.ok(kept.more.includes(local.url) && kept.more.includes(`${local.url}models/index.json`), `${kept.more}`);
  await context.close();
});
