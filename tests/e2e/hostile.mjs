// A server of the package, an /empty page, and below /hostile/ weights with every fault that servers and connections have.
import { readFileSync } from 'node:fs';
import { serve } from '../../scripts/serve.mjs';

export const file = readFileSync('models/kitchenware.safetensors');

/** One byte of a weight is changed; it remains a finite number. */
export const corrupt = Buffer.from(file);
corrupt[corrupt.length - 4096] ^= 1;

const MB = 1e6;
const html = { body: Buffer.from('\n <!DOCTYPE html><title>Sign in</title>'), type: 'text/html; charset=utf-8' };
const encoded = { headers: { 'content-encoding': 'x-own' } };
const pointer = Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 83953048\n');

/**
 * The answers by path below /hostile/, to the nth request for it (from 1). `cut` bytes are sent before the
 * connection breaks, `claim` is the Content-Length, and `at` where a Content-Range says that it begins.
 */
const modes = {
  good: () => ({}),
  cut3: (n) => ({ cut: [1000, 20 * MB, 20 * MB][n - 1] }),
  cut4: (n) => ({ cut: [1000, 500, 500, 500][n - 1] }),
  'no-ranges': (n) => (n === 1 ? { cut: 40 * MB } : { ranges: false, cut: n === 2 ? 20 * MB : undefined }),
  'bad-resumes': (n) => [{ cut: 1000 }, { status: 500 }, { at: 7 }, {}][n - 1],
  'worse-resumes': (n) => [{ cut: 1000 }, { status: 416 }, { ...html, ranges: false }, encoded][n - 1],
  'gone-after': (n) => (n === 1 ? { cut: 1000 } : { cut: 0 }),
  'new-tag': (n) => (n === 1 ? { cut: 1000 } : { headers: { etag: '"2"' } }),
  'new-date': (n) => (n === 1 ? { cut: 1000 } : { headers: { 'last-modified': 'Mon, 05 Jan 2026 00:00:00 GMT' } }),
  'new-length': (n) => (n === 1 ? { cut: 1000 } : { body: file.subarray(4) }),
  'new-whole': (n) => (n === 1 ? { cut: 1000 } : { body: file.subarray(4), ranges: false }),
  long: () => ({ body: file.subarray(0, 2000), claim: 3000 }),
  short: () => ({ claim: 1000 }),
  html: () => html,
  'html-bytes': () => ({ body: html.body }),
  lfs: () => ({ body: pointer }),
  corrupt: () => ({ body: corrupt }),
  private: () => ({ headers: { 'cache-control': 'private, no-store' } }),
  slow: () => ({ stall: 1000 }),
  'slow-later': () => ({ stall: 30 * MB }),
  keras: () => ({ body: readFileSync('models/kitchenware/kitchenware.keras') }),
};

export async function hostile() {
  const { server, url } = await serve(0);
  /** Every request below /hostile/: its path, method and range, and whether its connection is closed. */
  const requests = [];
  const [serveFile] = server.listeners('request');
  server.removeAllListeners('request');
  server.on('request', (request, response) => {
    const name = /^\/hostile\/([\w-]+)/.exec(request.url)?.[1];
    if (request.url === '/empty') return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>');
    if (!name) return serveFile(request, response);
    const entry = { path: request.url, method: request.method, range: request.headers.range, closed: false };
    response.on('close', () => (entry.closed = true));
    requests.push(entry);
    const nth = requests.filter(({ path }) => path === request.url).length;
    send(request, response, modes[name](nth) ?? {});
  });
  return { server, url, requests };
}

function send(request, response, { body = file, ranges = true, status, type, headers, at, cut, stall, claim }) {
  const from = ranges ? Number(/^bytes=(\d+)-/.exec(request.headers.range)?.[1] ?? 0) : 0;
  const rest = body.subarray(from, claim === undefined ? undefined : from + claim);
  if (rest.length === 0) return response.writeHead(416).end();
  response.writeHead(status ?? (from > 0 ? 206 : 200), {
    'access-control-allow-origin': '*',
    'content-type': type ?? 'application/octet-stream',
    'content-length': claim ?? rest.length,
    ...(from > 0 && { 'content-range': `bytes ${at ?? from}-${body.length - 1}/${body.length}` }),
    etag: '"1"',
    'last-modified': 'Sun, 04 Jan 2026 00:00:00 GMT',
    connection: 'close',
    ...headers,
  });
  response.write(rest.subarray(0, cut ?? stall), () => {
    // When a connection breaks, a browser drops what it has not delivered yet.
    if (stall === undefined) setTimeout(() => response.socket.destroySoon(), 250);
  });
}
