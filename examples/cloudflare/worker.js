// A Cloudflare Worker that names what a photo shows, on the CPU: npm install xception-webgpu jpeg-js wrangler && npx wrangler dev
//   curl --data-binary @photo.jpg http://localhost:8787
import { decode } from 'jpeg-js';
import { Xception } from 'xception-webgpu';
import wasmCpu from 'xception-webgpu/wasm-cpu';

/** The model of this isolate, which serves many requests. Workers may fetch nothing before the first one. */
let loading;

function load(weights) {
  loading ??= Xception.load({ weights, backend: 'cpu', wasmCpu });
  loading.catch(() => (loading = undefined));
  return loading;
}

/** Pixels of a JPEG file, whose decoder takes 22 bytes a pixel. An isolate has 128 MB, of which a model takes 56 to 80. */
function pixelsOf(file) {
  try {
    return decode(file, { useTArray: true, maxResolutionInMP: 1 });
  } catch {
    return undefined;
  }
}

async function answer(request, env, context) {
  if (request.method !== 'POST') return [405, { error: 'POST a photo' }];
  const photo = pixelsOf(await request.arrayBuffer());
  if (!photo) return [400, { error: 'the photo must be a JPEG file of at most 1 megapixel' }];
  try {
    const model = load(env.WEIGHTS);
    // Loading goes on where the client leaves.
    context.waitUntil(model);
    const { predictions } = await (await model).classify(photo, { topK: 5 });
    return [200, { predictions }];
  } catch (error) {
    return [500, { error: error.message }];
  }
}

export default {
  async fetch(request, env, context) {
    const [status, body] = await answer(request, env, context);
    return Response.json(body, { status });
  },
};
