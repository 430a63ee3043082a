// The extension for Chrome, built from the packed tarball and loaded into Chromium. Its menu cannot be clicked from here: its event is dispatched.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { serve } from '../../scripts/serve.mjs';
import { findChromium } from './browser.mjs';
import { pack } from './packed.mjs';

const app = resolve('test-results/extension');
const built = join(app, 'built');
const profile = mkdtempSync(join(tmpdir(), 'extension-'));
let server, url, context, background;

before(async () => {
  pack(app);
  cpSync('examples/extension', join(app, 'extension'), { recursive: true });
  execFileSync('node', ['extension/build.mjs', built, resolve('models/kitchenware.safetensors')], { cwd: app });
  ({ server, url } = await serve(0));
  context = await chromium.launchPersistentContext(profile, {
    executablePath: findChromium(),
    ignoreDefaultArgs: ['--disable-extensions'],
    args: ['--no-sandbox', `--disable-extensions-except=${built}`, `--load-extension=${built}`],
  });
  context.setDefaultTimeout(90_000);
  background = context.serviceWorkers()[0] ?? (await context.waitForEvent('serviceworker'));
});

after(async () => {
  await context?.close();
  server?.close();
  rmSync(profile, { recursive: true, force: true });
});

/** Clicks the menu entry of an image: the status and the classes of the window that opens. */
async function click(srcUrl) {
  const opened = context.waitForEvent('page', (page) => page.url().includes(encodeURIComponent(srcUrl)));
  await background.evaluate((srcUrl) => chrome.contextMenus.onClicked.dispatch({ menuItemId: 'classify', srcUrl }), srcUrl);
  const page = await opened;
  await page.waitForFunction(() => !['', 'Looking…', undefined].includes(document.getElementById('status')?.textContent));
  const answer = await page.evaluate(() => ({
    status: document.getElementById('status').textContent,
    classes: [...document.querySelectorAll('li')].map(({ textContent }) => textContent),
    width: document.querySelector('img').naturalWidth,
    isolated: crossOriginIsolated,
  }));
  await page.close();
  return answer;
}

/** Whether the menu entry is there; it comes with the event of the installation. */
async function hasEntry() {
  // It rejects where there is no such entry.
  const update = () =>
    chrome.contextMenus.update('classify', {}).then(
      () => true,
      () => false,
    );
  for (let tries = 0; tries < 300; tries++) {
    if (await background.evaluate(update)) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

const documents = () => background.evaluate(async () => (await chrome.runtime.getContexts({ contextTypes: ['OFFSCREEN_DOCUMENT'] })).length);
const photo = (name) => `${url}models/kitchenware/photos/${name}.jpg`;

test('the menu entry of an image opens a window with its five classes', async () => {
  assert.ok(await hasEntry(), 'there is an entry');
  assert.equal(await documents(), 0, 'nothing is loaded before the first click');
  const { status, classes, width, isolated } = await click(photo('0009'));
  assert.deepEqual([classes.length, width, isolated], [5, 750, true]);
  assert.match(classes[0], /^cup 9\d\.\d %$/);
  assert.match(status, /^CPU: .*SIMD, \d threads?$/);
});

test('two clicks at once share one document, also after it has closed', async () => {
  await background.evaluate(() => chrome.offscreen.closeDocument());
  const answers = await Promise.all([click(photo('0412')), click(photo('0013'))]);
  assert.deepEqual(
    answers.map(({ classes }) => classes[0].split(' ')[0]),
    ['fork', 'knife'],
  );
  assert.equal(await documents(), 1);
});

test('an image in the page itself is classified, and one that cannot be had is an error', async () => {
  const bytes = readFileSync('models/kitchenware/photos/0009.jpg').toString('base64');
  assert.match((await click(`data:image/jpeg;base64,${bytes}`)).classes[0], /^cup /);
  const { status, classes } = await click(photo('none'));
  assert.match(status, /answered 404/);
  assert.deepEqual(classes, []);
});

test('it has all of its code, and no source maps', () => {
  const names = readdirSync(built, { recursive: true });
  assert.ok(names.includes(join('xception-webgpu', 'cpu_threads_relaxed_bg.wasm')));
  assert.deepEqual(
    names.filter((name) => /\.(map|mjs)$/.test(name)),
    [],
  );
});
