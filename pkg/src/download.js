import { XceptionError } from './errors.js';
import { slices } from './reader.js';

/** Milliseconds before each attempt to resume a download. */
const PAUSES = [500, 1000, 2000];

/** Whether a source of weights is an address of the Hugging Face hub, which hub.js makes a URL. */
export const isOfHub = (weights) => Boolean(weights?.startsWith?.('hf:'));

/** The request for a URL or a Request; undefined for other sources. */
export function toRequest(weights, signal) {
  if (isOfHub(weights) || !(typeof weights === 'string' || weights instanceof URL || weights instanceof Request)) return undefined;
  try {
    return new Request(weights, { signal });
  } catch (error) {
    throw new XceptionError('bad-argument', `the weights cannot be fetched: ${error.message}`, { cause: error });
  }
}

/**
 * Opens a source of weights: an iterator of `pieces`, their `total` length if it is known, and the `response` that they come from,
 * if any.
 */
export async function open(weights, signal, init) {
  if (weights instanceof ArrayBuffer) return open(new Uint8Array(weights));
  if (ArrayBuffer.isView(weights)) {
    const bytes = new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
    return { pieces: slices(bytes), total: bytes.length };
  }
  if (weights instanceof Blob) {
    const unreadable = (_, cause) => {
      const message = 'the file could not be read, it may have been changed or moved: choose it again';
      throw new XceptionError('fetch', message, { cause });
    };
    return { pieces: read(weights.stream(), weights.size, signal, unreadable), total: weights.size };
  }
  const response = weights instanceof Request ? await ask(weights, init) : weights;
  if (!(response instanceof Response)) {
    throw new XceptionError('bad-argument', 'weights must be a URL, File, Blob, Response or ArrayBuffer');
  }
  if (response.bodyUsed || response.body?.locked) {
    throw new XceptionError('bad-argument', 'the body of this Response was read already: fetch it again');
  }
  if (!response.ok || !response.body) {
    throw new XceptionError('fetch', `${response.url} answered ${response.status} ${response.statusText}`);
  }
  if (isPage(response)) {
    response.body.cancel().catch(() => {});
    throw new XceptionError('fetch', webPage(response.url));
  }
  const total = version(response).length;
  const resumable = weights.method === 'GET' && response.status === 200;
  const broken = resumable ? resume(weights, response, signal) : (at, cause) => breakOff(response, at, cause);
  return { pieces: read(response.body, total, signal, broken), total, response };
}

/** Throws if the bytes begin like an HTML page or another answer that servers send in place of a file. */
export function refusePage(start, url) {
  const text = new TextDecoder().decode(start.subarray(0, 512)).trimStart();
  if (/^<(!doctype|html)/i.test(text)) throw new XceptionError('fetch', webPage(url));
  if (text.startsWith('version https://git-lfs')) {
    const message = `${url} is a Git LFS pointer in place of the file: publish the file itself (git lfs pull)`;
    throw new XceptionError('fetch', message);
  }
}

function isPage(response) {
  return /^text\/html\b/i.test(response.headers.get('content-type'));
}

function webPage(url) {
  return `${url}: the server answered with a web page, not with weights: check the address`;
}

async function ask(request, init) {
  try {
    return await fetch(request, init);
  } catch (error) {
    const why = 'the server is out of reach, or does not allow this page to read it (CORS)';
    throw new XceptionError('fetch', `${request.url} could not be fetched: ${why}`, { cause: error });
  }
}

/**
 * The pieces of a stream. If it breaks off or ends early, `broken` throws, or returns a stream of the missing bytes.
 */
export async function* read(stream, total, signal, broken) {
  let reader = stream.getReader();
  const cancel = () => reader.cancel().catch(() => {});
  // A caller's stream does not observe this signal.
  signal.addEventListener('abort', cancel);
  let loaded = 0;
  try {
    for (;;) {
      let piece, cause;
      try {
        piece = (await reader.read()).value;
      } catch (error) {
        cause = error;
      }
      signal.throwIfAborted();
      if (piece) {
        loaded += piece.length;
        yield piece;
      } else if (cause || loaded < total) {
        reader = (await broken(loaded, cause)).getReader();
      } else {
        return;
      }
    }
  } finally {
    signal.removeEventListener('abort', cancel);
    cancel();
  }
}

/** Resumes a download, at most three times. */
function resume(request, first, signal) {
  let attempts = 0;
  return async (at, cause) => {
    while (attempts < PAUSES.length) {
      await pause(PAUSES[attempts++], signal);
      const headers = new Headers(request.headers);
      // Without If-Range, which would need a CORS preflight.
      headers.set('range', `bytes=${at}-`);
      try {
        const next = await fetch(request, { headers, cache: 'no-store' });
        const stream = following(first, next, at);
        if (stream) return stream;
        next.body?.cancel().catch(() => {});
        cause = new Error(`the server answered ${next.status} ${next.statusText}`);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof XceptionError) throw error;
        cause = error;
      }
    }
    return breakOff(first, at, cause, ', and three further attempts failed');
  };
}

function breakOff(response, at, cause, more = '') {
  const { length } = version(response);
  const far = length ? `${at} of ${length}` : at;
  throw new XceptionError('fetch', `${response.url}: the download broke off after ${far} bytes${more}: try again`, { cause });
}

/** The bytes from `at` on, if the response `next` continues the file of the response `first`. */
function following(first, next, at) {
  if (![200, 206].includes(next.status) || !next.body || isPage(next)) return undefined;
  const [before, now] = [version(first), version(next)];
  if (Object.keys(before).some((key) => before[key] && now[key] && before[key] !== now[key])) {
    next.body.cancel().catch(() => {});
    throw new XceptionError('fetch', `${first.url} changed on the server while it was fetched: try again`);
  }
  if (next.status === 200) return next.body.pipeThrough(dropFirst(at));
  // CORS hides Content-Range unless the server exposes it.
  const start = /^bytes (\d+)-/.exec(next.headers.get('content-range'))?.[1];
  const wrong = (start && Number(start) !== at) || next.headers.has('content-encoding');
  return wrong ? undefined : next.body;
}

/** Identifies a version of a file, as far as the server tells it. */
function version({ status, headers }) {
  const encoded = headers.has('content-encoding');
  const length = status === 206 ? /\/(\d+)$/.exec(headers.get('content-range'))?.[1] : headers.get('content-length');
  return {
    // A compressed body has another length and tag.
    length: encoded ? undefined : Number(length) || undefined,
    etag: encoded ? undefined : headers.get('etag')?.replace(/^W\//, ''),
    modified: headers.get('last-modified'),
  };
}

function dropFirst(bytes) {
  return new TransformStream({
    transform(piece, controller) {
      if (piece.length > bytes) controller.enqueue(piece.subarray(bytes));
      bytes = Math.max(0, bytes - piece.length);
    },
  });
}

/** @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}
