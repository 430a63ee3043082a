import { XceptionError } from './errors.js';

/**
 * A wasm module. A Rust panic or a trap leaves its promise unsettled, so all pending calls are rejected with its message.
 */
export class Module {
  #importer;
  #path;
  #url;
  #ready;
  #waiting = new Set();
  /** The compiled code or its URL, if it is not beside the module's script. Read at the first call. */
  source;

  /** `url` gives the location where it is not what the module's script assumes. Cloudflare's Workers have none, and take `source` alone. */
  constructor(importer, path, url) {
    this.#importer = importer;
    this.#path = path;
    this.#url = url;
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

  /** The bytes of the compiled code if this script is a local file, which Node cannot fetch. */
  #file() {
    const { promises } = globalThis.process?.getBuiltinModule?.('node:fs') ?? {};
    return promises && import.meta.url?.startsWith('file:') ? promises.readFile(new URL(this.#path, import.meta.url)) : undefined;
  }

  /** Rejects all pending calls: after a trap their promises are never settled. */
  #fail(thrown) {
    const message = `a defect of xception-webgpu, please report it: ${thrown?.message ?? thrown}`;
    const error = thrown instanceof XceptionError ? thrown : new XceptionError('internal', message, { cause: thrown });
    for (const reject of this.#waiting) reject(error);
  }

  async #load() {
    try {
      const exports = await this.#importer();
      // Errors of ours are returned: what is thrown are traps, such as of a memory that cannot grow.
      exports.onThrow((error) => this.#fail(error));
      await exports.default({ module_or_path: await (this.source ?? this.#file() ?? this.#url?.()) });
      // A panic throws too, but not its message.
      exports.onPanic((message) => this.#fail(message));
      return exports;
    } catch (error) {
      // The next call tries again.
      this.#ready = undefined;
      throw new XceptionError('fetch', `a part of xception-webgpu could not be fetched: ${error.message}`, { cause: error });
    }
  }
}

/** Frees an object of a module. */
export function free(object) {
  try {
    object?.free();
  } catch {
    // A module that panicked cannot free its objects; the panic is reported already.
  }
}

function deferred() {
  let reject;
  const promise = new Promise((_, no) => (reject = no));
  promise.catch(() => {});
  return { promise, reject };
}

/** Loads weights of the project's own format and classifies. */
export const core = new Module(() => import('../glue/xception.js'), '../dist/xception_bg.wasm');

/** Converts other weights, and decodes what the browser cannot; it is fetched only then. */
export const formats = new Module(() => import('../glue/formats.js'), '../dist/formats_bg.wasm');
