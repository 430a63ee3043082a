// The demo: a photo in, five classes out. It knows the package by its public API only.
import { Xception } from './pkg/dist/index.js';

const MODELS = 'models/index.json';
const $ = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

let model;
let loading = Promise.resolve();
let latest = 0;
/** Why there is no model, as long as there is none. */
let missing = 'there is no model yet: drop a weights file on this page first';

function status(text) {
  $('status').textContent = text;
}

/** Shows what went wrong, with the file it is about in front; the next file takes it away. */
function fail(name, error) {
  const line = document.createElement('span');
  line.textContent = name ? `${name}: ${error.message}` : error.message;
  $('error').append(line);
  $('error').hidden = false;
}

function forget() {
  $('error').replaceChildren();
  $('error').hidden = true;
}

/**
 * Loads weights from a File, or from a URL, which then must have the hash `integrity`. A file that cannot be used leaves
 * the model that was there.
 */
function loadModel(weights, name, integrity) {
  loading = loading.then(async () => {
    const bar = $('progress');
    bar.hidden = false;
    status(`Loading ${name}…`);
    const onProgress = ({ phase, loaded, total, fromCache }) => {
      if (total) bar.value = loaded / total;
      else bar.removeAttribute('value');
      const from = fromCache ? ' from the cache' : '';
      if (phase === 'convert') status(`Converting ${name}…`);
      else status(`Loading ${name}${from}… ${megabytes(loaded)}${total ? ` of ${megabytes(total)}` : ''}`);
    };
    try {
      const loaded = await Xception.load({ weights, integrity, onProgress });
      await model?.dispose();
      model = loaded;
      const { inputSize, classes, gpuBytes, adapter } = model.info;
      $('model').textContent =
        `${name}: ${classes} classes, input ${inputSize.join('×')}, ${megabytes(gpuBytes)} on the GPU${adapter ? ` (${adapter})` : ''}`;
    } catch (error) {
      fail(name, error);
      if (error.code === 'no-adapter') missing = error.message;
    } finally {
      bar.hidden = true;
      status(model ? 'Ready for a photo.' : 'No model: drop a weights file on this page.');
    }
  });
  return loading;
}

/** Classifies a photo; of several in a row the last one's answer stays. */
async function classify(photo, name, turn = ++latest) {
  await loading;
  if (!model) return fail(name, { message: missing });
  if (turn === latest) show(photo, name);
  try {
    const { predictions, timings } = await model.classify(photo, { topK: 5 });
    if (turn !== latest) return;
    $('predictions').replaceChildren(...predictions.map(row));
    const { decode, gpu, total } = timings;
    $('timings').textContent = `${Math.round(total)} ms: decode ${Math.round(decode)}, GPU ${Math.round(gpu)}`;
    status(`${name}: ${predictions[0].label}`);
  } catch (error) {
    fail(name, error);
    if (turn !== latest) return;
    $('photo').hidden = true;
    status('Ready for a photo.');
  }
}

function show(photo, name) {
  $('predictions').replaceChildren();
  $('timings').textContent = '';
  status(`Looking at ${name}…`);
  const image = $('photo');
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(photo);
  image.alt = name;
  image.hidden = false;
}

function row({ label, score }) {
  const item = document.createElement('li');
  const [text, number, bar] = ['label', 'score', 'bar'].map((name) => {
    const span = document.createElement('span');
    span.className = name;
    return span;
  });
  text.textContent = label;
  number.textContent = percent.format(score);
  bar.style.backgroundSize = `${100 * score}% 100%`;
  item.append(text, number, bar);
  return item;
}

/** Weights are recognised by their ending; the package looks at the content. */
function take(file) {
  if (/\.(keras|h5|hdf5|safetensors)$/i.test(file.name)) loadModel(file, file.name);
  else classify(file, file.name);
}

for (const input of [$('file'), $('weights')]) {
  input.addEventListener('change', () => {
    const file = input.files[0];
    // The same file may be chosen again.
    input.value = '';
    if (!file) return;
    forget();
    if (input.id === 'weights') loadModel(file, file.name);
    else classify(file, file.name);
  });
}
for (const event of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  addEventListener(event, (drag) => {
    drag.preventDefault();
    document.body.classList.toggle('dragging', event === 'dragenter' || event === 'dragover');
    if (event !== 'drop') return;
    forget();
    for (const file of drag.dataTransfer.files) take(file);
  });
}

function offerSamples(urls) {
  const button = (url) => {
    const name = url.split('/').at(-1);
    const element = document.createElement('button');
    const image = new Image(72, 72);
    image.src = url;
    image.alt = `Sample ${name}`;
    image.loading = 'lazy';
    element.append(image);
    element.addEventListener('click', async () => {
      const turn = ++latest;
      forget();
      try {
        const response = await fetch(url);
        if (!response.ok) throw new Error(`the server answered ${response.status}`);
        await classify(await response.blob(), name, turn);
      } catch (error) {
        fail(name, error);
      }
    });
    return element;
  };
  $('samples').replaceChildren(...urls.map(button));
  $('samples').hidden = urls.length === 0;
}

async function start() {
  if (!navigator.gpu) {
    missing = 'this browser has no WebGPU: use a current Chrome, Edge, Safari or Firefox, over https or on localhost';
    fail('', { message: missing });
    return status('This browser cannot run the model.');
  }
  // A host may answer with a page of its own where there is no list.
  const list = await fetch(MODELS).then((response) => (response.ok ? response.json() : [])).catch(() => []);
  if (!list.length) return status('No model: drop a weights file on this page.');
  const [{ name, url, integrity, samples = [] }] = list;
  offerSamples(samples);
  await loadModel(url, name, integrity);
}

start();
