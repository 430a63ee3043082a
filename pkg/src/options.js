/**
 * Callers' options, checked and copied as plain values before anything is done with them: an object may be a proxy (such as Vue's reactive
 * ones), which cannot be posted to a worker, may change later, or be an iterator that can be read only once.
 */

import { XceptionError } from './errors.js';

/** An option: what it must be, what copies it and throws where it is something else, and which values leave it out. */
export const option = (must, copy, leftOut = (value) => value === undefined || value === null) => ({ must, copy, leftOut });
const isUndefined = (value) => value === undefined;
export const required = () => false;

export const that = (test) => (value) => {
  if (!test(value)) throw new TypeError('this is another value');
  return value;
};
export const text = that((value) => typeof value === 'string');
export const either = (...values) =>
  option(
    `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`,
    that((value) => values.includes(value)),
  );
const isList = (values) => typeof values === 'object' && !(values instanceof String) && values[Symbol.iterator];
export const list = (item) => (values) => Array.from(that(isList)(values), item);

export const positive = option(
  'an integer of at least 1',
  that((value) => Number.isInteger(value) && value > 0),
);
export const flag = option('true or false', Boolean, isUndefined);
const fit = either('squash', 'crop');
const share = (value) => typeof value === 'number' && value > 0 && value <= 1;
const isSide = (value) => Number.isInteger(value) && value > 0;
/** A number for all channels, or one for each. */
const byChannel = option('a number, or an array of three: red, green, blue', (value) => {
  const numbers = typeof value === 'number' ? [value, value, value] : Array.from(that(isList)(value), that(Number.isFinite));
  return that(() => numbers.length === 3 && numbers.every(Number.isFinite))(numbers);
});
export const signal = option(
  'an AbortSignal',
  that((value) => AbortSignal.any([value])),
);
const classes = option('an array of labels or numbers', list(that((name) => ['string', 'number'].includes(typeof name))));

export const isBytes = (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);

/** The bytes of an ArrayBuffer or a view; a copy where another thread may write them, or where a Blob would not take them. */
export function bytesOf(source) {
  const [buffer, offset] = ArrayBuffer.isView(source) ? [source.buffer, source.byteOffset] : [source, 0];
  const bytes = new Uint8Array(buffer, offset, source.byteLength);
  return buffer instanceof ArrayBuffer && !buffer.resizable ? bytes : bytes.slice();
}

/** A Blob as one of this window; undefined for anything else, and for a proxy. */
export function blobOf(value) {
  try {
    // This getter takes a Blob of any window, and nothing else.
    Object.getOwnPropertyDescriptor(Blob.prototype, 'size').get.call(value);
    return value instanceof Blob ? value : new Blob([value]);
  } catch {
    return undefined;
  }
}

/** Anything that holds weights. A proxy throws where a property of the real object is read. */
export const source = option('a URL, File, Blob, Response or ArrayBuffer', (value) => {
  if (value instanceof URL) return value.href;
  if (isBytes(value)) return bytesOf(value);
  const real = (value instanceof Request && value.url) || (value instanceof Response && value.headers);
  return blobOf(value) ?? (real ? value : text(value));
});
const files = list(that((file) => file instanceof Blob));

const wasm = option('a URL, bytes or a WebAssembly.Module', (value) => {
  if (value instanceof URL) return value.href;
  if (isBytes(value)) return bytesOf(value);
  return value instanceof WebAssembly.Module && WebAssembly.Module.exports(value) ? value : text(value);
});

const roi = option('{ x, y, width, height } in whole pixels, inside the image', ({ x, y, width, height }) => {
  [x, y, width, height].forEach(that(Number.isInteger));
  [x, y, width - 1, height - 1].forEach(that((value) => value >= 0));
  return { x, y, width, height };
});

/** The most that is taken from a file; the defaults. */
export const LIMITS = { pixels: 2 ** 27, imageBytes: 2 ** 28, weightsBytes: 2 ** 30, tensors: 4000 };
const limits = option(`numbers of at least 1: ${Object.keys(LIMITS).join(', ')}`, (given) => {
  const named = { ...that((value) => typeof value === 'object')(given) };
  for (const name in named) that((most) => LIMITS[name] && typeof most === 'number' && most >= 1)(named[name]);
  return { ...LIMITS, ...named };
});

export const LOAD = {
  weights: { ...source, copy: (value) => (Array.isArray(value) ? files(value) : source.copy(value)), leftOut: required },
  // A malformed hash must never be ignored.
  integrity: option('the text of a SHA-256', text, isUndefined),
  cache: flag,
  backend: either('auto', 'webgpu', 'cpu'),
  dtype: either('auto', 'f32', 'f16'),
  head: source,
  labels: option('an array of texts, one for each class', list(text)),
  filter: either('nearest', 'box', 'bilinear', 'hamming', 'bicubic', 'lanczos', 'tf-bilinear', 'tf-nearest'),
  fit,
  crop: option('a share, above 0 and at most 1', that(share)),
  pixels: either('tf', 'torch', 'caffe', 'unit', 'raw'),
  mean: byChannel,
  std: byChannel,
  activation: either('softmax', 'sigmoid', 'linear'),
  inputSize: option('an integer of at least 1, or an array of height and width', (value) => {
    const sides = typeof value === 'number' ? [value, value] : Array.from(that(isList)(value));
    return that(() => sides.length === 2 && sides.every(isSide))(sides);
  }),
  tune: either('auto', 'again', 'off'),
  limits,
  retry: flag,
  worker: option('true, false or a Worker', (value) => {
    if (typeof value === 'boolean') return value;
    // A proxy throws here.
    void that((value) => value instanceof Worker)(value).onmessage;
    return value;
  }),
  wasm,
  wasmCpu: wasm,
  wasmCpuThreads: wasm,
  threads: option(
    'an integer from 1 to 64',
    that((value) => Number.isInteger(value) && value >= 1 && value <= 64),
  ),
  profile: flag,
  warmup: flag,
  onProgress: option(
    'a function',
    that((value) => typeof value === 'function'),
  ),
  signal,
};

export const VIEW = { roi, fit, signal };
export const EXPLAIN = {
  ...VIEW,
  classIndex: option(
    'the number of a class or output',
    that((value) => Number.isInteger(value) && value >= 0),
  ),
};
export const PROFILE = { ...VIEW, runs: positive };
export const CLASSIFY = {
  ...VIEW,
  topK: positive,
  threshold: option(
    'a probability, 0 to 1',
    that((value) => typeof value === 'number' && value >= 0 && value <= 1),
  ),
  allow: classes,
  deny: classes,
};
export const BATCH = { ...CLASSIFY, batchSize: positive };
export const EMBED = { ...VIEW, batchSize: positive };
export const VIDEO = {
  ...CLASSIFY,
  maxFps: option(
    'more than 0',
    that((value) => typeof value === 'number' && value > 0),
  ),
};

export const SAVE = { signal };

/** Values that methods take besides an image and options. */
export const IMAGES = { images: option('an array of images', list(), required) };
export const LAYER = { layer: option('the name of a layer', text, required) };

/**
 * Copies of the options that are described by `known`.
 * @returns {any}
 */
export function take(options, known) {
  const given = options ?? {};
  if (typeof given !== 'object') throw new XceptionError('bad-argument', 'options must be an object');
  const copied = {};
  for (const [name, { must, copy, leftOut }] of Object.entries(known)) {
    try {
      const value = given[name];
      if (!leftOut(value)) copied[name] = copy(value);
    } catch (cause) {
      throw new XceptionError('bad-argument', `${name} must be ${must}`, { cause });
    }
  }
  return copied;
}
