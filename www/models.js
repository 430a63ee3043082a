// Models: the list, the one that is loaded (in a worker, with progress and cancellation), and the browser's cache.
import { clearCache, listCached, Xception } from 'xception-webgpu';
import { $, megabytes, status, write } from './dom.js';
import { hint } from './messages.js';

const LIST = 'models/index.json';
const NONE = 'there is no model yet: drop a weights file on this page first';

/** Options of loading: each is a `select` with the option's name. */
const CHOICES = ['dtype', 'backend'];

/** The loaded model, its source (`{ name, url or file, integrity?, bytes? }`), its options and its load time. */
export let current;

/** That model with classes that were taught, while these answer in place of its own. */
export let taught;

/** The sources of all models that were loaded on this page, and their options, the last one last. */
export const opened = new Map();

/** Called with an error and the name of its file. */
let fail;
/** Called when a model is loaded. */
let arrived;
/** Called when other classes answer than before. */
let changed;
let list = [];
/** The model to fetch with the first photo: it is large, and on another site. */
let offered;
/** The model to reload when an option changes. */
let wanted;
const address = new URLSearchParams(location.search);
/** `?profile` runs the model on the page's thread and writes each photo into the performance panel; `?profile=loop` repeats the photo. */
export const profiled = address.get('profile');
let started;
let loading = Promise.resolve();
let stop;
/** Why there is no model, while there is none. */
let missing = { message: NONE };

/** Reads the list of models and loads the first, unless that is a large download. */
export function start(onFail, onArrive, onChange) {
  [fail, arrived, changed] = [onFail, onArrive, onChange];
  started = begin();
  return started;
}

async function begin() {
  // A host may answer with an HTML page where there is no list.
  const answer = fetch(LIST, { cache: 'no-cache' }).then((response) => (response.ok ? response.json() : []));
  const found = await answer.catch(() => []);
  // docs/models.schema.json says more.
  list = Array.isArray(found) ? found.filter((entry) => typeof entry?.name === 'string' && addressOf(entry)) : [];
  if (list.length !== found.length) fail(LIST, { message: 'it must be an array of models, each with its name and url: the others are left out' });
  await showList();
  if (!list.length) return status('No model: drop a weights file on this page.');
  const [first] = list;
  const isHere = addressOf(first).origin === location.origin || (await isKept(first));
  if (isHere) {
    use(first);
    return;
  }
  offered = first;
  status(`Ready for a photo. ${first.name} (${megabytes(first.bytes)}) is fetched from ${addressOf(first).host} then.`);
}

/** Loads a model. The previous one stays until then, and stays if loading fails. */
export function use(source) {
  offered = undefined;
  wanted = source;
  stop?.abort();
  const abort = new AbortController();
  stop = abort;
  loading = loading.then(() => load(source, abort.signal));
  return loading;
}

/** The model, once it is loaded, with the classes that were taught if there are any; rejects with the reason if there is none. */
export async function ready() {
  await own();
  return taught ?? current;
}

/** The model with its own classes. */
export async function own() {
  await started;
  if (offered) use(offered);
  await loading;
  if (!current) throw missing;
  return current;
}

/** Lets classes that were taught answer, a head or its file; or the model's own again. */
export async function teach(head) {
  const { model } = await own();
  const other = head && (await model.withHead(head));
  answerBy(other && { ...current, model: other, info: other.info, head });
  void showInfo();
  changed();
}

function answerBy(other) {
  taught = other;
  $('own-classes').setAttribute('aria-pressed', String(Boolean(taught)));
}

async function load(source, signal) {
  const { name, url, file, integrity } = source;
  const began = performance.now();
  const choices = Object.fromEntries(CHOICES.map((id) => [id, $(id).value]));
  wait(true);
  status(`Loading ${name}…`);
  try {
    let since;
    const onProgress = (progress) => {
      since ??= performance.now();
      showProgress(name, progress, since);
    };
    const where = { ...choices, profile: profiled !== null, worker: profiled === null };
    const model = await Xception.load({ weights: file ?? url, integrity, ...where, onProgress, signal });
    model.addEventListener('devicelost', ({ detail }) => status(`The GPU was lost (${detail.reason}): loading the model again…`));
    model.addEventListener('restored', ({ detail }) => {
      // Otherwise it is about to be shown.
      if (current?.model === model) {
        Object.assign(current, { info: model.info, wasLost: true });
        arrived();
        void showInfo();
      }
      status(detail.backend === 'cpu' ? 'The GPU was lost too often: the CPU computes now. Ready for a photo.' : 'The GPU is back. Ready for a photo.');
    });
    await current?.model.dispose();
    answerBy(undefined);
    current = { model, source, choices, info: model.info, loadTime: performance.now() - began };
    opened.delete(source);
    opened.set(source, where);
    arrived();
    await showInfo();
    await showList();
    // The file is written to the cache in the background.
    setTimeout(showList, 2000);
    status('Ready for a photo.');
  } catch (error) {
    if (error.code === 'aborted')
      return status(current ? `Cancelled. ${current.source.name} is ready for a photo.` : 'Cancelled. No model: choose one under Model.');
    const noGpu = ['no-webgpu', 'no-adapter'].includes(error.code);
    missing = noGpu ? error : { message: NONE };
    fail(name, error);
    goBack();
    const advice = noGpu ? 'there is no GPU for it. Choose the CPU under Model.' : 'drop a weights file on this page.';
    status(current ? 'Ready for a photo.' : `No model: ${advice}`);
  } finally {
    wait(false);
  }
}

/** Shows the options of the current model again, after a load that failed. */
function goBack() {
  if (!current) return;
  wanted = current.source;
  for (const id of CHOICES) $(id).value = current.choices[id];
}

function wait(on) {
  $('waiting').hidden = !on;
  $('rest').textContent = '';
}

/** `since` is the time of the first bytes. */
function showProgress(name, { phase, loaded, total, fromCache }, since) {
  const bar = $('progress');
  if (total) bar.value = loaded / total;
  else bar.removeAttribute('value');
  if (phase === 'convert') return status(`Converting ${name}…`);
  if (loaded === total) return status(`Preparing ${name}…`);
  status(`Loading ${name}${fromCache ? ' from the cache' : ''}…`);
  const passed = (performance.now() - since) / 1000;
  const seconds = passed * (total / loaded - 1);
  // The first second is no good estimate.
  const rest = passed > 1 && seconds > 1 ? `, ${Math.round(seconds)} s left` : '';
  $('rest').textContent = `${megabytes(loaded)}${total ? ` of ${megabytes(total)}` : ''}${rest}`;
}

async function showInfo() {
  const { source, info, loadTime, wasLost } = current;
  const { inputSize, output, outputs, classes, dtype, bytes, backend, reason, adapter, assumed } = info;
  const size = source.file?.size ?? source.bytes;
  // The package has no name of a GPU that hides it; the browser may know one.
  const name = adapter.replace(/^CPU: /, '') || (await Xception.isSupported()).adapter || 'without a name';
  const parts = [
    !taught && what(output, outputs, classes),
    `input ${inputSize.join('×')}`,
    size && `${megabytes(size)} of weights`,
    `${megabytes(bytes)} in memory as ${dtype}`,
    `loaded in ${(loadTime / 1000).toFixed(1)} s`,
    `computed on the ${backend === 'cpu' ? 'CPU' : 'GPU'} (${name})${reason && `: ${reason}`}`,
  ];
  // There is a GPU where one was lost.
  $('hint').hidden = !reason || wasLost;
  if (reason) write($('hint'), hint());
  if (taught) parts.unshift(`${taught.info.classes} classes of your own`);
  $('model').textContent = `${source.name}: ${parts.filter(Boolean).join(', ')}`;
  const untold = assumed.map(({ name, value }) => `${name} ${value}`).join(', ');
  $('assumed').textContent = untold && `Assumed, as the file does not tell: ${untold}.`;
}

/** The outputs of a model, in words. */
function what(output, outputs, classes) {
  if (output === 'features') return `${outputs} features`;
  if (output === 'linear') return outputs === 1 ? 'a number' : `${outputs} numbers`;
  return `${classes} classes${output === 'sigmoid' && outputs > 1 ? ', each by itself' : ''}`;
}

/** The address of a model's file; of one on the hub that of its repository's files. None where it is no address. */
function addressOf({ url }) {
  const [, repository] = /^hf:(?:\/\/)?([^/@]+\/[^/@]+)/.exec(url) ?? [];
  const address = repository ? `https://huggingface.co/${repository}/resolve/` : url;
  return URL.canParse(address, location.href) && typeof url === 'string' ? new URL(address, location.href) : undefined;
}

async function isKept(source) {
  const { href } = addressOf(source);
  return (await listCached()).find(({ url }) => (href.endsWith('/resolve/') ? url.startsWith(href) : url === href));
}

/** The list of models, each with its size and whether it is cached. */
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
  choose.textContent = [source.name, bytes && megabytes(bytes), kept && 'cached'].filter(Boolean).join(' · ');
  choose.addEventListener('click', () => use(source));
  item.append(choose);
  if (source.license) item.append(Object.assign(document.createElement('span'), { className: 'soft', textContent: source.license }));
  if (!kept) return item;
  const remove = document.createElement('button');
  remove.type = 'button';
  remove.className = 'small';
  remove.textContent = 'Delete';
  remove.setAttribute('aria-label', `Delete the cached file of ${source.name}`);
  remove.addEventListener('click', async () => {
    await clearCache(kept.url);
    await showList();
    $('models').querySelector('button')?.focus();
  });
  item.append(remove);
  return item;
}

/** The sample photos of the first model in the list, if any. */
export const samples = () => list[0]?.samples ?? [];

$('cancel').addEventListener('click', () => {
  wanted = undefined;
  goBack();
  stop?.abort();
});
for (const id of CHOICES) $(id).addEventListener('change', () => wanted && use(wanted));
// Only a GPU's passes are profiled.
const backend = profiled === null ? address.get('backend') : 'webgpu';
for (const option of $('backend').options) if (option.value === backend) option.selected = true;
