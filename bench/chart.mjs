// The times as a chart: SVG that is readable in light and in dark.
import { parse, View } from 'vega';
import { compile } from 'vega-lite';
import { label } from './table.js';

// Stand-ins that the style below replaces, so that the chart follows the reader's colours.
const COLOURS = { page: '#fefefe', ink: '#010101', soft: '#020202', line: '#030303', ours: '#040404', webgpu: '#050505', wasm: '#060606' };
const LIGHT = { page: '#ffffff', ink: '#1d1c1a', soft: '#5f5b53', line: '#d8d4cb', ours: '#0b8073', webgpu: '#4b74c4', wasm: '#b78330' };
const DARK = { page: '#161716', ink: '#eeece7', soft: '#aaa69d', line: '#3b3d3b', ours: '#4cc0b2', webgpu: '#83a7ee', wasm: '#d9a856' };

/** A bar for each runtime's median, a line from its fastest run to its slowest, on a logarithmic scale. */
export async function chart({ rows, network, size, adapter }) {
  const answered = rows.filter(({ status }) => status === 'ok');
  const values = answered.map((row) => ({
    runtime: label(row),
    kind: row.ours ? 'this package' : row.backend,
    median: row.medianMs,
    min: row.minMs,
    max: row.maxMs,
    text: `${Math.round(row.medianMs).toLocaleString('en-US')} ms`,
  }));
  const least = 10 ** Math.floor(Math.log10(Math.min(...values.map(({ min }) => min))));
  const y = { field: 'runtime', type: 'nominal', sort: { field: 'median' }, title: null };
  const x = { type: 'quantitative', scale: { type: 'log', domainMin: least }, title: 'ms a photo, median of later runs (logarithmic)' };
  const spec = {
    title: {
      text: `${network === 'xception' ? 'Xception' : 'Inception V3'} at ${size}×${size} in one browser`,
      subtitle: `adapter: ${adapter}`,
      anchor: 'start',
    },
    data: { values },
    width: 480,
    height: { step: 26 },
    encoding: { y },
    layer: [
      {
        mark: { type: 'bar', height: { band: 0.7 } },
        encoding: {
          x: { ...x, field: 'median' },
          x2: { datum: least },
          color: {
            field: 'kind',
            title: null,
            scale: { domain: ['this package', 'webgpu', 'wasm'], range: [COLOURS.ours, COLOURS.webgpu, COLOURS.wasm] },
          },
        },
      },
      { mark: { type: 'rule', color: COLOURS.ink }, encoding: { x: { ...x, field: 'min' }, x2: { field: 'max' } } },
      {
        mark: { type: 'text', align: 'left', dx: 6, color: COLOURS.ink },
        encoding: { x: { ...x, field: 'max' }, text: { field: 'text' } },
      },
    ],
    config: {
      background: COLOURS.page,
      padding: 12,
      font: 'system-ui, sans-serif',
      view: { stroke: null },
      axis: {
        labelColor: COLOURS.ink,
        titleColor: COLOURS.soft,
        gridColor: COLOURS.line,
        domainColor: COLOURS.line,
        tickColor: COLOURS.line,
        labelLimit: 0,
        labelFontSize: 12,
      },
      legend: { labelColor: COLOURS.ink, orient: 'top', labelFontSize: 12 },
      title: { color: COLOURS.ink, subtitleColor: COLOURS.soft },
    },
  };
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  return styled(await view.toSVG());
}

/** Gives the colours names that a style sheet inside the SVG gives values to. */
function styled(svg) {
  const variables = (colours) =>
    Object.entries(colours)
      .map(([name, value]) => `--${name}: ${value};`)
      .join(' ');
  const style = `<style>:root { ${variables(LIGHT)} } @media (prefers-color-scheme: dark) { :root { ${variables(DARK)} } }</style>`;
  const named = Object.entries(COLOURS).reduce(
    (text, [name, colour]) => text.replaceAll(new RegExp(`(fill|stroke)="${colour}"`, 'g'), (_, property) => `style="${property}: var(--${name})"`),
    svg,
  );
  return named.replace(/<svg[^>]*>/, (start) => `${start}${style}`);
}
