// npm run engines: what the first photos take on the CPU in Chromium, Firefox and WebKitGTK, by one thread, and what later ones take.
//
//   --photos 30      how many photos
//   --only webkit    engines whose name contains this
import { parseArgs } from 'node:util';
import { start } from '../tests/e2e/answers.mjs';
import { emptyPage, launch } from '../tests/e2e/browser.mjs';
import { firefox, webKit } from '../tests/e2e/engines.mjs';

const text = (fallback) => ({ type: 'string', default: fallback });
const { photos, only } = parseArgs({ options: { photos: text('30'), only: text('') } }).values;

const { server, url } = await start();

async function chromium() {
  const browser = await launch();
  const page = await emptyPage(browser, url);
  return { evaluate: (...args) => page.evaluate(...args), close: () => browser.close() };
}

/** An engine's page of the server's origin. */
async function opened(engine) {
  const page = await engine();
  await page.goto(`${url}empty`);
  return page;
}

const engines = { Chromium: chromium, Firefox: () => opened(firefox), WebKitGTK: () => opened(webKit) };

/** Milliseconds of each step, for each photo; in the page. */
async function measure(photos) {
  const { Xception } = await import('/pkg/dist/index.js');
  const photo = await (await fetch('/models/kitchenware/photos/0009.jpg')).blob();
  const start = performance.now();
  const model = await Xception.load({ weights: '/models/kitchenware.safetensors', backend: 'cpu', cache: false, threads: 1 });
  const load = performance.now() - start;
  const rows = [];
  while (rows.length < photos) rows.push((await model.classify(photo)).timings);
  return { load, rows, adapter: model.info.adapter };
}

const median = (values) => values.toSorted((one, other) => one - other)[values.length >> 1];
const line = (cells) => console.log(cells.map((cell, index) => String(cell).padEnd(index ? 12 : 28)).join(''));

line(['', 'decode', 'preprocess', 'inference']);
for (const [name, engine] of Object.entries(engines)) {
  if (!name.toLowerCase().includes(only.toLowerCase())) continue;
  const page = await engine();
  try {
    const { load, rows, adapter } = await page.evaluate(measure, Number(photos));
    console.log(`${name}, ${adapter}: loaded in ${load.toFixed(0)} ms`);
    const show = (what, of) => line([`  ${what}`, ...['decode', 'preprocess', 'inference'].map((step) => median(of.map((row) => row[step])).toFixed(0))]);
    for (const index of [0, 1, 2, 4, 9]) if (rows[index]) show(`photo ${index + 1}`, [rows[index]]);
    if (rows.length > 10) show(`median of those behind it`, rows.slice(10));
  } finally {
    await page.close();
  }
}
server.close();
