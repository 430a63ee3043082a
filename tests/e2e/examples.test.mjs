// Every example does what it says.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { FAKE_CAMERA, launch } from './browser.mjs';
import { serveWithModel } from './models.mjs';

let server, browser, url;
const photo = 'models/kitchenware/photos/0009.jpg';

before(async () => {
  ({ server, url } = await serveWithModel({ '/examples': 'examples' }, true));
  browser = await launch(...FAKE_CAMERA);
});

after(async () => {
  await browser?.close();
  server?.close();
});

/** Opens an example and waits until an element's text matches. */
async function open(name) {
  const page = await browser.newPage();
  await page.goto(`${url}examples/${name}.html`);
  const text = async (id, pattern) => {
    const found = ([id, pattern]) => new RegExp(pattern).test(document.getElementById(id)?.textContent);
    await page.waitForFunction(found, [id, pattern.source]).catch(async (error) => {
      throw new Error(`#${id} says: ${await page.textContent(`#${id}`)}`, { cause: error });
    });
  };
  return { page, text };
}

test('drop', async () => {
  const { page, text } = await open('drop');
  await text('status', /^Drop/);
  await page.evaluate(async (path) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([await (await fetch(path)).blob()], 'cup.jpg'));
    dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }));
  }, `/${photo}`);
  await text('answer', /^cup, 9\d\.\d %/);
  await page.close();
});

test('camera', async () => {
  const { page, text } = await open('camera');
  await text('answer', /^\w+ \(\d+ %\), [\d.]+ a second$/);
  await page.close();
});

test('search', async () => {
  const { page, text } = await open('search');
  await text('status', /^Click/);
  const cosines = await page.$$eval('#photos img', (images) => images.map(({ title }) => Number(title)));
  assert.equal(cosines.length, 18);
  assert.equal(cosines[0], 1);
  assert.deepEqual(
    cosines,
    cosines.toSorted((a, b) => b - a),
  );
  const last = await page.getAttribute('#photos img:last-child', 'src');
  await page.click('#photos img:last-child');
  assert.equal(await page.getAttribute('#photos img:first-child', 'src'), last);
  await page.close();
});

test('keras', async () => {
  const { page, text } = await open('keras');
  await page.setInputFiles('#model', 'models/kitchenware/kitchenware.keras');
  await text('answer', /^6 classes, input 150×150/);
  await page.setInputFiles('#photo', photo);
  await text('answer', /^cup \d/);
  await page.close();
});

test('teach', async () => {
  const { page, text } = await open('teach');
  await text('answer', /^Choose/);
  const photos = (names) => names.map((name) => `models/kitchenware/photos/${name}.jpg`);
  await page.setInputFiles('#one', photos(['0009', '0020', '0299']));
  await page.click('#learn');
  await text('answer', /^there are 1 classes to learn/);
  await page.setInputFiles('#other', photos(['0207', '0412', '0013']));
  await page.click('#learn');
  await text('answer', /^Learned: [56] of 6 are right\. The file of it has \d+ bytes\.$/);
  await page.setInputFiles('#photo', photos(['0403']));
  await text('answer', /^one (67|100) %/);
  await page.close();
});

test('offline', async () => {
  const { page, text } = await open('offline');
  await text('answer', /1 file of weights kept/);
  // Service workers would still be online: so the server is closed, and this test must be the last.
  await page.context().setOffline(true);
  server.closeAllConnections();
  await new Promise((accept) => server.close(accept));
  await page.reload();
  await text('answer', /1 file of weights kept/);
  await page.close();
});

test('each example is here', () => {
  const pages = readdirSync('examples').filter((name) => name.endsWith('.html'));
  assert.deepEqual(pages, ['camera.html', 'drop.html', 'element.html', 'keras.html', 'offline.html', 'search.html', 'teach.html']);
});
