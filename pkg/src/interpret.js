/**
 * Diagnostics of the uploaded image: class activation maps, activations, profiles. Fetched on demand. `read` starts the work and resolves
 * with its result.
 */

import { lazyImport, XceptionError } from './errors.js';

/**
 * A class activation map: `ClassMap` without its colours; with a `layer` and the `weights` of its channels
 * that of a class of a learned head, whose owner adds the prediction.
 */
export async function explain({ model, info, size, read, lap, timings }, { classIndex, fit, layer, weights }) {
  const [height, width, channels] = info.features;
  let prediction, values;
  if (weights) {
    const activation = await read(() => model.activations(layer));
    const weigh = (_, place) => weights.reduce((sum, weight, channel) => sum + weight * activation[place * channels + channel], 0);
    values = Float32Array.from({ length: height * width }, weigh);
  } else {
    const predictions = info.classes ? (await read(() => model.start(info.classes)))[0] : await outputs(model, info, read);
    prediction = predictions.find(({ index }) => index === (classIndex ?? index));
    values = await read(() => model.explain(prediction.index));
  }
  timings.inference = lap();
  timings.total = timings.decode + timings.preprocess + timings.inference;
  return { prediction, exact: model.isExact(), width, height, values, region: model.region(size.width, size.height, fit), timings };
}

/** The outputs of a model without classes, in their order, as predictions. */
async function outputs(model, { labels }, read) {
  const values = await read(() => model.predict());
  return Array.from(values, (score, index) => ({ index, label: labels[index] ?? `output ${index}`, score }));
}

/** The activations of a layer. */
export async function activations({ model, info, read }, { layer }) {
  const values = await read(() => model.activations(layer));
  return { shape: info.layers.find(({ name }) => name === layer).shape, values };
}

/** Times each pass on an image: `Profile` of index.d.ts. */
export async function profile({ model, info, read }, { runs }) {
  const { adapter, backend, dtype } = info;
  if (backend === 'cpu') {
    throw new XceptionError('bad-argument', 'profile() times the passes of a GPU, and this model is on the CPU: load it with backend webgpu');
  }
  const { profile } = await lazyImport(import('./profile.js'));
  return { adapter, dtype, ...(await profile(model, dtype, () => read(() => model.start(1)), runs)) };
}
