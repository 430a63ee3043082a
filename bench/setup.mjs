// Sets up `npm run bench`, beyond the set-up of everything else: the runtimes, Keras with the converters, and the model in
// every runtime's format. Every step is skipped where it is done already.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { convert, isCurrent } from '../scripts/model.mjs';
import { debian, run, stop } from '../scripts/shell.mjs';
import { extract } from '../tests/e2e/nsfwjs.mjs';
import { folderOf } from './folder.js';

const windows = process.platform === 'win32';
const REQUIREMENTS = 'bench/requirements.txt';
const TFJS_CONVERTER = 'tensorflowjs==4.22.0';
const TOOL = 'tools/bench_models.py';

const isDone = (stamp, content) => existsSync(stamp) && readFileSync(stamp, 'utf8') === content;

/** Keras and the converters, in an environment of their own; returns its Python. */
function python() {
  const environment = 'bench/.venv';
  const own = windows ? join(environment, 'Scripts/python.exe') : join(environment, 'bin/python3');
  const wanted = `${readFileSync(REQUIREMENTS, 'utf8')}${TFJS_CONVERTER}\n`;
  const stamp = join(environment, 'setup');
  if (isDone(stamp, wanted)) return own;
  const usable = 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))';
  const advice = spawnSync('python3', ['-c', usable]).status === 0 ? undefined : debian('python3-venv');
  if (advice) stop(`Converting the model takes Python 3.10 or newer with venv: ${advice}.`);
  console.log('Installing Keras and the converters from PyPI (2 GB on the disk)…');
  run('python3', ['-m', 'venv', '--clear', environment]);
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
  run(own, [...pip, '-r', REQUIREMENTS]);
  run(own, [...pip, '--no-deps', TFJS_CONVERTER]);
  writeFileSync(stamp, wanted);
  return own;
}

/** A network's model for photos of `size` pixels, in every runtime's format. */
export async function models(network, size) {
  const folder = `bench/models/${folderOf(network, size)}`;
  const stamp = join(folder, 'setup');
  const hash = createHash('sha256');
  for (const file of [TOOL, REQUIREMENTS]) hash.update(readFileSync(file));
  const wanted = hash.digest('hex');
  if (!isDone(stamp, wanted)) {
    if (network === 'inception_v3') extract('bench/models/nsfwjs');
    console.log(`Converting the model of ${network} at ${size}×${size} for each runtime (a minute)…`);
    run(python(), [TOOL, folder, size]);
  }
  for (const dtype of ['f32', 'f16']) {
    const output = `${folder}/model.${dtype}.safetensors`;
    const license = 'not stated: do not pass it on';
    if (!isDone(stamp, wanted) || !isCurrent(output)) await convert(readFileSync(`${folder}/model.keras`), output, { dtype, license });
  }
  writeFileSync(stamp, wanted);
}
