// The files of `app:` addresses: this folder's, and the package's under /xception-webgpu/.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const folders = { '/xception-webgpu/': dirname(fileURLToPath(import.meta.resolve('xception-webgpu'))), '/': import.meta.dirname };
const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
/** The last two let threads share memory. */
const headers = {
  'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; worker-src 'self'; img-src blob:",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

/** Answers a request with a file. Addresses have no `..` left in them, and an escaped separator is refused. */
export async function respond({ url }) {
  const { pathname } = new URL(url);
  const [prefix, folder] = Object.entries(folders).find(([prefix]) => pathname.startsWith(prefix));
  const path = join(folder, pathname.slice(prefix.length));
  const found = /%2f|%5c/i.test(pathname) ? undefined : await stat(path).catch(() => undefined);
  if (!found?.isFile()) return new Response('not found', { status: 404 });
  const about = { ...headers, 'content-type': types[extname(path)] ?? 'application/octet-stream', 'content-length': String(found.size) };
  return new Response(Readable.toWeb(createReadStream(path)), { headers: about });
}
