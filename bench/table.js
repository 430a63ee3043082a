// What is shown of the results, in the page and on the terminal.

/** Median, smallest and largest of some times. */
export function summary(runs) {
  const sorted = [...runs].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const medianMs = (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
  return { medianMs, minMs: sorted[0], maxMs: sorted.at(-1) };
}

const backend = ({ backend, threads, dtype }) => [backend, threads && `${threads} thread${threads > 1 ? 's' : ''}`, dtype].filter(Boolean).join(', ');

/** A runtime's name in a sentence. */
export const label = (row) => `${row.name} ${backend(row)}`;

const ms = (value) => (value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(1));
const mb = (bytes) => (bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1);

/** The columns: a title, and what stands below it where a runtime answered. */
export const COLUMNS = [
  ['runtime', ({ name, version }) => `${name} ${version}`],
  ['runs on', (row) => backend(row)],
  ['load ms', ({ loadMs }) => ms(loadMs)],
  ['first ms', ({ firstMs }) => ms(firstMs)],
  ['later ms: median (min–max, runs)', ({ medianMs, minMs, maxMs, runs }) => later(medianMs, minMs, maxMs, runs.length)],
  ['dispatches', (row) => gpu(row, row.dispatches)],
  ['bind groups a run', (row) => gpu(row, row.bindGroups)],
  ['pipelines', (row) => gpu(row, row.pipelines)],
  ['GPU MB', (row) => gpu(row, mb(row.gpuBytes))],
  ['runtime MB raw / gzip', ({ download }) => (download ? `${mb(download.runtime)} / ${mb(download.runtimeGzip)}` : '')],
  ['weights MB', ({ download }) => (download ? mb(download.weights) : '')],
  ['error', ({ error }) => (error === 0 ? '0' : error.toExponential(0))],
];

const gpu = ({ backend }, value) => (backend === 'webgpu' ? String(value) : '');

function later(median, min, max, runs) {
  return runs > 1 ? `${ms(median)} (${ms(min)}–${ms(max)}, ${runs})` : `${ms(median)} (1)`;
}

/** Rows of cells; one that did not answer says why instead of its time. */
export function cells(rows) {
  return rows.map((row) => {
    if (row.status === 'ok' && row.medianMs !== undefined) return COLUMNS.map(([, cell]) => cell(row));
    const known = row.status === 'ok' ? '…' : `${row.status}: ${row.reason}`;
    return COLUMNS.map(([, cell], i) => (i < 2 ? cell({ version: '', ...row }).trim() : i === 4 ? known : ''));
  });
}

/** The results as a table in Markdown, and a sentence about where they come from. */
export function markdown(results) {
  const line = (words) => `| ${words.join(' | ').replaceAll('\n', ' ')} |`;
  const titles = COLUMNS.map(([title]) => title);
  const alignment = `|${titles.map((_, i) => (i < 2 ? '---' : '--:')).join('|')}|`;
  return [line(titles), alignment, ...cells(results.rows).map(line), '', where(results)].join('\n');
}

function where({ browser, adapter, cores, size, date, seconds }) {
  const version = /(Chrome|Firefox|Version)\/[\d.]+/.exec(browser)?.[0].replace('Version', 'Safari') ?? browser;
  return (
    `${version}, adapter ${adapter}, ${cores} cores, ${size}×${size}, ${date.slice(0, 10)}. Runs took turns; a runtime that had ` +
    `taken ${seconds} s sat the next rounds out. Error: largest difference of a probability from Keras's.`
  );
}
