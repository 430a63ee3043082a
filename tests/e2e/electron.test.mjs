// The Electron application, with the packed package. Electron's binary cannot be installed everywhere: main.js gets a stand-in that records what it
// does, and its `app:` handler answers Chromium, which is Electron's browser.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { launch } from './browser.mjs';
import { pack } from './packed.mjs';

const app = resolve('test-results/electron');
/** The calls of main.js, in order. */
const calls = [];
let server, browser, url, respond;

/** Electron's module, as far as main.js uses it. */
const standIn = `
const { calls } = globalThis.electron;
export const app = { whenReady: async () => void calls.push('ready'), on: (event) => calls.push(event), quit() {} };
export const protocol = {
  registerSchemesAsPrivileged: ([{ scheme, privileges }]) => calls.push(['privileged', scheme, privileges]),
  handle(scheme, respond) {
    calls.push(['handle', scheme]);
    globalThis.electron.respond = respond;
  },
};
export class BrowserWindow {
  loadURL = async (url) => calls.push(['load', url]);
}
`;

before(async () => {
  pack(app);
  cpSync('examples/electron', app, { recursive: true });
  cpSync('models/kitchenware.safetensors', join(app, 'model.safetensors'));
  mkdirSync(join(app, 'node_modules/electron'));
  writeFileSync(join(app, 'node_modules/electron/package.json'), JSON.stringify({ name: 'electron', type: 'module', exports: './index.js' }));
  writeFileSync(join(app, 'node_modules/electron/index.js'), standIn);
  globalThis.electron = { calls };
  await import(pathToFileURL(join(app, 'main.js')));
  await new Promise(setImmediate);
  ({ respond } = globalThis.electron);
  server = createServer(async (request, response) => {
    const answer = await respond(new Request(`app://classifier${request.url}`));
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    Readable.fromWeb(answer.body).pipe(response);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  url = `http://localhost:${server.address().port}/`;
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

test('the scheme is registered before the application is ready, and its window opens a page of it', () => {
  const [[what, scheme, privileges], ...rest] = calls;
  assert.deepEqual([what, scheme], ['privileged', 'app']);
  // Modules, fetch and secure contexts need these.
  assert.ok(privileges.standard && privileges.secure && privileges.supportFetchAPI);
  assert.deepEqual(rest, ['ready', 'window-all-closed', ['handle', 'app'], ['load', 'app://classifier/index.html']]);
});

test('the page classifies by threads, and says what is no photo', async () => {
  const page = await browser.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  await page.goto(`${url}index.html`);
  const input = page.locator('input:enabled');
  await input.setInputFiles('models/kitchenware/photos/0009.jpg');
  await page.locator('li').first().waitFor();
  assert.deepEqual([await page.locator('li').count(), (await page.locator('li').first().textContent()).split(' ')[0]], [5, 'cup']);
  assert.match(await page.textContent('#status'), /^CPU: .*SIMD, \d threads?$/);
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  await input.setInputFiles({ name: 'text.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('text') });
  await page.getByText('not a readable image').waitFor();
  // A browser looks for an icon by itself.
  assert.deepEqual(
    complaints.filter((text) => !/404/.test(text)),
    [],
  );
  await page.close();
});

test('nothing but the application and the package is given', async () => {
  const code = async (path) => (await respond(new Request(`app://classifier${path}`))).status;
  for (const path of ['/index.html', '/xception-webgpu/index.js', '/model.safetensors']) assert.equal(await code(path), 200, path);
  for (const path of [
    '/',
    '/none.js',
    '/../extension',
    '/..%2fextension%2fmanifest.json',
    '/%2e%2e/none',
    '/xception-webgpu/..%5cpackage.json',
    '/node_modules',
  ])
    assert.equal(await code(path), 404, path);
});
