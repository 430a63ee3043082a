// An HTTP server that names what a photo shows, in Node, Deno and Bun: node server.mjs model.safetensors
//   curl --data-binary @photo.jpg http://localhost:8080
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { Xception } from 'xception-webgpu';

const MAX_BYTES = 20 * 2 ** 20;
const MAX_PIXELS = 50e6;

/** HTTP statuses of errors that are the client's; others are the server's. */
const STATUSES = { decode: 400, 'too-large': 413 };

const model = await Xception.load({ weights: await readFile(process.argv[2]), limits: { pixels: MAX_PIXELS } });

/** The bytes of a request, or undefined where there are too many: the rest is read and dropped, so that the answer arrives. */
async function bodyOf(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length <= MAX_BYTES) chunks.push(chunk);
  }
  return length <= MAX_BYTES ? Buffer.concat(chunks) : undefined;
}

async function answer(request) {
  if (request.method !== 'POST') return [405, { error: 'POST a photo: JPEG, PNG, WebP or GIF' }];
  const photo = await bodyOf(request);
  if (!photo) return [413, { error: `the photo has more than ${MAX_BYTES} bytes` }];
  try {
    const { predictions } = await model.classify(photo, { topK: 5 });
    return [200, { predictions }];
  } catch (error) {
    return [STATUSES[error.code] ?? 500, { error: error.message }];
  }
}

const server = createServer(async (request, response) => {
  try {
    const [status, body] = await answer(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  } catch {
    // The client has gone.
    response.destroy();
  }
});
server.listen(process.env.PORT ?? 8080, 'localhost', () => console.log(`http://localhost:${server.address().port}/`));
