/**
 * Xception on WebGPU: weights in, photo in, classes out. The types and their documentation are in index.d.ts.
 *
 * The wasm core loads weights of the project's own format and classifies. Keras's files are converted first, by a
 * second wasm module that is fetched only then.
 */

/** What goes wrong is one of these; `code` is for programs, `message` for people. */
export class XceptionError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = 'XceptionError';
    this.code = code;
  }

  /** Anything thrown, as an XceptionError. */
  static from(thrown) {
    if (thrown instanceof XceptionError) return thrown;
    if (thrown?.name === 'SecurityError') {
      const message = 'the image comes from another site that does not allow reading it (CORS): save it and open the file';
      return new XceptionError('cors', message, { cause: thrown });
    }
    // A DOMException's code is a number, and not one of ours.
    const own = typeof thrown?.code === 'string' ? thrown.code : 'internal';
    return new XceptionError(own, thrown?.message ?? String(thrown), { cause: thrown });
  }
}

/**
 * A wasm module. A Rust panic leaves its promise unsettled, so whoever waits is rejected by the panic's message.
 */
class Module {
  #importer;
  #ready;
  #waiting = new Set();

  constructor(importer) {
    this.#importer = importer;
  }

  /** Calls `work` with the module's exports, fetched once. */
  async call(work) {
    this.#ready ??= this.#load();
    const exports = await this.#ready;
    const { promise, reject } = deferred();
    this.#waiting.add(reject);
    try {
      return await Promise.race([promise, Promise.resolve(exports).then(work)]);
    } finally {
      this.#waiting.delete(reject);
    }
  }

  async #load() {
    try {
      const exports = await this.#importer();
      await exports.default();
      exports.onPanic((message) => {
        const error = new XceptionError('internal', `a defect of xception-webgpu, please report it: ${message}`);
        for (const reject of this.#waiting) reject(error);
      });
      return exports;
    } catch (error) {
      // The next call tries again.
      this.#ready = undefined;
      throw new XceptionError('fetch', `a part of xception-webgpu could not be fetched: ${error.message}`, { cause: error });
    }
  }
}

function deferred() {
  let reject;
  const promise = new Promise((_, no) => (reject = no));
  promise.catch(() => {});
  return { promise, reject };
}

const core = new Module(() => import('./dist/xception.js'));
const formats = new Module(() => import('./dist/formats.js'));

export class Xception {
  #model;
  #queue = Promise.resolve();

  /** Use `Xception.load`. */
  constructor(model) {
    this.#model = model;
    this.info = Object.freeze(JSON.parse(model.info()));
  }

  static async load(options) {
    const { weights, labels, filter, fit, inputSize, onProgress = () => {}, signal } = options ?? {};
    try {
      if (!globalThis.navigator?.gpu) {
        throw new XceptionError(
          'no-webgpu',
          'this browser has no WebGPU: use a current Chrome, Edge, Safari or Firefox, over https or on localhost',
        );
      }
      const overrides = JSON.stringify({ labels, filter, fit, inputSize: inputSize && [inputSize, inputSize] });
      const changed = overrides !== '{}';
      const file = new ByteReader(await open(weights, signal), signal, onProgress);
      try {
        const start = await file.atLeast(16);
        const length = await core.call(({ headerLength }) => headerLength(start));
        const header = await file.atLeast(length);
        const own = length > 0 && (await core.call(({ isOwnFormat }) => isOwnFormat(header)));
        if (!own || changed) {
          const whole = await file.rest();
          onProgress({ phase: 'convert', loaded: whole.length, total: whole.length });
          const converted = await formats.call(({ Converter }) => {
            const converter = new Converter(whole.length);
            converter.push(whole);
            return converter.convert(overrides);
          });
          const bytes = converted.slice(0, converted.length);
          converted.free();
          return await stream(new ByteReader(new Blob([bytes]).stream(), signal, () => {}));
        }
        return await stream(file);
      } finally {
        file.cancel();
      }
    } catch (error) {
      // Whatever a broken-off step made of it.
      if (signal?.aborted) throw new XceptionError('aborted', 'the work was cancelled', { cause: signal.reason });
      throw XceptionError.from(error);
    }
  }

  classify(image, options) {
    const turn = this.#queue.then(() => this.#classify(image, options?.topK ?? 5));
    // A failure must not hold up the next photo.
    this.#queue = turn.catch(() => {});
    return turn;
  }

  async #classify(image, topK) {
    if (!this.#model) throw new XceptionError('disposed', 'this model was disposed of: load it again');
    if (!Number.isInteger(topK) || topK < 1) throw new XceptionError('bad-argument', 'topK must be an integer of at least 1');
    const start = performance.now();
    let lap = start;
    const ms = () => {
      const last = lap;
      lap = performance.now();
      return lap - last;
    };
    try {
      const bitmap = await decode(image, this.#model.maxPhotoSide);
      const timings = { decode: ms() };
      try {
        await core.call(() => this.#model.upload(bitmap));
      } finally {
        bitmap.close();
      }
      timings.preprocess = ms();
      const predictions = JSON.parse(await core.call(() => this.#model.classify(topK)));
      timings.gpu = ms();
      timings.total = lap - start;
      return { predictions, timings };
    } catch (error) {
      throw XceptionError.from(error);
    }
  }

  /** Frees the GPU's memory, after the photos that wait. */
  async dispose() {
    await this.#queue;
    this.#model?.free();
    this.#model = undefined;
  }
}

/** Loads a file of the project's own format, piece by piece. */
async function stream(file) {
  const start = await file.atLeast(16);
  const length = await core.call(({ headerLength }) => headerLength(start));
  const header = await file.atLeast(length);
  const loader = await core.call(({ Loader }) => Loader.create(header.slice(0, length)));
  file.total = loader.length;
  file.skip(length);
  try {
    for (let piece = await file.next(); piece; piece = await file.next()) {
      await core.call(() => loader.push(piece));
    }
  } catch (error) {
    loader.free();
    throw error;
  }
  // This takes the loader, whether it succeeds or not.
  return new Xception(await core.call(() => loader.finish()));
}

/** The bytes of whatever holds weights, as a stream. */
async function open(weights, signal) {
  if (weights instanceof Blob) return weights.stream();
  if (weights instanceof ArrayBuffer || ArrayBuffer.isView(weights)) return new Blob([weights]).stream();
  let response = weights;
  if (typeof weights === 'string' || weights instanceof URL || weights instanceof Request) {
    try {
      response = await fetch(weights, { signal });
    } catch (error) {
      const why = 'the server is out of reach, or does not allow this page to read it (CORS)';
      throw new XceptionError('fetch', `${weights.url ?? weights} could not be fetched: ${why}`, { cause: error });
    }
  }
  if (!(response instanceof Response)) {
    throw new XceptionError('bad-argument', 'weights must be a URL, File, Blob, Response or ArrayBuffer');
  }
  if (response.bodyUsed || response.body?.locked) {
    throw new XceptionError('bad-argument', 'the body of this Response was read already: fetch it again');
  }
  if (!response.ok || !response.body) {
    throw new XceptionError('fetch', `${response.url} answered ${response.status} ${response.statusText}`);
  }
  const length = Number(response.headers.get('content-length'));
  const body = response.body;
  // Compressed bodies are longer than what the header says.
  body.total = response.headers.get('content-encoding') ? undefined : length || undefined;
  return body;
}

/** The largest file that is read whole to be converted: 1 GiB. A model with its optimizer has about 300 MB. */
const MAX_FOREIGN_BYTES = 2 ** 30;

/** Reads a stream by pieces, some of which are looked at before they are taken. */
class ByteReader {
  #reader;
  #signal;
  #onProgress;
  #ahead = new Uint8Array(0);
  #loaded = 0;

  constructor(stream, signal, onProgress) {
    this.total = stream.total;
    this.#reader = stream.getReader();
    this.#signal = signal;
    this.#onProgress = onProgress;
  }

  async #read() {
    this.#signal?.throwIfAborted();
    let result;
    try {
      result = await this.#reader.read();
    } catch (error) {
      throw new XceptionError('fetch', `the download broke off after ${this.#loaded} bytes: try again`, { cause: error });
    }
    if (result.done) return undefined;
    this.#loaded += result.value.length;
    this.#onProgress({ phase: 'weights', loaded: this.#loaded, total: this.total });
    return result.value;
  }

  /** At least so many bytes from the present place on, without taking them; fewer where the stream ends. */
  async atLeast(length) {
    const pieces = [this.#ahead];
    for (let have = this.#ahead.length; have < length; have += pieces.at(-1).length) {
      const piece = await this.#read();
      if (!piece) break;
      pieces.push(piece);
    }
    this.#ahead = join(pieces);
    return this.#ahead;
  }

  /** Takes bytes that were looked at. */
  skip(length) {
    this.#ahead = this.#ahead.subarray(length);
  }

  /** The next piece, or undefined at the end. */
  async next() {
    if (this.#ahead.length === 0) return this.#read();
    const piece = this.#ahead;
    this.#ahead = new Uint8Array(0);
    return piece;
  }

  /** Everything that is left. */
  async rest() {
    const pieces = [];
    for (let piece = await this.next(); piece; piece = await this.next()) {
      if (this.#loaded > MAX_FOREIGN_BYTES) {
        throw new XceptionError('too-large', `the weights go on beyond ${MAX_FOREIGN_BYTES} bytes: this is no Xception`);
      }
      pieces.push(piece);
    }
    return join(pieces);
  }

  /** Ends the download. */
  cancel() {
    this.#reader.cancel().catch(() => {});
  }
}

function join(pieces) {
  const joined = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

/** Any image as an upright bitmap with the file's own pixel values, no larger than the GPU takes. */
async function decode(image, maxSide) {
  const encoded = image instanceof Blob || image instanceof ArrayBuffer || ArrayBuffer.isView(image);
  const bitmap = encoded ? await decodeFile(image) : await createImageBitmap(image, AS_STORED).catch(refuse);
  const side = Math.max(bitmap.width, bitmap.height);
  if (side <= maxSide) return bitmap;
  const scaled = (length) => Math.max(1, Math.floor((length * maxSide) / side));
  const resize = { resizeWidth: scaled(bitmap.width), resizeHeight: scaled(bitmap.height), resizeQuality: 'high' };
  try {
    return await createImageBitmap(bitmap, { ...AS_STORED, imageOrientation: 'none', ...resize });
  } finally {
    bitmap.close();
  }
}

const AS_STORED = { imageOrientation: 'from-image', premultiplyAlpha: 'none', colorSpaceConversion: 'none' };

function refuse(error) {
  if (!(error instanceof TypeError)) throw error;
  const message = 'the image must be a Blob, File, bytes, or an image, video or canvas element';
  throw new XceptionError('bad-argument', message, { cause: error });
}

/** The largest encoded image that is read at all: 256 MiB. */
const MAX_IMAGE_BYTES = 2 ** 28;

/** An encoded image; what the browser has no decoder for is decoded by the second wasm module, or refused by it. */
async function decodeFile(file) {
  const blob = file instanceof Blob ? file : new Blob([file]);
  if (blob.size > MAX_IMAGE_BYTES) {
    throw new XceptionError('too-large', `a file of ${blob.size} bytes is more than an image has: give a smaller one`);
  }
  const bytes = new Uint8Array(await blob.arrayBuffer());
  // Refused by its bytes, before the browser takes memory for the pixels.
  await core.call(({ checkImage }) => checkImage(bytes));
  try {
    return await createImageBitmap(blob, AS_STORED);
  } catch {
    const pixels = await formats.call(({ decode }) => decode(bytes));
    const { width, height } = pixels;
    return createImageBitmap(new ImageData(new Uint8ClampedArray(pixels.take()), width, height), AS_STORED);
  }
}
