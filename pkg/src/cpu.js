/** What computes without a GPU, and how it takes photos; it is fetched only then. */

import { Team, threads } from './team.js';
import { Module } from './wasm.js';

/** A module with one function that multiplies and adds at once, which not every browser can: `f32x4.relaxed_madd`. */
const RELAXED = [0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11];

/** Pixels of a bitmap that are in JavaScript's memory at a time. */
const BAND = 2 ** 18;

const relaxed = WebAssembly.validate(new Uint8Array(RELAXED));

/** Both kinds of vectors have the same script. */
const alone = new Module(
  () => import('../glue/cpu.js'),
  relaxed ? '../dist/cpu_relaxed_bg.wasm' : '../dist/cpu_bg.wasm',
  relaxed ? new URL('cpu_relaxed_bg.wasm', import.meta.url) : undefined,
);

/** The same with a memory that threads share. */
const shared = new Module(
  () => import('../glue/cpu_threads.js'),
  relaxed ? '../dist/cpu_threads_relaxed_bg.wasm' : '../dist/cpu_threads_bg.wasm',
  relaxed ? new URL('cpu_threads_relaxed_bg.wasm', import.meta.url) : undefined,
);

/** The threads of `shared`. */
let team;

/** The module that computes, and how it takes weights and photos. */
export async function open({ threads: asked, wasmCpu, wasmCpuThreads }) {
  const count = threads(asked);
  alone.source ??= wasmCpu;
  shared.source ??= wasmCpuThreads;
  // Whoever serves one module from elsewhere has the other there too, or none.
  const able = count > 1 && !(wasmCpu && !wasmCpuThreads);
  const module = able && (await shared.call(() => true).catch(() => false)) ? shared : alone;
  return { module, upload, loaderFor: (header, { dtype }) => loaderFor(module, header, dtype, count) };
}

/** Takes a file's bytes behind its header, and makes a model of them. */
async function loaderFor(module, header, dtype, count) {
  const loader = await module.call(({ Loader }) => new Loader(header, dtype));
  if (module === alone) return loader;
  team ??= await shared.call(({ Team: Threads }) => new Team(new Threads()));
  const grown = team.grow(count);
  return {
    length: loader.length,
    push: (bytes) => loader.push(bytes),
    async finish() {
      const model = loader.finish();
      await grown;
      model.join(team.team, count);
      return model;
    },
    free: () => loader.free(),
  };
}

/** Gives a photo's pixels to `model`, a bitmap's by and by: alone, or as one of those that are answered together. */
export function upload(model, photo, index, fit) {
  const { width, height, data } = photo;
  model.begin(width, height, fit);
  if (data) model.rows(data);
  else bands(photo, (pixels) => model.rows(pixels));
  model.end(index !== undefined);
}

function bands(bitmap, take) {
  const { width, height } = bitmap;
  const rows = Math.min(height, Math.max(1, Math.floor(BAND / width)));
  const context = new OffscreenCanvas(width, rows).getContext('2d', { willReadFrequently: true });
  for (let y = 0; y < height; y += rows) {
    // What is transparent lets white through.
    context.fillStyle = '#fff';
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -y);
    take(context.getImageData(0, 0, width, Math.min(rows, height - y)).data);
  }
}
