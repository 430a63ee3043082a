// Writes tests/data/nsfwjs.json: what TensorFlow.js answers to the test image by the Inception V3 of npm's nsfwjs.
//
//     npm install --no-save @tensorflow/tfjs@4 && node tools/make_nsfwjs.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { extract, pattern } from '../tests/e2e/nsfwjs.mjs';

const folder = 'target/golden/nsfwjs';
const [json, ...shards] = extract(folder).map((name) => readFileSync(`${folder}/${name}`));
const { modelTopology, weightsManifest } = JSON.parse(json);
const weightData = Uint8Array.from(Buffer.concat(shards)).buffer;
const model = await tf.loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs: weightsManifest[0].weights, weightData }));
const rgb = Float32Array.from(
  pattern(299).filter((_, at) => at % 4 < 3),
  (level) => level / 127.5 - 1,
);
const output = await model.predict(tf.tensor4d(rgb, [1, 299, 299, 3])).data();
writeFileSync('tests/data/nsfwjs.json', `${JSON.stringify({ made_by: `tools/make_nsfwjs.mjs, TensorFlow.js ${tf.version.tfjs}`, output: [...output] })}\n`);
