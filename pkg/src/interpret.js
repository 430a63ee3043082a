/**
 * Diagnostics of the uploaded image: class activation maps, activations, profiles. Fetched on demand. `read` starts the work and resolves
 * with its result.
 */

import { lazyImport, XceptionError } from './errors.js';

/** A class activation map: `ClassMap` without its colours. */
export async function explain({ model, info, size, read, lap, timings }, { classIndex, fit }) {
  const { classes, layers } = info;
  const [predictions] = await read(() => model.start(classes));
  const prediction = predictions.find(({ index }) => index === (classIndex ?? index));
  const values = await read(() => model.explain(classIndex ?? prediction.index));
  const [height, width] = layers[layers.findIndex(({ name }) => name === 'avg_pool') - 1].shape;
  timings.inference = lap();
  timings.total = timings.decode + timings.preprocess + timings.inference;
  return { prediction, width, height, values, region: model.region(size.width, size.height, fit), timings };
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
