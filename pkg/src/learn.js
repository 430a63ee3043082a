/** Classes of one's own: learned from examples by a wasm module of its own, and models with a learned head. Fetched on demand. */

import { abortable, lazyImport, XceptionError } from './errors.js';
import { either, flag, LOAD, list, option, positive, required, signal, source, take, text, that } from './options.js';
import { Module } from './wasm.js';

const learner = new Module(() => import('../glue/learn.js'), '../dist/learn_bg.wasm');

/** Errors of images that are left out. */
const OF_AN_IMAGE = ['decode', 'fetch', 'cors', 'too-large'];

/** Milliseconds for which learning takes the thread at a time. */
const SLICE = 30;

const isAbove0 = (value) => Number.isFinite(value) && value > 0;
const LEARN = {
  method: either('regression', 'neighbours'),
  output: either('softmax', 'sigmoid'),
  penalty: option('a number above 0', that(isAbove0)),
  balanced: flag,
  flip: flag,
  seed: option(
    'an integer of at least 0',
    that((value) => Number.isSafeInteger(value) && value >= 0),
  ),
  neighbours: positive,
  batchSize: positive,
  onProgress: LOAD.onProgress,
  signal,
};
const EXAMPLE = { label: option('a text', text, required) };
const EXAMPLES = {
  examples: option('an array of { label, image } or { label, features }', list(that((example) => typeof example === 'object' && example)), required),
};
const HEAD = { head: { ...source, copy: (value) => (value instanceof Head ? value : source.copy(value)), leftOut: required } };

/** A learned head. */
export class Head {
  #file;
  /** The module's object. */
  own;

  constructor(file, own, report) {
    const { labels, output, neighbours } = JSON.parse(own.description());
    this.#file = file;
    this.own = own;
    this.labels = labels;
    this.output = output;
    this.method = neighbours ? 'neighbours' : 'regression';
    this.report = report;
  }

  static async read(file, report = undefined) {
    return new Head(file, await learner.call(({ Head: Own }) => new Own(file)), report);
  }

  async predict(features) {
    return abortable(undefined, () => learner.call(() => this.own.predict(features)));
  }

  save() {
    return new Blob([this.#file], { type: 'application/octet-stream' });
  }
}

/** `Xception.learn` of index.d.ts. `embed` gives the features of images; its options are those of the engine too. */
export async function learn(info, embed, given, options) {
  const { examples } = take({ examples: given }, EXAMPLES);
  const own = examples.map((example) => ({ ...take(example, EXAMPLE), image: example.image, features: example.features }));
  const { onProgress = () => {}, signal, flip, batchSize = 8, ...chosen } = take(options, LEARN);
  return abortable(signal, async () => {
    const look = (indices, mirrored) => {
      const images = indices.map((index) => own[index].image);
      return embed(images, { batchSize, mirrored, signal });
    };
    const features = await featuresOf(own, look, { info, flip, batchSize, onProgress });
    return solve(own, features, { info, onProgress, signal, ...chosen });
  });
}

/** The features of each example, with those of its mirror image, or the error for which it is left out. */
async function featuresOf(examples, look, { info, flip, batchSize, onProgress }) {
  const found = examples.map(({ features }) => features && [Float32Array.from(features)]);
  const missing = [...found.keys()].filter((index) => !found[index]);
  const total = missing.length;
  const embed = async (indices) => {
    try {
      const sides = [];
      for (const mirrored of flip ? [false, true] : [false]) sides.push(await look(indices, mirrored));
      for (const [place, index] of indices.entries()) found[index] = sides.map((vectors) => pooled(vectors[place], info));
    } catch (error) {
      if (!OF_AN_IMAGE.includes(error.code)) throw error;
      if (indices.length === 1) found[indices[0]] = error;
      // One of them: the others are kept.
      else for (const index of indices) await embed([index]);
    }
  };
  for (let done = 0; done < total; done += batchSize) {
    onProgress({ phase: 'features', done, total });
    await embed(missing.slice(done, done + batchSize));
  }
  onProgress({ phase: 'features', done: total, total });
  return found;
}

/** Learns from the features of examples. */
async function solve(examples, features, { info, onProgress, signal, method = 'regression', output = 'softmax', ...options }) {
  const { penalty = 1, balanced = true, seed = 1, neighbours } = options;
  const chosen = JSON.stringify({ output, penalty, balanced, seed, nearest: method === 'neighbours', neighbours });
  // The number of each of the module's examples, and those that it did not get.
  const numbers = [];
  const leftOut = [];
  const solver = await learner.call(({ Examples }) => {
    const all = new Examples(examples.map(({ label }) => label));
    for (const [index, { label }] of examples.entries()) {
      const [own, mirrored] = features[index] instanceof Error ? [] : features[index];
      const first = own && numbers[all.find(own)];
      if (first !== undefined && examples[first].label !== label) {
        const classes = `${examples[first].label} and ${label}`;
        throw new XceptionError(
          'bad-argument',
          `${nameOf(examples, first)} and ${nameOf(examples, index)} are one photo of two classes, ${classes}: remove one`,
        );
      }
      if (!own || first !== undefined) {
        leftOut.push({ index, reason: own ? `it is ${nameOf(examples, first)} again` : features[index].message });
        continue;
      }
      const number = all.add(own, label);
      numbers.push(index);
      if (mirrored) {
        all.addVariant(mirrored, number);
        numbers.push(index);
      }
    }
    return all.learn(info.source.sha256, chosen);
  });
  const slice = () => {
    const end = performance.now() + SLICE;
    let more = true;
    while (more && performance.now() < end) more = solver.step();
    return [more, solver.rounds()];
  };
  for (let more = true, done; more; ) {
    [more, done] = await learner.call(slice);
    onProgress({ phase: 'learn', done });
    await pause();
    signal?.throwIfAborted();
  }
  const { file, report } = await learner.call(() => solver.finish());
  const { labels, heldOut, ...rest } = JSON.parse(report);
  const wrong = heldOut.wrong.map(([number, label, predicted]) => ({ index: numbers[number], label: labels[label], predicted: labels[predicted] }));
  return Head.read(file, { ...rest, heldOut: { ...heldOut, wrong }, leftOut });
}

/** An example in words. */
function nameOf(examples, index) {
  const { image } = examples[index];
  return `example ${index}${image?.name || typeof image === 'string' ? ` (${image.name ?? image})` : ''}`;
}

/** The features of a photo: where a model has only its last activation, the mean of each channel. */
function pooled(values, { output, features: [height, width, channels] }) {
  const places = height * width;
  if (output !== 'features' || places === 1 || values.length !== places * channels) return values;
  const mean = (_, channel) => {
    let sum = 0;
    for (let at = channel; at < values.length; at += channels) sum += values[at];
    return sum / places;
  };
  return Float32Array.from({ length: channels }, mean);
}

/** Lets events of the page come in between. */
const pause = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(undefined);
  });

/** A model's engine with a learned head in place of its own; `run` calls the model's. Also gives the head's file. */
export async function wear(info, given, run, limits) {
  const { head: taken } = take({ head: given }, HEAD);
  return abortable(undefined, async () => {
    const file = async () => (await lazyImport(import('./convert.js'))).whole(taken, limits, new AbortController().signal);
    const head = taken instanceof Head ? taken : await Head.read(await file());
    await learner.call(() => head.own.check(info.source.sha256));
    return { engine: new Headed(info, head, run), blob: head.save() };
  });
}

/** A model with a learned head, with the interface of `Engine`. */
class Headed {
  #base;
  #head;
  #run;
  /** The model's own business. */
  lost = new Promise(() => {});

  constructor(info, head, run) {
    const { labels, output } = head;
    const ofHead = ({ option }) => ['activation', 'labels'].includes(option);
    const assumed = info.assumed.filter((assumption) => !ofHead(assumption));
    this.info = { ...info, output, outputs: labels.length, classes: labels.length, labels, assumed };
    this.#base = info;
    this.#head = head;
    this.#run = async (call, images, options) => run(await Promise.all(images), (engine, ready) => engine[call](ready, options));
  }

  activations = (images, options) => this.#run('activations', images, options);
  profile = (images, options) => this.#run('profile', images, options);

  async embed(images, view) {
    const { values, timings } = await this.#run('embed', images, view);
    const length = values.length / images.length;
    const each = images.map((_, index) => pooled(values.subarray(index * length, (index + 1) * length), this.#base));
    const all = new Float32Array(each.length * each[0].length);
    for (const [index, own] of each.entries()) all.set(own, index * own.length);
    return { values: all, timings };
  }

  async predict(images, view) {
    const { values } = await this.embed(images, view);
    return this.#head.predict(values);
  }

  async classify(images, { count, ...view }) {
    const { values, timings } = await this.embed(images, view);
    const length = values.length / images.length;
    const predictions = [];
    for (let at = 0; at < values.length; at += length) predictions.push((await this.#ranked(values.subarray(at, at + length))).slice(0, count));
    return { predictions, timings };
  }

  async explain(images, { classIndex, ...view }) {
    const { values } = await this.embed(images, view);
    const ranked = await this.#ranked(values);
    const prediction = ranked.find(({ index }) => index === (classIndex ?? index));
    const weights = await learner.call(() => this.#head.own.weights(prediction.index));
    const { features, layers } = this.#base;
    // The layer in front of the mean.
    const layer = layers.findLast(({ shape }) => String(shape) === String(features))?.name;
    if (!layer || weights?.length !== features[2]) {
      throw new XceptionError('bad-argument', 'only a head of layers on the mean of the last activation can be explained: learn one by regression');
    }
    const map = await this.#run('explain', images, { ...view, layer, weights });
    const [logit, size] = weights.reduce(([sum, size], weight, at) => [sum + weight * values[at], size + Math.abs(weight * values[at])], [0, 0]);
    const mean = map.values.reduce((sum, value) => sum + value, 0) / map.values.length;
    // Of another pooling.
    if (Math.abs(mean - logit) > 0.01 * size) throw new XceptionError('bad-argument', 'the model has no mean, which alone can be explained');
    return { ...map, prediction, exact: true };
  }

  /** All classes, most likely first; of equal ones the first. */
  async #ranked(features) {
    const { labels } = this.#head;
    const scores = await this.#head.predict(features);
    return [...scores].map((score, index) => ({ index, label: labels[index], score })).sort((one, other) => other.score - one.score);
  }

  /** The model stays. */
  async dispose() {}
}
