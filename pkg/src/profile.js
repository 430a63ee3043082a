/**
 * How long each pass takes by itself, as src/backend/gpu/profile.rs has it natively; and passes as rows of the browser's performance panel. While
 * that is measured, the device's encoders make a compute pass of each dispatch, between two timestamps; otherwise nothing differs from a
 * page that never profiles.
 */

import copy from '../../shaders/copy.wgsl';
import fma from '../../shaders/fma.wgsl';

/** The largest accepted error: the clock's step over the measured time. */
const ERROR = 0.02;

/** The most repeats of a pass in one measurement. */
const MOST_REPEATS = 4096;

/** The size of the copy that measures memory bandwidth: 64 MiB. */
const COPIED = 2 ** 26;

/** Invocations that multiply to measure arithmetic, and steps of each, of 32 multiply-accumulates. */
const INVOCATIONS = 2 ** 16;
const STEPS = 256;

/** A profile of the passes of a model, which `run` submits: `Profile` of index.d.ts without what its engine knows. */
export async function profile(model, dtype, run, runs) {
  const { device } = model;
  const [resize, passes] = [model.resizePasses(), model.passes()];
  const ceilings = await ceiling(device);
  const { clock, whole, times } = await time(device, [...resize, ...passes.map(({ label }) => label)], run, runs);
  const own = times.slice(resize.length);
  const sum = own.reduce((total, { ms }) => total + ms, 0);
  const rows = passes.map(({ flops, bytes, color, layer, ...pass }, i) => {
    const { ms, minMs } = own[i];
    const seconds = Math.max(ms, 1e-6) / 1000;
    const roofline = Math.max(flops / ceilings.flops, bytes / ceilings.bytes) / seconds;
    const [gflops, gbps] = [flops, bytes].map((amount) => amount / seconds / 1e9);
    // Activations behind the mean are always f32.
    const stored = pass.block === 'head' ? 'f32' : dtype;
    return { ...pass, dtype: stored, minMs, ms, share: ms / sum, gflops, gbps, intensity: flops / bytes, roofline };
  });
  const repeats = Math.max(...own.map(({ repeats }) => repeats));
  const totals = Object.fromEntries(['flow', 'block', 'kernel'].map((key) => [key, total(rows, key)]));
  return { clock, runs, repeats, wholeMs: whole, ceiling: ceilings, totals, passes: rows };
}

/** Number, milliseconds and share of each group of passes. */
function total(rows, key) {
  const totals = {};
  for (const row of rows) {
    const { passes, ms, share } = totals[row[key]] ?? { passes: 0, ms: 0, share: 0 };
    totals[row[key]] = { passes: passes + 1, ms: ms + row.ms, share: share + row.share };
  }
  return totals;
}

/** Writes each inference into the performance panel: a track of the GPU's passes, and one of the steps around them. */
export class Tracer {
  #timer;
  #passes;

  constructor(model) {
    const { device } = model;
    const resize = model.resizePasses().map((label) => ({ label, kernel: label, color: 'tertiary' }));
    this.#passes = [...resize, ...model.passes()];
    if (device?.features.has('timestamp-query'))
      this.#timer = new Timer(
        device,
        this.#passes.map(({ label }) => label),
      );
  }

  /** A step outside the GPU. */
  step(name, start, end) {
    measure(name, start, end, 'Xception', 'tertiary-light', []);
  }

  /** Calls `run`, which submits the network once, waits for the GPU and returns run's result. */
  async inference(run) {
    const start = performance.now();
    let result;
    const stamps = await this.#timer?.stamps(
      async () => (result = await run()),
      this.#passes.map(() => 1),
    );
    if (!stamps) return run();
    // The two clocks are aligned by the end of the last pass, which is now.
    const end = performance.now();
    const at = (stamp) => Math.max(start, end - Number(stamps.at(-1) - stamp) / 1e6);
    this.#passes.forEach(({ label, kernel, shape, grid, flops, color }, i) => {
      const [from, to] = [at(stamps[2 * i]), at(stamps[2 * i + 1])];
      const properties = [['Shader', `${kernel}.wgsl`]];
      if (shape) properties.push(['Shape', shape.join('×')], ['Workgroups', grid.join('×')]);
      if (flops && to > from) properties.push(['GFLOP/s', (flops / (to - from) / 1e6).toFixed(1)]);
      measure(label, from, to, 'Xception GPU', color, properties);
    });
    return result;
  }
}

function measure(name, start, end, track, color, properties) {
  const devtools = { dataType: 'track-entry', track, trackGroup: 'Xception', color, properties };
  performance.measure(name, { start, end: Math.max(start, end), detail: { devtools } });
}

/** Times the dispatches that `run` submits, as many as there are `labels`, in `runs` runs after one that does not count. */
async function time(device, labels, run, runs) {
  const whole = await least(3, () => wall(device, run));
  if (device.features.has('timestamp-query')) {
    const timer = new Timer(device, labels);
    try {
      const { laps, repeats } = await timer.laps(run, runs);
      const times = laps.map((lap, i) => summary(lap, repeats[i]));
      const sum = times.reduce((total, { ms }) => total + ms, 0);
      // Some clocks stand still, or tell when a pass was taken up.
      if (sum > whole / 2) return { clock: 'timestamps', whole, times };
    } finally {
      timer.destroy();
    }
  }
  const times = [];
  for (const index of labels.keys()) times.push(await byWall(device, labels, index, run, runs));
  return { clock: 'clock', whole, times };
}

/** The GPU's ceilings: floating point operations and bytes a second. */
async function ceiling(device) {
  const shortest = async (code, constants, read, written) => {
    const buffers = [read, written].map((size) => device.createBuffer({ label: 'roofline', size, usage: GPUBufferUsage.STORAGE }));
    const module = device.createShaderModule({ label: 'roofline', code });
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, constants } });
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const dispatch = (count) => () => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass({ label: 'roofline' });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < count; i++) pass.dispatchWorkgroups(written / 16 / 256);
      pass.end();
      device.queue.submit([encoder.finish()]);
    };
    await wall(device, dispatch(1));
    const [one, nine] = [await least(3, () => wall(device, dispatch(1))), await least(3, () => wall(device, dispatch(9)))];
    buffers.forEach((buffer) => buffer.destroy());
    // Clocks of browsers may be as coarse as the difference.
    return Math.max((nine - one) / 8, nine / 18) / 1000;
  };
  const copying = await shortest(copy, {}, COPIED, COPIED);
  const multiplying = await shortest(fma, { STEPS }, 16, INVOCATIONS * 16);
  return { flops: (2 * 32 * STEPS * INVOCATIONS) / multiplying, bytes: (2 * COPIED) / copying };
}

/** Milliseconds until what `run` submits is done. */
async function wall(device, run) {
  const start = performance.now();
  await run();
  await device.queue.onSubmittedWorkDone();
  return performance.now() - start;
}

async function least(count, measure) {
  let best = Infinity;
  for (let i = 0; i < count; i++) best = Math.min(best, await measure());
  return best;
}

function summary(laps, repeats) {
  const sorted = laps.toSorted((a, b) => a - b);
  return { minMs: sorted[0] / repeats, ms: sorted[sorted.length >> 1] / repeats, repeats };
}

/** One pass without timestamps: repeated for at least 20 ms, less what a submit of nothing takes. */
async function byWall(device, labels, index, run, runs) {
  const only = (repeats) =>
    split(
      device,
      labels,
      labels.map((_, i) => (i === index ? repeats : 0)),
      undefined,
      run,
    );
  await wall(device, () => only(1));
  const nothing = await least(3, () => wall(device, () => only(0)));
  let repeats = 1;
  while ((await wall(device, () => only(repeats))) - nothing < 20 && repeats < MOST_REPEATS) repeats *= 4;
  const laps = [];
  for (let i = 0; i < runs; i++) laps.push(Math.max(0, (await wall(device, () => only(repeats))) - nothing));
  return summary(laps, repeats);
}

/** Calls `run` while each dispatch of the device becomes a pass of its own, `repeats` of its place times; with timestamps into `queries`. */
async function split(device, labels, repeats, queries, run) {
  const original = device.createCommandEncoder;
  let index = 0;
  device.createCommandEncoder = (descriptor) => {
    const encoder = original.call(device, descriptor);
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = () => {
      const state = {};
      return {
        setPipeline: (pipeline) => (state.pipeline = pipeline),
        setBindGroup: (_, group) => (state.group = group),
        dispatchWorkgroups(...grid) {
          const writes = { querySet: queries, beginningOfPassWriteIndex: 2 * index, endOfPassWriteIndex: 2 * index + 1 };
          const pass = begin({ label: labels[index], timestampWrites: queries && writes });
          pass.setPipeline(state.pipeline);
          pass.setBindGroup(0, state.group);
          pass.pushDebugGroup(labels[index]);
          for (let i = 0; i < repeats[index]; i++) pass.dispatchWorkgroups(...grid);
          pass.popDebugGroup();
          pass.end();
          index += 1;
        },
        end() {},
      };
    };
    return encoder;
  };
  try {
    return await run();
  } finally {
    // The prototype's is there again.
    delete device.createCommandEncoder;
  }
}

/** Timestamps of a number of passes. */
class Timer {
  constructor(device, labels) {
    const size = 16 * labels.length;
    this.device = device;
    this.labels = labels;
    this.queries = device.createQuerySet({ label: 'timestamps', type: 'timestamp', count: 2 * labels.length });
    this.resolved = device.createBuffer({ label: 'timestamps', size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    this.staging = device.createBuffer({ label: 'timestamps, staged', size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  }

  destroy() {
    [this.queries, this.resolved, this.staging].forEach((object) => object.destroy());
  }

  /** Milliseconds of each pass in each run, repeated as often as the clock's steps need. */
  async laps(run, runs) {
    const repeats = this.labels.map(() => 1);
    // Drivers compile at the first run.
    await this.once(run, repeats);
    for (let enough = false; !enough; ) {
      const laps = await this.once(run, repeats);
      const step = Number(laps.reduce(divisor, 0n)) || 1;
      enough = true;
      laps.forEach((lap, i) => {
        if (Number(lap) * ERROR >= step || repeats[i] >= MOST_REPEATS) return;
        repeats[i] *= lap ? 4 : 16;
        enough = false;
      });
    }
    const laps = this.labels.map(() => []);
    for (let i = 0; i < runs; i++) (await this.once(run, repeats)).forEach((lap, i) => laps[i].push(Number(lap) / 1e6));
    return { laps, repeats };
  }

  /** Nanoseconds of each pass. */
  async once(run, repeats) {
    const stamps = await this.stamps(run, repeats);
    return this.labels.map((_, i) => (stamps[2 * i + 1] > stamps[2 * i] ? stamps[2 * i + 1] - stamps[2 * i] : 0n));
  }

  /** When each pass began and ended, in nanoseconds of the GPU's clock. */
  async stamps(run, repeats) {
    const { device, labels, queries, resolved, staging } = this;
    await split(device, labels, repeats, queries, run);
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(queries, 0, 2 * labels.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, staging.size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const stamps = new BigUint64Array(staging.getMappedRange().slice());
    staging.unmap();
    return stamps;
  }
}

/** The greatest common divisor: what a clock's times have in common is its step. */
function divisor(a, b) {
  while (b) [a, b] = [b, a % b];
  return a;
}
