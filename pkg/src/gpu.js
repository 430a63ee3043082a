/** The GPU as a backend, fetched when it is used. */

import { compile } from './pipelines.js';
import { nameOf } from './support.js';
import { tuning } from './tuning.js';
import { free } from './wasm.js';

/** Makes room on the GPU, whose pipelines the browser compiles while the weights come. */
export async function loaderFor(header, job) {
  const { module, signal, dtype } = job;
  const gpu = await module.call(({ Backend }) => Backend.open());
  try {
    const info = gpu.device.adapterInfo;
    if (info) gpu.name = nameOf(info);
    const tuned = await tuning(gpu, header, job);
    signal.throwIfAborted();
    const loader = await module.call(({ Loader }) => Loader.create(gpu, header, dtype, tuned));
    const ready = compile(gpu.device, loader.pipelines());
    // A failing download may reject first; this promise then has no handler.
    ready.catch(() => {});
    return Object.assign(loader, { ready });
  } finally {
    free(gpu);
  }
}
