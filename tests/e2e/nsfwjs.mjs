// The trained Inception V3 of npm's nsfwjs as the files that a TensorFlow.js layers model has: its package has them as scripts.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { npmPackages } from '../../scripts/shell.mjs';

/** Writes model.json and its shards to a folder. */
export function extract(folder) {
  npmPackages('tests/nsfwjs');
  const require = createRequire(import.meta.url);
  const script = (name) => require(resolve(`tests/nsfwjs/node_modules/nsfwjs/dist/models/inception_v3/${name}.min.js`));
  mkdirSync(folder, { recursive: true });
  const model = script('model');
  writeFileSync(join(folder, 'model.json'), JSON.stringify(model));
  const { paths } = model.weightsManifest[0];
  for (const path of paths) writeFileSync(join(folder, path), Buffer.from(script(path), 'base64'));
  return ['model.json', ...paths];
}

/** The test image of tools/oracle.py as RGBA. */
export function pattern(side) {
  const data = new Uint8ClampedArray(4 * side * side).fill(255);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const tile = ((Math.floor(x / 9) + Math.floor(y / 7)) % 2) * 90;
      for (let c = 0; c < 3; c++) data[4 * (y * side + x) + c] = (y * 31 + x * 17 + c * 101 + ((x * y) % 53) * 5 + tile) % 256;
    }
  }
  return data;
}
