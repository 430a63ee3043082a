/** Every error of the package. `code` is for programs, `message` for people. */
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

/** A script of ours that is fetched when it is needed. */
export async function lazyImport(script) {
  try {
    return await script;
  } catch (cause) {
    throw new XceptionError('fetch', `a part of xception-webgpu could not be fetched: ${cause.message}`, { cause });
  }
}

/**
 * What `work` gives, or one of our errors: `aborted` at once where `signal` ends it, also while a step is under way that
 * cannot be cancelled; that step's outcome is let go.
 */
export async function abortable(signal, work) {
  const settled = new AbortController();
  try {
    signal?.throwIfAborted();
    const end = (_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true, signal: settled.signal });
    return await Promise.race([new Promise(end), work()]);
  } catch (error) {
    // The step that was aborted may have thrown something else.
    if (signal?.aborted) throw new XceptionError('aborted', 'the work was cancelled', { cause: signal.reason });
    throw XceptionError.from(error);
  } finally {
    settled.abort();
  }
}

/** Refuses what has more bytes than the limit of that name. */
export function checkLimit(what, bytes, limits, name) {
  if (bytes > limits[name]) {
    throw new XceptionError('too-large', `${what} larger than ${limits[name]} bytes: give a smaller file, or raise the limit \`${name}\``);
  }
}
