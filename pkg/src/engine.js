import { lazyImport, XceptionError } from './errors.js';
import { decode } from './image.js';
import { load } from './load.js';
import { core, free } from './wasm.js';

/** A model on the GPU or the CPU, driven from this thread. Calls queue up and are answered in order; their images stay the caller's. */
export class Engine {
  #module;
  #model;
  /** Uploads photos to the CPU. */
  #upload;
  #limits;
  /** Writes inferences into the performance panel, with the option `profile`. */
  #tracer;
  #queue = Promise.resolve();
  /** Settles behind the answers that are waited for. */
  #reading = Promise.resolve();

  constructor(model, { module, upload }, { backend, reason, limits }) {
    this.#module = module;
    this.#model = model;
    this.#upload = upload;
    this.#limits = limits;
    this.info = { backend, reason, ...model.info() };
    /** Resolves with the reason once the device is lost, or freed. */
    this.lost = new Promise((resolve) => {
      model.device?.lost.then(({ reason, message }) => resolve(message || reason));
    });
  }

  /** `options` include the chosen backend and the reason. */
  static async load(options) {
    const { backend } = options;
    if (backend === 'webgpu' && !globalThis.navigator?.gpu) {
      throw new XceptionError('no-webgpu', 'this browser has no WebGPU: use a current Chrome, Edge, Safari or Firefox, over https or on localhost');
    }
    const device = backend === 'cpu' ? await (await lazyImport(import('./cpu.js'))).open(options) : onGpu();
    const engine = new Engine(await load(device, options), device, options);
    if (options.profile) await engine.#trace();
    return engine;
  }

  /** The `count` most likely classes of each image. Images come as promises; several go through the network together. */
  async classify(images, { count, ...view }) {
    const { values, timings } = await this.#together(images, view, (model, photos) => {
      const start = () => this.#core(() => model.start(count, photos));
      return this.#tracer && !photos ? this.#tracer.inference(start) : start();
    });
    return { predictions: values, timings };
  }

  /** The features of all images, one behind the other. */
  embed(images, view) {
    return this.#together(images, view, (model, photos) => this.#core(() => model.embed(photos)));
  }

  /** Brings images to the model, and waits for what `begin` starts. */
  async #together(images, view, begin) {
    const photos = images.length > 1 ? images.length : undefined;
    const { answer, lap, timings } = await this.#next(async (model, lap, timings) => {
      if (photos) await this.#core(() => model.reserve(photos));
      timings.preprocess += lap();
      for (const [index, image] of images.entries()) await this.#bring(model, image, { ...view, index: photos && index }, lap, timings);
      return { answer: await begin(model, photos), lap, timings };
    }, images);
    const started = performance.now();
    const values = await this.#read(answer);
    this.#tracer?.step('read-back', started, performance.now());
    timings.inference = lap();
    timings.total = timings.decode + timings.preprocess + timings.inference;
    return { values, timings };
  }

  /** The model's output for an image. */
  async predict(images, view) {
    const values = await this.#next(async (model, lap, timings) => {
      await this.#bring(model, images[0], view, lap, timings);
      return this.#core(() => model.predict());
    }, images);
    return this.#read(values);
  }

  explain = (images, options) => this.#interpret('explain', images, options);
  activations = (images, options) => this.#interpret('activations', images, options);
  profile = (images, options) => this.#interpret('profile', images, options);

  /** Runs a diagnostic of an image, which is loaded in its turn. */
  #interpret(call, images, options) {
    return this.#next(async (model, lap, timings) => {
      const insight = await lazyImport(import('./interpret.js'));
      lap();
      const size = await this.#bring(model, images[0], options, lap, timings);
      const read = async (start) => this.#read(await this.#core(start));
      return insight[call]({ model, info: this.info, size, read, lap, timings }, options);
    }, images);
  }

  async #trace() {
    const { Tracer } = await lazyImport(import('./profile.js'));
    this.#tracer = new Tracer(this.#model);
  }

  /** Frees the GPU's memory, after the queued calls. */
  async dispose() {
    await this.#queue;
    await this.#reading;
    const model = this.#model;
    this.#model = undefined;
    // Memory goes with its device at once, else when garbage is collected.
    const device = model?.device;
    free(model);
    device?.destroy();
  }

  /**
   * Runs a call of the module. A panic, a trap or an unexpected exception leaves its objects unusable, so the model counts as disposed
   * of from then on.
   */
  async #core(work) {
    try {
      return await this.#module.call(work);
    } catch (error) {
      const expected = error instanceof DOMException || (typeof error?.code === 'string' && error.code !== 'internal');
      if (!expected) this.#model = undefined;
      throw error;
    }
  }

  /** Waits for values or an answer. */
  #read(answer) {
    const values = this.#core(() => answer.read());
    // Its values must not be kept.
    this.#reading = Promise.allSettled([this.#reading, values]).then(() => {});
    return values;
  }

  /** Decodes an image and brings it to the model; its size. */
  async #bring(model, image, { index, roi, fit, mirrored }, lap, timings) {
    const ready = await image;
    const began = performance.now();
    let photo = await decode(ready, roi, this.#limits, this.#module, model.maxPhotoSide);
    if (mirrored) photo = (await lazyImport(import('./mirror.js'))).mirror(photo);
    const decoded = performance.now();
    const { width, height } = photo;
    timings.decode += lap();
    try {
      if (this.#upload) await this.#core(() => this.#upload(model, photo, index, fit));
      else if (photo.data) await this.#core(() => model.uploadPixels(photo.data, photo.width, photo.height, index, fit));
      else await this.#core(() => model.upload(photo, index, fit));
    } finally {
      if (photo !== ready) photo.close?.();
    }
    this.#tracer?.step('decode', began, decoded);
    this.#tracer?.step('upload', decoded, performance.now());
    timings.preprocess += lap();
    return { width, height };
  }

  /** Runs `work` when the calls before it have started on the GPU: the next photo can be uploaded meanwhile. */
  #next(work, images) {
    // An image may be rejected while it waits in the queue, before a handler is attached.
    images.forEach((image) => image.catch(() => {}));
    const started = this.#queue.then(() => {
      if (!this.#model) throw new XceptionError('disposed', 'this model was disposed of: load it again');
      let now = performance.now();
      const lap = () => {
        const last = now;
        now = performance.now();
        return now - last;
      };
      return work(this.#model, lap, { decode: 0, preprocess: 0, inference: 0, total: 0 });
    });
    // A failure must not hold up the next photo.
    this.#queue = started.catch(() => {});
    return started;
  }
}

/** The GPU's module and its loader, whose script comes beside the weights. */
function onGpu() {
  const script = lazyImport(import('./gpu.js'));
  // A load that fails before does not wait for it.
  script.catch(() => {});
  return { module: core, loaderFor: async (header, job) => (await script).loaderFor(header, job), upload: undefined };
}
