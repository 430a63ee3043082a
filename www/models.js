// The model: which ones there are, one of them loaded in a worker, with progress and a way to stop; and what the browser keeps.
import { Xception, clearCache, listCached } from 'xception-webgpu';
import { $, megabytes, status } from './dom.js';

const LIST = 'models/index.json';
const NONE = 'there is no model yet: drop a weights file on this page first';

/** What is loaded: the model, its source (`{ name, url or file, integrity?, bytes? }`), and how long the first photo took. */
export let current;

/** Called with what went wrong and the name of what it is about. */
let fail = () => {};
let list = [];
/** The one that will be fetched when a photo comes: it is large, and on another site. */
let offered;
/** `?profile` writes photos into the performance panel, of which the page's own thread is then; `?profile=loop` repeats them. */
export const profiled = new URLSearchParams(location.search).get('profile');
/** What the browser tells of the GPU. */
let gpu = '';
let started;
let loading = Promise.resolve();
let stop;
/** Why there is no model, as long as there is none. */
let missing = { message: NONE };

/** Reads the list of models and begins to load the first, if that costs nobody anything. */
export function start(onFail) {
  fail = onFail;
  started = begin();
  return started;
}

async function begin() {
  const { ok, reason, adapter } = await Xception.isSupported();
  gpu = adapter;
  if (!ok) {
    missing = { code: navigator.gpu ? 'no-adapter' : 'no-webgpu', message: reason };
    fail('', missing);
    status('This browser cannot run the model.');
    return;
  }
  // A host may answer with a page of its own where there is no list.
  const answer = fetch(LIST, { cache: 'no-cache' }).then((response) => (response.ok ? response.json() : []));
  list = await answer.catch(() => []);
  await showList();
  if (!list.length) return status('No model: drop a weights file on this page.');
  const [first] = list;
  const isHere = new URL(first.url, location.href).origin === location.origin || (await isKept(first));
  if (isHere) {
    use(first);
    return;
  }
  offered = first;
  status(`Ready for a photo. ${first.name} (${megabytes(first.bytes)}) is fetched from ${new URL(first.url).host} then.`);
}

/** Loads a model; what was loaded before stays until then, and where it fails. */
export function use(source) {
  offered = undefined;
  stop?.abort();
  const abort = new AbortController();
  stop = abort;
  loading = loading.then(() => load(source, abort.signal));
  return loading;
}

/** The model, once it is there; rejects with the reason where there is none. */
export async function ready() {
  await started;
  if (offered) use(offered);
  await loading;
  if (!current) throw missing;
  return current;
}

async function load(source, signal) {
  const { name, url, file, integrity } = source;
  const began = performance.now();
  const dtype = $('dtype').value;
  wait(true);
  status(`Loading ${name}…`);
  try {
    const onProgress = (progress) => showProgress(name, progress, began);
    const model = await Xception.load({ weights: file ?? url, integrity, dtype, onProgress, signal, profile: profiled !== null, worker: profiled === null });
    model.addEventListener('devicelost', ({ detail }) => status(`The GPU was lost (${detail.reason}): loading the model again…`));
    model.addEventListener('restored', () => status('The GPU is back. Ready for a photo.'));
    await current?.model.dispose();
    current = { model, source, info: model.info, loadTime: performance.now() - began };
    showInfo();
    await showList();
    // The browser keeps the file in the background.
    setTimeout(showList, 2000);
    status('Ready for a photo.');
  } catch (error) {
    if (error.code === 'aborted') return status(current ? `Cancelled. ${current.source.name} is ready for a photo.` : 'Cancelled. No model: choose one below.');
    missing = error.code === 'no-adapter' ? error : { message: NONE };
    fail(name, error);
    status(current ? 'Ready for a photo.' : 'No model: drop a weights file on this page.');
  } finally {
    wait(false);
  }
}

function wait(on) {
  $('progress').hidden = !on;
  $('cancel').hidden = !on;
  $('rest').textContent = '';
}

function showProgress(name, { phase, loaded, total, fromCache }, began) {
  const bar = $('progress');
  if (total) bar.value = loaded / total;
  else bar.removeAttribute('value');
  if (phase === 'convert') return status(`Converting ${name}…`);
  if (loaded === total) return status(`Bringing ${name} to the GPU…`);
  status(`Loading ${name}${fromCache ? ' from the cache' : ''}…`);
  const seconds = ((performance.now() - began) / 1000) * (total / loaded - 1);
  const rest = seconds > 1 ? `, ${Math.round(seconds)} s left` : '';
  $('rest').textContent = `${megabytes(loaded)}${total ? ` of ${megabytes(total)}` : ''}${rest}`;
}

function showInfo() {
  const { source, info, loadTime } = current;
  const { inputSize, classes, dtype, gpuBytes, adapter } = info;
  const bytes = source.file?.size ?? source.bytes;
  const parts = [
    `${classes} classes`,
    `input ${inputSize.join('×')}`,
    bytes && `${megabytes(bytes)} of weights`,
    `${megabytes(gpuBytes)} on the GPU as ${dtype}`,
    adapter || gpu || 'a GPU without a name',
    `loaded in ${(loadTime / 1000).toFixed(1)} s`,
  ];
  $('model').textContent = `${source.name}: ${parts.filter(Boolean).join(', ')}`;
}

async function isKept({ url }) {
  const { href } = new URL(url, location.href);
  return (await listCached()).find((kept) => kept.url === href);
}

/** The list of models, each with its size and whether the browser keeps it. */
async function showList() {
  const rows = await Promise.all(list.map(async (source) => [source, await isKept(source)]));
  $('models').replaceChildren(...rows.map(([source, kept]) => row(source, kept)));
}

function row(source, kept) {
  const item = document.createElement('li');
  const choose = document.createElement('button');
  choose.type = 'button';
  choose.setAttribute('aria-pressed', String(current?.source === source));
  const bytes = kept?.bytes ?? source.bytes;
  choose.textContent = [source.name, bytes && megabytes(bytes), kept && 'kept in this browser'].filter(Boolean).join(' · ');
  choose.addEventListener('click', () => use(source));
  item.append(choose);
  if (source.license) item.append(Object.assign(document.createElement('span'), { className: 'soft', textContent: source.license }));
  if (!kept) return item;
  const remove = document.createElement('button');
  remove.type = 'button';
  remove.className = 'small';
  remove.textContent = 'Delete';
  remove.setAttribute('aria-label', `Delete the kept file of ${source.name}`);
  remove.addEventListener('click', async () => {
    await clearCache(kept.url);
    await showList();
    $('models').querySelector('button')?.focus();
  });
  item.append(remove);
  return item;
}

/** The photos that go with the first model of the list, if it names some. */
export const samples = () => list[0]?.samples ?? [];

$('cancel').addEventListener('click', () => stop?.abort());
$('dtype').addEventListener('change', () => current && use(current.source));
