// Every runtime side by side: each is loaded and warmed in a frame of its own, then they take turns.
import { folderOf } from './folder.js';
import { runtimes } from './runtimes.js';
import { label, summary } from './table.js';

/** A call that takes longer than this has failed. */
const PATIENCE = 300_000;

/** `|a − b| ≤ atol + rtol·|b|` for logits, `|a − b| ≤ atol` for probabilities, b being Keras's. */
const TOLERANCE = { atol: 1e-3, rtol: 1e-3 };

/**
 * Compares the runtimes whose ids contain one of `only`, in turns, `runs` of them; one that has taken `seconds` sits the
 * next ones out. `say` is called with what happens, `show` with the results so far.
 */
export async function compare({ network, size, runs, seconds, threads, only = [] }, { say, show }) {
  const models = `/bench/models/${folderOf(network, size)}`;
  const golden = await (await fetch(`${models}/golden.json`)).json();
  const chosen = runtimes(threads).filter(({ id }) => only.length === 0 || only.some((part) => id.includes(part)));
  if (chosen.length === 0) throw new Error(`no runtime is called ${only.join(' or ')}`);
  const results = { ...(await surroundings()), network, size, photo: golden.photo, keras: golden.keras, runs, seconds, tolerance: TOLERANCE };
  const entries = [];
  const update = () => show({ ...results, rows: entries.map(({ row }) => row) });
  for (const runtime of chosen) {
    say(`${label(runtime)}: loading`);
    entries.push(await prepare(runtime, { size, models, threads }, golden));
    say(`${label(runtime)}: ${outcome(entries.at(-1).row)}`);
    update();
  }
  for (let round = 1; round <= runs; round++) {
    for (const entry of entries) {
      const { row, call } = entry;
      const last = row.runs.at(-1) ?? 0;
      const spent = row.runs.reduce((sum, ms) => sum + ms, 0);
      if (row.status !== 'ok' || (round > 1 && spent + last > seconds * 1000)) continue;
      say(`round ${round} of ${runs}: ${label(row)}`);
      await settled();
      await attempt(row, async () => {
        const { ms, dispatches, bindGroups, ...answer } = await call('classify');
        check(row, answer, golden);
        row.runs.push(ms);
        Object.assign(row, { dispatches, bindGroups });
      });
      update();
    }
  }
  for (const { row, call } of entries) {
    if (row.status !== 'ok') continue;
    await attempt(row, async () => {
      const { pipelines, gpuBytes, gpuErrors } = await call('held');
      Object.assign(row, { pipelines, gpuBytes, gpuErrors }, summary(row.runs));
    });
  }
  await addDownloads(entries);
  update();
  return { ...results, rows: entries.map(({ row }) => row) };
}

const outcome = ({ status, reason, loadMs, firstMs }) =>
  status === 'ok' ? `loaded in ${Math.round(loadMs)} ms, first answer after ${Math.round(firstMs)} ms` : `${status}: ${reason}`;

/** Loads a runtime in a frame and lets it answer once. */
async function prepare(runtime, context, golden) {
  const { id, name, backend, threads, ours, dtype } = runtime;
  const row = { id, name, backend, threads, ours, dtype, status: 'ok', runs: [], error: 0 };
  const entry = { row };
  const lacks = missing(runtime);
  if (lacks) {
    Object.assign(row, { status: 'unavailable', reason: lacks });
    return entry;
  }
  await attempt(row, async () => {
    row.version = (await (await fetch(`${runtime.package}/package.json`)).json()).version;
    const frame = Object.assign(document.createElement('iframe'), { src: '/bench/frame.html', className: 'runtime' });
    const ready = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }));
    document.body.append(frame);
    await ready;
    entry.frame = frame;
    entry.call = (method, ...args) => within(frame.contentWindow.bench[method](...args));
    row.loadMs = await entry.call('load', id, context);
    const { ms, dispatches, bindGroups, ...answer } = await entry.call('classify');
    row.firstMs = ms;
    check(row, answer, golden);
  });
  // What failed must not take memory, nor time, from the others.
  if (row.status !== 'ok') entry.frame?.remove();
  return entry;
}

function missing({ backend, threads }) {
  if (backend === 'webgpu' && !navigator.gpu) return 'this browser has no WebGPU here';
  if (threads > 1 && !crossOriginIsolated) return 'threads need a page that is cross-origin isolated';
  return undefined;
}

/** Waits until the page has painted what changed: that takes a core from runtimes which leave the page's thread free. */
async function settled() {
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
  await new Promise((resolve) => setTimeout(resolve, 50));
}

async function attempt(row, task) {
  try {
    await task();
  } catch (error) {
    Object.assign(row, { status: 'failed', reason: String(error?.message ?? error) });
  }
}

function within(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE / 1000} s`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Compares an answer with Keras's. The time of one that is wrong does not count. */
function check(row, { logits, probabilities }, golden) {
  const expected = softmax(golden.logits);
  const given = probabilities ?? softmax(logits);
  const off = (values, expected) => (values.length === expected.length ? Math.max(...expected.map((value, i) => Math.abs(values[i] - value))) : NaN);
  row.compared = logits ? 'logits' : 'probabilities';
  row.error = Math.max(row.error, off(given, expected));
  const { atol, rtol } = TOLERANCE;
  const agree = logits
    ? logits.length === expected.length && golden.logits.every((value, i) => Math.abs(logits[i] - value) <= atol + rtol * Math.abs(value))
    : row.error <= atol;
  if (!agree) Object.assign(row, { status: 'wrong', reason: `its probabilities differ from Keras's by up to ${row.error.toPrecision(2)}` });
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** What every time depends on. */
async function surroundings() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  const { vendor, architecture, device, description } = adapter?.info ?? {};
  return {
    date: new Date().toISOString(),
    browser: navigator.userAgent,
    adapter: [vendor, architecture, device, description].filter(Boolean).join(' ') || (adapter ? 'not told' : 'none'),
    features: [...(adapter?.features ?? [])].sort(),
    cores: navigator.hardwareConcurrency,
    crossOriginIsolated,
  };
}

/** Bytes of what each runtime fetched, scripts and wasm also by gzip. */
async function addDownloads(entries) {
  const sizes = new Map();
  const size = async (path) => {
    if (!sizes.has(path)) sizes.set(path, await measure(path));
    return sizes.get(path);
  };
  for (const { row, frame } of entries) {
    // What a worker fetches its page does not see.
    if (row.status !== 'ok' || (row.ours && row.backend === 'wasm')) continue;
    row.download = { runtime: 0, runtimeGzip: 0, weights: 0, files: frame.contentWindow.bench.fetched() };
    for (const path of row.download.files) {
      const { raw, gzip } = await size(path);
      if (path.startsWith('/bench/models/')) row.download.weights += raw;
      else {
        row.download.runtime += raw;
        row.download.runtimeGzip += gzip;
      }
    }
  }
}

async function measure(path) {
  const raw = await (await fetch(path)).arrayBuffer();
  if (path.startsWith('/bench/models/')) return { raw: raw.byteLength };
  const packed = await new Response(new Blob([raw]).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
  return { raw: raw.byteLength, gzip: packed.byteLength };
}
