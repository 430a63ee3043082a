// The package in Next.js, built from the packed tarball: rendered on the server, classifying in the browser.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { launch } from './browser.mjs';
import { pack, tools } from './packed.mjs';

const app = resolve('test-results/next');
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };
const next = join(app, 'node_modules/next/dist/bin/next');
let server, browser, url;

before(async () => {
  pack(app);
  // Beside the package, as npm installs them.
  for (const name of readdirSync(tools).filter((name) => name !== 'xception-webgpu' && !name.startsWith('.'))) {
    symlinkSync(join(tools, name), join(app, 'node_modules', name));
  }
  cpSync('examples/next', app, { recursive: true });
  mkdirSync(join(app, 'public'));
  cpSync('models/kitchenware.safetensors', join(app, 'public/model.safetensors'));
  const { status, stdout, stderr } = spawnSync('node', [next, 'build'], { cwd: app, env, encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
  server = spawn('node', [next, 'start', '--hostname', 'localhost', '--port', '0'], { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'] });
  url = await address();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.kill();
});

/** The address that the server prints. */
async function address() {
  let printed = '';
  for await (const text of server.stdout.iterator({ destroyOnReturn: false })) {
    printed += text;
    const [found] = /http:\/\/localhost:\d+/.exec(printed) ?? [];
    if (found && printed.includes('Ready')) return `${found}/`;
  }
  throw new Error(`the server has ended: ${printed}`);
}

test('Next.js renders the page on the server, and the browser classifies by threads', async () => {
  assert.match(await (await fetch(url)).text(), /<p id="status">Loading, 0 bytes<\/p>/);
  const page = await browser.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    const isExpected = /Failed to load resource/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !isExpected) complaints.push(message.text());
  });
  await page.goto(url);
  const input = page.locator('input:enabled');
  await input.setInputFiles('models/kitchenware/photos/0009.jpg');
  const classes = page.locator('li');
  await classes.first().waitFor();
  assert.deepEqual([await classes.count(), (await classes.first().textContent()).split(' ')[0]], [5, 'cup']);
  assert.match(await page.textContent('#status'), /^cpu, CPU: .*SIMD, \d threads?$/);
  assert.equal(await page.evaluate(() => crossOriginIsolated), true);
  await input.setInputFiles({ name: 'text.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('text') });
  await page.getByText('not a readable image').waitFor();
  // Another photo goes on.
  await input.setInputFiles('models/kitchenware/photos/0412.jpg');
  await classes.first().waitFor();
  assert.match(await classes.first().textContent(), /^fork /);
  assert.deepEqual(complaints, []);
  await page.close();
});
