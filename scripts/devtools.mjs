// The performance panel of Chromium's own devtools, showing the tracks of `profile: true`.
import { emptyPage } from '../tests/e2e/browser.mjs';

// The panel's own categories, as far as they are seen in the picture.
const categories = ['blink.user_timing', 'devtools.timeline', 'disabled-by-default-devtools.timeline', 'v8.execute'];
const [first, selected, last] = ['block13_sepconv1.depthwise', 'block13_sepconv2.pointwise', 'read-back'];
const [width, height] = [1280, 610];

/** The trace of one photo: not the first, for which pipelines are made. */
async function record(browser, url) {
  const page = await emptyPage(browser, url);
  await page.evaluate(async () => {
    const { Xception } = await import('/pkg/dist/index.js');
    const model = await Xception.load({ weights: '/models/kitchenware.safetensors', backend: 'webgpu', profile: true });
    // Fetched before, so that the panel has no row for the network.
    const photo = await (await fetch('/models/kitchenware/photos/0009.jpg')).blob();
    globalThis.classify = () => model.classify(photo);
    await classify();
  });
  await browser.startTracing(page, { categories });
  await page.evaluate(() => classify().then(() => {}));
  const trace = JSON.parse(await browser.stopTracing());
  await page.close();
  return trace;
}

/** Takes the picture: the last passes of the photo, one of them selected. */
export async function devtools(browser, url, path) {
  const trace = await record(browser, url);
  const times = trace.traceEvents.map(({ ts }) => ts).filter((ts) => ts > 0);
  const at = (name, phase = 'b') => trace.traceEvents.find((event) => event.name === name && event.ph === phase).ts;
  const [from, to] = [at(first), at(last, 'e') + 2000];
  // The panel opens a trace at the part that was looked at when it was saved.
  const part = (min, max, child) => ({ window: { min, max, range: max - min }, child });
  const initialBreadcrumb = part(Math.min(...times), Math.max(...times), part(from, to, null));
  const entriesModifications = { hiddenEntries: [], expandableEntries: [] };
  const annotations = { entryLabels: [], labelledTimeRanges: [], linksBetweenEntries: [] };
  trace.metadata = { source: 'DevTools', modifications: { initialBreadcrumb, entriesModifications, annotations } };

  const page = await browser.newPage({ viewport: { width, height }, deviceScaleFactor: 2 });
  // A dialog of shortcuts would lie above the tracks.
  await page.addInitScript(() => localStorage.setItem('hide-shortcuts-dialog-for-test', 'true'));
  await page.goto('devtools://devtools/bundled/devtools_app.html?panel=timeline');
  await page.setInputFiles('input[type=file]', { name: 'trace.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(trace)) });
  await page.getByRole('button', { name: 'Hide sidebar' }).click();
  // The tracks are drawn on a canvas. From "Main", which has the focus: up to the group, open it, and both tracks in it.
  const tracks = page.locator('canvas[aria-label="Flame chart"]').first();
  await tracks.focus();
  for (const key of ['ArrowUp', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowRight']) await page.keyboard.press(key);
  const middle = (at(selected) + at(selected, 'e')) / 2;
  // The row under the ruler, the names of the group and its tracks, and the first track; layers that let clicks through lie above.
  await tracks.click({ position: { x: ((middle - from) / (to - from)) * width, y: 95 }, force: true });
  await page.getByText('conv.wgsl').waitFor();
  await page.mouse.move(width - 20, height - 20);
  await page.screenshot({ path });
  await page.close();
}
