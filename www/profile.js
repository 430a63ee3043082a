// The profile view: a timeline of the passes, a roofline plot, a sortable table, and downloads.
import { $, status, svg } from './dom.js';

const COLOURS = ['#8a4fbf', '#0b7a70', '#c77700', '#b3261e', '#7a5a00', '#5b574f'];
const COLUMNS = [
  ['label', 'Pass'],
  ['kernel', 'Kernel'],
  ['shape', 'Result'],
  ['ms', 'ms'],
  ['gflops', 'GFLOP/s'],
  ['gbps', 'GB/s'],
  ['roofline', 'Roofline'],
];
const [WIDTH, HEIGHT, LEFT, BOTTOM, NAMES] = [720, 320, 56, 36, 140];

/** Profiles the model on a photo and shows the result. */
export async function showProfile(model, photo) {
  status('Timing each pass…');
  const profile = await model.profile(photo, { runs: 3 });
  const { adapter, clock, passes, wholeMs, repeats } = profile;
  const sum = passes.reduce((total, { ms }) => total + ms, 0);
  const by = clock === 'timestamps' ? "the GPU's timestamps" : "the browser's clock";
  $('profile-summary').textContent =
    `${passes.length} passes on ${adapter || 'this GPU'}: ${wholeMs.toFixed(1)} ms in one compute pass, ${sum.toFixed(1)} ms one by one, by ${by}, ` +
    `median of ${profile.runs} runs, up to ${repeats} repeats of a pass.`;
  $('plots').replaceChildren(figure('Passes in order', timeline(passes, sum)), figure('Roofline', roofline(profile)));
  table(passes, 'order');
  $('profile').hidden = false;
  $('trace').onclick = () => save('trace.json', 'application/json', JSON.stringify(trace(profile)));
  $('csv').onclick = () => save('profile.csv', 'text/csv', csv(passes));
  status(`Each pass was timed: ${sum.toFixed(1)} ms together.`);
}

function figure(title, plot) {
  const element = document.createElement('figure');
  element.append(plot, Object.assign(document.createElement('figcaption'), { textContent: title }));
  return element;
}

const plot = (name, height, ...children) => svg('svg', { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': name }, ...children);
/** A colour for each kernel, in order of first use. */
function colours(passes) {
  const kernels = [...new Set(passes.map(({ kernel }) => kernel))];
  return ({ kernel }) => COLOURS[kernels.indexOf(kernel) % COLOURS.length];
}

/** Adds the tooltip of a pass to its shape. */
function named(shape, { label, kernel, ms }) {
  shape.append(svg('title', {}, `${label}, ${kernel}.wgsl: ${ms.toFixed(3)} ms`));
  return shape;
}

/** A row for each kernel, a bar for each pass. */
function timeline(passes, sum) {
  const kernels = [...new Set(passes.map(({ kernel }) => kernel))];
  const row = 26;
  const names = kernels.map((kernel, i) => svg('text', { x: 0, y: row * i + 18 }, kernel));
  const colour = colours(passes);
  const scale = (WIDTH - NAMES) / sum;
  let start = 0;
  const bars = passes.map((pass) => {
    const y = row * kernels.indexOf(pass.kernel) + 4;
    const bar = svg('rect', { x: NAMES + start * scale, y, width: Math.max(0.6, pass.ms * scale - 0.4), height: row - 8, fill: colour(pass) });
    start += pass.ms;
    return named(bar, pass);
  });
  return plot(`Timeline of ${passes.length} passes`, row * kernels.length, ...names, ...bars);
}

/** Achieved FLOP/s over FLOP per byte, both logarithmic, under the ceilings of memory and arithmetic. */
function roofline({ passes, ceiling }) {
  const colour = colours(passes);
  const some = passes.filter(({ gflops }) => gflops > 0);
  const [flops, bytes] = [ceiling.flops / 1e9, ceiling.bytes / 1e9];
  const range = (values) => [Math.min(...values) / 2, Math.max(...values) * 2].map(Math.log10);
  const [left, right] = range([...some.map(({ intensity }) => intensity), flops / bytes]);
  const [low, high] = range([...some.map(({ gflops }) => gflops), flops]);
  const x = (value) => LEFT + ((Math.log10(value) - left) / (right - left)) * (WIDTH - LEFT);
  const y = (value) => (1 - (Math.log10(value) - low) / (high - low)) * (HEIGHT - BOTTOM);
  const powers = (from, to) => Array.from({ length: Math.floor(to) - Math.ceil(from) + 1 }, (_, i) => 10 ** (Math.ceil(from) + i));
  const lines = [
    ...powers(left, right).flatMap((value) => [
      svg('line', { class: 'grid', x1: x(value), x2: x(value), y1: 0, y2: HEIGHT - BOTTOM }),
      svg('text', { x: x(value) + 3, y: HEIGHT - BOTTOM - 4 }, value),
    ]),
    ...powers(low, high).flatMap((value) => [
      svg('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
      svg('text', { x: 0, y: y(value) + 4 }, value),
    ]),
  ];
  const corner = flops / bytes;
  const roof = [
    [10 ** left, 10 ** left * bytes],
    [corner, flops],
    [10 ** right, flops],
  ]
    .map(([at, value]) => `${x(at)},${y(value)}`)
    .join(' ');
  const dots = some.map((pass) =>
    named(svg('circle', { cx: x(pass.intensity), cy: y(pass.gflops), r: 3 + 40 * Math.sqrt(pass.share) * 0.5, fill: colour(pass), 'fill-opacity': 0.6 }), pass),
  );
  const axes = [svg('text', { x: WIDTH / 2, y: HEIGHT - 6 }, 'FLOP per byte'), svg('text', { x: LEFT + 6, y: 14 }, 'GFLOP/s')];
  return plot('Roofline plot', HEIGHT, ...lines, svg('polyline', { class: 'roof', points: roof }), ...dots, ...axes);
}

/** The passes as a table, sorted by a column; at first in execution order. */
function table(passes, by, descending = false) {
  const value = (pass) => (by === 'order' ? passes.indexOf(pass) : by === 'shape' ? pass.shape.reduce((a, b) => a * b) : pass[by]);
  const compare = (a, b) => (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0) * (descending ? -1 : 1);
  const head = COLUMNS.map(([key, title]) => {
    const cell = document.createElement('th');
    cell.scope = 'col';
    if (key === by) cell.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: title });
    button.addEventListener('click', () => {
      table(passes, key, key === by ? !descending : typeof passes[0][key] === 'number');
      $('passes')
        .querySelector(`th:nth-child(${COLUMNS.findIndex(([name]) => name === key) + 1}) button`)
        .focus();
    });
    cell.append(button);
    return cell;
  });
  const rows = passes.toSorted(compare).map((pass) => {
    const { label, kernel, shape, ms, gflops, gbps, roofline } = pass;
    const row = document.createElement('tr');
    const texts = [label, kernel, shape.join('×'), ms.toFixed(3), gflops.toFixed(1), gbps.toFixed(1), `${(100 * roofline).toFixed(1)} %`];
    row.append(...texts.map((text) => Object.assign(document.createElement('td'), { textContent: text })));
    return row;
  });
  const [header, body] = ['thead', 'tbody'].map((name) => document.createElement(name));
  header.append(document.createElement('tr'));
  header.firstChild.append(...head);
  body.append(...rows);
  $('passes').replaceChildren(header, body);
}

/** Events in Chrome's trace format, for Perfetto. */
function trace({ adapter, passes }) {
  let ts = 0;
  const events = passes.map((pass) => {
    const event = { name: pass.label, cat: pass.kernel, ph: 'X', pid: 1, tid: 1, ts, dur: pass.ms * 1000, args: pass };
    ts += event.dur;
    return event;
  });
  const name = (what, name) => ({ name: what, ph: 'M', pid: 1, tid: 1, args: { name } });
  return { traceEvents: [...events, name('process_name', adapter), name('thread_name', 'Xception GPU')], displayTimeUnit: 'ms' };
}

function csv(passes) {
  const keys = Object.keys(passes[0]);
  const cell = (value) => (Array.isArray(value) ? value.join('x') : value);
  return [keys.join(','), ...passes.map((pass) => keys.map((key) => cell(pass[key])).join(','))].concat('').join('\n');
}

function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement('a'), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
