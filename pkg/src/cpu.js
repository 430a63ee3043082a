/** The CPU as a backend, fetched when it is used. */

import { Team, threads } from './team.js';
import { free, Module } from './wasm.js';

/** A module with one function, `f32x4.relaxed_madd`, to detect relaxed SIMD. */
const RELAXED = [0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11];

/** Pixels of a band of a bitmap. */
const BAND = 2 ** 18;

const relaxed = WebAssembly.validate(new Uint8Array(RELAXED));

/** The module of one thread; its script is the same with relaxed SIMD. */
const alone = new Module(
  () => import('../glue/cpu.js'),
  relaxed ? '../dist/cpu_relaxed_bg.wasm' : '../dist/cpu_bg.wasm',
  relaxed ? () => new URL('cpu_relaxed_bg.wasm', import.meta.url) : undefined,
);

/** The module of several threads. */
const shared = new Module(
  () => import('../glue/cpu_threads.js'),
  relaxed ? '../dist/cpu_threads_relaxed_bg.wasm' : '../dist/cpu_threads_bg.wasm',
  relaxed ? () => new URL('cpu_threads_relaxed_bg.wasm', import.meta.url) : undefined,
);

/** The threads of `shared`. */
let team;

/** Chooses a module; returns it with its loader and its upload function. */
export async function open({ threads: asked, wasmCpu, wasmCpuThreads }) {
  const count = threads(asked);
  alone.source ??= wasmCpu;
  shared.source ??= wasmCpuThreads;
  // A page that overrides the location of one module must override the other's, or do without threads.
  const able = count > 1 && !(wasmCpu && !wasmCpuThreads);
  const module = able && (await shared.call(() => true).catch(() => false)) ? shared : alone;
  return { module, upload, loaderFor: (header, { dtype }) => loaderFor(module, header, dtype, count) };
}

/** Makes room for a model's weights. */
async function loaderFor(module, header, dtype, count) {
  if (module === shared) team ??= await shared.call(({ Team: Threads }) => new Team(new Threads()));
  const threads = module === shared ? [team.team, count] : [];
  const backend = await module.call(({ Backend }) => new Backend(...threads));
  try {
    const loader = await module.call(({ Loader }) => Loader.create(backend, header, dtype));
    return Object.assign(loader, { ready: module === shared && team.grow(count) });
  } finally {
    free(backend);
  }
}

/** Uploads a photo to `model` by itself, or as image `index` of a batch. Bitmaps are read in bands. */
export function upload(model, photo, index, fit) {
  const resized = model.photo(photo.width, photo.height, fit);
  if (photo.data) resized.push(photo.data);
  else bands(photo, (pixels) => resized.push(pixels));
  model.upload(resized, index);
}

function bands(bitmap, take) {
  const { width, height } = bitmap;
  const rows = Math.min(height, Math.max(1, Math.floor(BAND / width)));
  const context = new OffscreenCanvas(width, rows).getContext('2d', { willReadFrequently: true });
  for (let y = 0; y < height; y += rows) {
    // Transparent pixels are drawn over white.
    context.fillStyle = '#fff';
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -y);
    take(context.getImageData(0, 0, width, Math.min(rows, height - y)).data);
  }
}
