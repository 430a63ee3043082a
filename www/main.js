// The demo page: photos in, answers out. It uses only the package's public API.
import { answer, ROWS, summary } from './answer.js';
import { startCamera, stopCamera } from './camera.js';
import { $, status, write } from './dom.js';
import { Gallery } from './gallery.js';
import { cameraWords, words } from './messages.js';
import * as models from './models.js';
import { copies, copyable, showAnswer, showHeat, showTimings } from './result.js';
import { SAMPLES } from './samples.js';
import * as views from './views.js';

const gallery = new Gallery(show);
/** The photo that is shown, and the time of the first photo with a model. */
let shown;
let first = {};
/** The class to explain. */
let wanted;

/** Shows an error after the name of its file; the next file clears it. */
function fail(name, error) {
  const line = document.createElement('p');
  write(line, words(error, name));
  $('sentences').append(line);
  $('error').hidden = false;
}

function forget() {
  $('sentences').replaceChildren();
  $('error').hidden = true;
}

/** Replaces the photos by others, each `{ name, blob }`. */
function take(photos) {
  if (!photos.length) return;
  stopCamera();
  forget();
  views.go('photo');
  for (const photo of gallery.replace(photos)) classify(photo);
  show(gallery.photos[0]);
}

async function classify(photo) {
  try {
    const { model } = await models.ready();
    Object.assign(photo, await answer(model, photo.blob, { signal: photo.signal }));
    if (first.model !== model) first = { model, total: photo.timings.total };
  } catch (error) {
    if (error.code === 'aborted') return;
    photo.failed = true;
    fail(photo.name, error);
  }
  gallery.update(photo);
  if (photo === shown) show(photo);
}

/** Shows a photo with its result so far. */
function show(photo) {
  if (shown !== photo) {
    const image = $('photo');
    image.src = photo.url;
    image.alt = photo.name;
    showHeat();
  }
  shown = photo;
  $('invite').hidden = !photo.failed;
  $('frame').hidden = Boolean(photo.failed);
  $('photo').hidden = false;
  const { name, predictions, timings } = photo;
  isThere(predictions ? 'answer' : photo.failed ? 'nothing' : 'photo');
  showAnswer(photo, (prediction) => explain(photo, prediction));
  showTimings(timings, first.total);
  offer();
  if (predictions) status(`${name}: ${summary(photo)}`);
  else status(photo.failed ? 'Ready for a photo.' : `Looking at ${name}…`);
}

/** Makes room for what is there: `nothing`, a `photo` whose answer comes, or an `answer`. */
function isThere(what) {
  $('looking').dataset.there = what;
}

/** Enables the controls that the shown answer and the current model allow; where one is not, the text beside it tells what it needs. */
function offer() {
  for (const id of ['copy-json', 'copy-code']) $(id).disabled = !shown?.predictions;
  const photo = shown?.predictions ? '' : 'Give it a photo first.';
  const onCpu = models.current?.info.backend === 'cpu';
  const needs = { compare: photo, time: onCpu ? "Only a GPU's passes are timed: choose the GPU under Model." : photo };
  for (const [id, need] of Object.entries(needs)) {
    $(id).disabled = Boolean(need);
    $(id).nextElementSibling.textContent = need;
  }
  const { classes, outputs, output } = (models.taught ?? models.current)?.info ?? {};
  $('looking').style.setProperty('--rows', output === 'linear' ? Math.min(ROWS, outputs) : Math.min(ROWS, classes || ROWS));
}

/** Shows the class activation map of a class. */
async function explain(photo, prediction) {
  wanted = prediction;
  if (!prediction) return showHeat();
  try {
    const { model } = await models.ready();
    const map = await model.explain(photo.blob, { classIndex: prediction.index, signal: photo.signal });
    if (photo === shown && wanted === prediction) showHeat(map);
  } catch (error) {
    if (error.code !== 'aborted') fail(photo.name, error);
  }
}

$('time').addEventListener('click', async () => {
  const photo = shown;
  try {
    const { showProfile } = await import('./profile.js');
    const { model } = await models.ready();
    await showProfile(model, photo.blob);
  } catch (error) {
    fail(photo.name, error);
  }
});

$('compare').addEventListener('click', async () => {
  const photo = shown;
  try {
    await models.ready();
    const { compareNetworks } = await import('./networks.js');
    await compareNetworks(models.opened, photo.blob);
  } catch (error) {
    fail(photo?.name ?? 'Compare', error);
  }
});

/** Recomputes the shown photo in each frame, for tools that capture a frame. */
async function loop() {
  const { model } = await models.ready();
  if (shown?.predictions) await answer(model, shown.blob).catch(() => {});
  requestAnimationFrame(loop);
}

async function fetchPhoto(url, name) {
  forget();
  isThere('photo');
  showAnswer({});
  try {
    const response = await fetch(url).catch((cause) => {
      const code = 'fetch';
      const message = 'the server is out of reach, or does not let this page read it (CORS): save the photo and drop it here';
      throw Object.assign(new Error(message, { cause }), { code });
    });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    take([{ name, blob: await response.blob() }]);
  } catch (error) {
    fail(name, error);
    if (shown) show(shown);
    else isThere('nothing');
  }
}

/** The view in which classes are taught. */
async function teaching() {
  const lesson = await import('./teach.js');
  lesson.open(fail);
  return lesson;
}

/** Classifies the photos again, when other classes answer. */
function again() {
  showHeat();
  for (const photo of gallery.photos) classify(photo);
}

/** Lets classes answer that were taught before. */
async function useHead(name, head) {
  forget();
  try {
    status(`Loading ${name}…`);
    await models.teach(head);
    status('Ready for a photo.');
  } catch (error) {
    status('Ready for a photo.');
    fail(name, error);
  }
}

/** Whether a file is a learned head. */
async function isHead(file) {
  return /\.safetensors$/i.test(file.name) && (await file.slice(0, 4096).text()).includes('"xception-webgpu-head"');
}

/** Weights are recognised by their file extension; the package checks the content. */
function takeFiles(files) {
  const isWeights = ({ name }) => /\.(keras|h5|hdf5|safetensors|pth|pt|ckpt|bin|p|json)$|shard\d+of\d+$/i.test(name);
  useWeights(files.filter(isWeights));
  take(files.filter((file) => !isWeights(file)).map((file) => ({ name: file.name, blob: file })));
}

for (const input of [$('file'), $('weights')]) {
  input.addEventListener('change', () => {
    const files = [...input.files];
    // Lets the same file be chosen again.
    input.value = '';
    if (input.id === 'file') return take(files.map((file) => ({ name: file.name, blob: file })));
    useWeights(files);
  });
}

/** Loads a model's file; of TensorFlow.js's several files all. */
async function useWeights(files) {
  const file = files.find(({ name }) => /\.json$/i.test(name)) ?? files[0];
  if (!file) return;
  if (await isHead(file)) return useHead(file.name, file);
  forget();
  models.use({ name: file.name, file: files.length > 1 && /\.json$/i.test(file.name) ? files : file });
}

for (const event of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  addEventListener(event, (drag) => {
    drag.preventDefault();
    document.body.classList.toggle('dragging', event === 'dragenter' || event === 'dragover');
    if (event !== 'drop') return;
    // To be asked at once.
    const folders = [...drag.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry?.isDirectory);
    if (folders.length) {
      views.go('teach');
      teaching()
        .then(({ takeFolders }) => takeFolders(folders))
        .catch((error) => fail('Folder', error));
    } else takeFiles([...drag.dataTransfer.files]);
  });
}

addEventListener('paste', (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) takeFiles(files);
  else if (event.target.id !== 'url' && URL.canParse(event.clipboardData.getData('text'))) {
    open(event.clipboardData.getData('text'));
  }
});

function open(url) {
  fetchPhoto(url, new URL(url).pathname.split('/').at(-1) || url);
}

$('address').addEventListener('submit', (event) => {
  event.preventDefault();
  open($('url').value);
});

/** Stops the camera; false if it was not on. */
function leaveCamera() {
  if (!stopCamera()) return false;
  isThere('nothing');
  status('Ready for a photo.');
  return true;
}

$('camera').addEventListener('click', async () => {
  if (leaveCamera()) return;
  forget();
  try {
    const { model } = await models.ready();
    gallery.replace([]);
    showHeat();
    await startCamera(model, (answer, rate) => {
      // Leave was given after another view was chosen.
      if (views.name() !== 'photo') return leaveCamera();
      isThere('answer');
      showAnswer(answer);
      showTimings(answer.timings);
      status(`${summary(answer)}, ${rate.toFixed(1)} photos a second`);
    });
  } catch (error) {
    stopCamera();
    fail('Camera', { ...error, message: cameraWords(error) });
  }
});

$('opacity').addEventListener('input', () => ($('heat').style.opacity = $('opacity').value));
$('heat').style.opacity = $('opacity').value;
$('dismiss').addEventListener('click', forget);
for (const id of ['dtype', 'backend']) $(id).addEventListener('change', forget);
copies('copy-json', () => copyable(shown, models.taught ?? models.current).json);
copies('copy-code', () => copyable(shown, models.taught ?? models.current).code);

function offerSamples(samples) {
  const button = ({ url, small = url, name }) => {
    const item = document.createElement('li');
    const element = Object.assign(document.createElement('button'), { type: 'button' });
    const image = Object.assign(new Image(88, 88), { src: small, alt: `Sample: ${name}`, loading: 'lazy' });
    element.append(image);
    element.addEventListener('click', () => fetchPhoto(url, name));
    item.append(element);
    return item;
  };
  $('samples').replaceChildren(...samples.map(button));
}

function showCredits() {
  const line = ({ name, credit, link }) => {
    const item = document.createElement('li');
    item.append(`${name}: `, Object.assign(document.createElement('a'), { textContent: credit, href: link }));
    return item;
  };
  $('credits').replaceChildren(...SAMPLES.map(line));
}

offerSamples(SAMPLES);
showCredits();
// The page's policy has Trusted Types, by which this address alone is a script's.
const script = globalThis.trustedTypes?.createPolicy('page', { createScriptURL: () => 'sw.js' }).createScriptURL('') ?? 'sw.js';
navigator.serviceWorker?.register(script).catch(() => {
  // Without a service worker the page works, but not offline.
});
/** A head that somebody has published, for this model; another view has another address. */
const published = new URLSearchParams(location.hash.slice(1)).get('head');
views.start((view) => {
  // A camera that nobody sees is off.
  if (view !== 'photo') leaveCamera();
  if (view !== 'teach') $('close-burst').click();
  if (view === 'teach') teaching().catch((error) => fail('Teaching', error));
  if (view === 'compare')
    import('./networks.js').then(
      ({ showNetworks }) => showNetworks(),
      (error) => fail('Compare', error),
    );
});
offer();
await models.start(fail, offer, again);
if (published) void useHead(published, published);
const own = models.samples().map((url) => ({ url, name: url.split('/').at(-1) }));
if (own.length) offerSamples(own);
if (models.profiled === 'loop') loop();
