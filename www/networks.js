// The networks side by side: what is published of each, and time and answer of those that were loaded on this page.
import { Xception } from 'xception-webgpu';
import PUBLISHED from '../src/network/published.json';
import { $, status, svg } from './dom.js';

const RUNS = 5;
const COLUMNS = ['Network', 'Parameters', 'GMAC', 'Passes', 'ms (least to most)', 'Top-1', 'Top-5', 'Its answer'];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [720, 320, 56, 36];

/** Runs the loaded models in turns on a photo, and shows all networks. `opened` has the options of each source. */
export async function compareNetworks(opened, photo) {
  const rows = [];
  try {
    for (const [{ name, file, url, integrity }, options] of opened) {
      status(`Loading ${name} to compare it…`);
      const model = await Xception.load({ weights: file ?? url, integrity, ...options });
      rows.push({ name, model, times: [] });
      await model.predict(photo);
    }
    for (let run = 1; run <= RUNS; run++) {
      status(`Comparing: photo ${run} of ${RUNS}…`);
      for (const row of rows) {
        const start = performance.now();
        await row.model.predict(photo);
        row.times.push(performance.now() - start);
      }
    }
    for (const row of rows) {
      row.info = row.model.info;
      if (row.info.classes) row.best = (await row.model.classify(photo, { topK: 1 })).predictions[0];
    }
  } finally {
    for (const { model } of rows) await model.dispose();
  }
  show(rows);
  status('The networks were compared.');
}

/** Shows what is published of all networks. */
export function showNetworks() {
  // Times stay until others come.
  if (!$('compared').hasChildNodes()) show([]);
}

function show(rows) {
  const shown = PUBLISHED.map((published) => ({ published, rows: rows.filter(({ info }) => info.network === published.network) }));
  const others = rows.filter(({ info }) => !PUBLISHED.some(({ network }) => network === info.network));
  const lines = shown.flatMap(({ published, rows }) => (rows.length ? rows : [undefined]).map((row) => line(published, row)));
  const head = document.createElement('tr');
  head.append(...COLUMNS.map((text) => Object.assign(document.createElement('th'), { scope: 'col', textContent: text })));
  $('compared').replaceChildren(head, ...lines, ...others.map((row) => line({ network: row.info.network }, row)));
  const adapter = rows.at(-1)?.info.adapter || 'this device';
  const timed = `${rows.length} of ${PUBLISHED.length} networks were loaded on this page and ran in turns on ${adapter}, ${RUNS} times after a first. `;
  $('networks-summary').textContent =
    (rows.length ? timed : '') +
    'Open the weights of others to time them too. Accuracy is that of the published ImageNet weights (Keras Applications, timm), not of your own.';
  const points = shown.flatMap(({ published, rows }) => rows.map((row) => ({ ...published, ms: median(row.times), size: size(row) })));
  $('networks-plot').replaceChildren(...(points.length ? [plot(points)] : []));
}

/** The input's size where it is another one than that of the published facts. */
function size({ info: { inputSize } }) {
  return inputSize.every((side) => side === 299) ? '' : ` at ${inputSize.join('×')}`;
}

const median = (times) => times.toSorted((one, other) => one - other)[Math.floor(times.length / 2)];

function line({ network, parameters, macs, passes, top1, top5, weights, source }, row) {
  const cells = [
    network,
    parameters && `${(parameters / 1e6).toFixed(1)} M`,
    macs && (macs / 1e9).toFixed(2),
    passes,
    row && `${median(row.times).toFixed(0)} (${Math.min(...row.times).toFixed(0)} to ${Math.max(...row.times).toFixed(0)})${size(row)}`,
    top1 && `${top1.toFixed(1)} %`,
    top5 && `${top5.toFixed(1)} %`,
    row?.best && `${row.name}: ${row.best.label} ${(100 * row.best.score).toFixed(1)} %`,
  ];
  const element = document.createElement('tr');
  element.append(...cells.map((text) => Object.assign(document.createElement('td'), { textContent: text ?? '' })));
  if (weights) element.title = `${weights}, ${source}`;
  return element;
}

/** Published accuracy against milliseconds on this device. */
function plot(points) {
  const most = Math.max(1, ...points.map(({ ms }) => ms)) * 1.25;
  const [low, high] = [77, 84];
  const x = (ms) => LEFT + (ms / most) * (WIDTH - LEFT - 110);
  const y = (top1) => (1 - (top1 - low) / (high - low)) * (HEIGHT - BOTTOM);
  const element = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': 'Published accuracy against time' });
  for (let top1 = low; top1 <= high; top1++) {
    element.append(svg('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: y(top1), y2: y(top1) }), svg('text', { x: 0, y: y(top1) + 12 }, `${top1} %`));
  }
  // 1, 2 or 5 times a power of ten, about four of them.
  const power = 10 ** Math.floor(Math.log10(most / 4));
  const step = power * [1, 2, 5, 10].find((times) => power * times >= most / 4);
  for (let ms = 0; ms < most; ms += step) element.append(svg('text', { x: x(ms), y: HEIGHT - 14 }, `${+ms.toPrecision(6)} ms`));
  for (const { network, ms, top1, parameters, size } of points) {
    element.append(
      svg('circle', { cx: x(ms), cy: y(top1), r: Math.sqrt(parameters / 1e6) * 1.5, fill: '#0b7a70' }),
      svg('text', { x: x(ms) + 12, y: y(top1) + 4 }, network + size),
    );
  }
  return element;
}
