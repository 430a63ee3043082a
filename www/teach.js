// Teaching: classes of one's own by some photos each, on the model's features. Fetched when it is opened.
import { Camera } from './burst.js';
import { $, megabytes, spoken } from './dom.js';
import { Lesson } from './lesson.js';
import { confusion, curve, wrong } from './lessonresult.js';
import * as models from './models.js';

/** Extensions of files that are taken from folders. */
const PHOTO = /\.(jpe?g|png|webp|gif|bmp|avif|hei[cf])$/i;
/** The most thumbnails of a class. */
const SHOWN = 12;

const lesson = await Lesson.open();
const camera = new Camera();
let fail;
let head;
let stop;

const element = (name, properties, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const say = (text) => ($('lesson-status').textContent = text);

/** Shows the lesson; `onFail` gets the name of a photo, and an error. */
export function open(onFail) {
  fail = onFail;
  $('lesson').hidden = false;
  show();
  void look();
}

/** The lesson as it stands. */
function show() {
  const { labels, photos, bytes, problem } = lesson;
  const focused = document.activeElement?.dataset.key;
  $('classes').replaceChildren(...labels.map(row));
  if (focused)
    $('classes')
      .querySelector(`[data-key="${CSS.escape(focused)}"]`)
      ?.focus();
  $('learn').disabled = Boolean(stop) || labels.length < 2;
  $('kept').textContent = problem
    ? `These photos are gone when the page is closed: ${problem}.`
    : photos.length
      ? `${photos.length} photos and their features are kept in this browser: ${megabytes(bytes)}.`
      : 'Photos are kept in this browser, for the next time.';
  $('forget-lesson').hidden = !labels.length;
}

/** A class: its name, how many photos, some of them, and what adds more. */
function row(label) {
  const photos = lesson.of(label);
  const files = element('input', { type: 'file', accept: 'image/*', multiple: true });
  files.addEventListener('change', () => addFiles(label, [...files.files]));
  files.dataset.key = `${label}/files`;
  const button = (text, work, name) => {
    const made = element('button', { type: 'button', className: 'small', textContent: text });
    made.setAttribute('aria-label', `${text}: ${label}`);
    made.dataset.key = `${label}/${name}`;
    made.addEventListener('click', work);
    return made;
  };
  const remove = async () => {
    await lesson.removeClass(label);
    show();
  };
  const name = element('strong', { textContent: label });
  const count = element('span', { className: 'soft', textContent: photos.length === 1 ? '1 photo' : `${photos.length} photos` });
  const choose = element('label', { className: 'button quiet small' }, 'Add photos', files);
  const tools = [choose, button('Camera', () => burst(label), 'camera'), button('Remove', remove, 'remove')];
  const item = element(
    'li',
    {},
    element('div', { className: 'tools' }, name, count, ...tools),
    element('div', { className: 'thumbnails' }, ...thumbnails(photos)),
  );
  item.addEventListener('dragover', (drag) => drag.preventDefault());
  item.addEventListener('drop', (drag) => {
    // Not the page's: there it would be classified.
    drag.preventDefault();
    drag.stopPropagation();
    document.body.classList.remove('dragging');
    void addFiles(label, [...drag.dataTransfer.files]);
  });
  return item;
}

function thumbnails(photos) {
  const pictures = photos.slice(0, SHOWN).map((photo) => {
    const picture = element('button', { type: 'button', className: 'thumbnail', title: `Remove ${photo.name}` }, thumbnail(photo));
    picture.setAttribute('aria-label', `Remove ${photo.name}`);
    picture.dataset.key = photo.id;
    picture.addEventListener('click', async () => {
      await lesson.remove(photo);
      show();
    });
    return picture;
  });
  const more = photos.length - pictures.length;
  return more > 0 ? [...pictures, element('span', { className: 'soft', textContent: `and ${more} more` })] : pictures;
}

/** A small picture of a photo, whose address ends once it is drawn. */
function thumbnail({ blob, name }) {
  const url = URL.createObjectURL(blob);
  const image = Object.assign(new Image(56, 56), { src: url, alt: name });
  const free = () => URL.revokeObjectURL(url);
  image.decode().then(free, free);
  return image;
}

/** Adds photos, each `{ label, blob, name }`, and lets the model look at them. */
async function add(photos) {
  const kept = lesson.add(photos);
  show();
  await kept;
  await look();
}

const addFiles = (label, files) => add(files.map((blob) => ({ label, blob, name: blob.name })));

/** Adds folders, each of a class: files with the names of their folders. */
async function addFolders(files) {
  const photos = files.filter(({ blob, label }) => label && PHOTO.test(blob.name));
  if (photos.length) await add(photos.map((photo) => ({ ...photo, name: photo.blob.name })));
  else say('There is no photo in that folder.');
}

/** The files in dropped folders, with the names of the folders that they lie in. */
async function filesOf(entry, label) {
  if (entry.isFile) return [{ blob: await new Promise((resolve, reject) => entry.file(resolve, reject)), label }];
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    // At most 100 at a time.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const inner of entries) files.push(...(await filesOf(inner, entry.name)));
  }
}

/** Takes folders that were dropped. */
export async function takeFolders(entries) {
  const files = [];
  for (const entry of entries) files.push(...(await filesOf(entry)));
  await addFolders(files);
}

/** Lets the model look at new photos. */
async function look() {
  if (!lesson.photos.length) return;
  try {
    const { model } = await models.own();
    if (!lesson.unseen(model.info).length) return;
    const told = (photo, error) => fail(photo.name, error);
    await lesson.look(model, told, (left) => say(left ? `Looking at photos: ${left} left…` : ''));
  } catch (error) {
    fail('Teaching', error);
  }
  show();
}

/** Ten photos by the camera. */
async function burst(label) {
  try {
    const taken = await camera.burst(label, $('burst'));
    await add(taken.map((photo) => ({ label, ...photo })));
  } catch (error) {
    fail('Camera', error);
  }
}

$('learn').addEventListener('click', async () => {
  stop = new AbortController();
  const { signal } = stop;
  $('stop-learning').hidden = false;
  show();
  try {
    const { model } = await models.own();
    const empty = lesson.labels.find((label) => !lesson.of(label).length);
    if (empty) throw new Error(`the class ${empty} has no photo: give it some, or remove it`);
    const [flip, balanced] = ['flip', 'balanced'].map((id) => $(id).getAttribute('aria-pressed') === 'true');
    await look();
    const onProgress = ({ phase, done, total }) => say(phase === 'features' ? `Looking at photos: ${total - done} left…` : `Learning: round ${done}…`);
    const options = { method: $('method').value, output: $('output').value, balanced, flip, onProgress, signal };
    const photos = lesson.inOrder;
    head = await model.learn(lesson.examples(model.info, flip), options);
    showResult(photos);
    await models.teach(head);
    say('Learned. Photos are answered with your classes now.');
  } catch (error) {
    say(error.code === 'aborted' ? 'Cancelled.' : 'Not learned.');
    if (error.code !== 'aborted') fail('Teaching', error);
  }
  stop = undefined;
  $('stop-learning').hidden = true;
  show();
});
$('stop-learning').addEventListener('click', () => stop?.abort());
for (const id of ['flip', 'balanced']) {
  $(id).addEventListener('click', () => $(id).setAttribute('aria-pressed', String($(id).getAttribute('aria-pressed') !== 'true')));
}

/** What came of learning. */
function showResult(photos) {
  const { report, labels, method } = head;
  const { right, interval, photos: count } = report.heldOut;
  const percent = (share) => `${Math.round(100 * share)} %`;
  const [low, high] = interval.map(percent);
  const what = method === 'neighbours' ? 'Each photo was classified by the others' : 'A fifth of the photos was held out, and the rest learned first';
  const share = count ? `${right} of ${count} are right, ${percent(right / count)} (95 % interval: ${low} to ${high})` : 'there were too few for that';
  const leftOut = report.leftOut.map(({ index, reason }) => `${photos[index].name} was left out: ${reason}.`).join(' ');
  $('accuracy').textContent = `${what}: ${share}. ${leftOut}`;
  $('curve').replaceChildren(...curve(report.curve));
  $('confusion').replaceChildren(...confusion(labels.map(spoken), report.heldOut.confusion));
  $('wrong').replaceChildren(...report.heldOut.wrong.map(({ index, ...one }) => wrong(thumbnail(photos[index]), photos[index].name, one)));
  $('lesson-result').hidden = false;
}

/** Offers a file to be saved. */
function download(blob, name) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$('save-head').addEventListener('click', () => download(head.save(), 'head.safetensors'));
$('save-model').addEventListener('click', async () => {
  try {
    say('Making one file of the model and your classes…');
    const { model } = await models.ready();
    download(await model.save(), 'model.safetensors');
    say('The model is saved with your classes.');
  } catch (error) {
    say('');
    fail('The whole model', error);
  }
});
$('own-classes').addEventListener('click', async () => {
  try {
    await models.teach(models.taught ? undefined : head);
  } catch (error) {
    fail('Your classes', error);
  }
});
$('share').addEventListener('submit', async (event) => {
  event.preventDefault();
  const link = new URL(location.href);
  link.hash = `head=${encodeURIComponent($('head-url').value)}`;
  try {
    await navigator.clipboard.writeText(link.href);
    say('The link is copied: whoever opens it gets your classes.');
  } catch {
    say(link.href);
  }
});
$('new-class').addEventListener('submit', (event) => {
  event.preventDefault();
  lesson.addClass($('class-name').value.trim());
  $('class-name').value = '';
  show();
});
$('folders').addEventListener('change', () => {
  const files = [...$('folders').files].map((blob) => ({ blob, label: blob.webkitRelativePath.split('/').at(-2) }));
  $('folders').value = '';
  void addFolders(files);
});
$('forget-lesson').addEventListener('click', async () => {
  await lesson.clear();
  head = undefined;
  $('lesson-result').hidden = true;
  await models.teach();
  say('All photos are deleted.');
  show();
});
