// In Node 20.16 or newer, on the GPU where Dawn's WebGPU is there too: npm install xception-webgpu webgpu
//   node node.mjs model.safetensors photo.jpg …
// In Deno, which has WebGPU: deno run --allow-read --unstable-webgpu node.mjs model.safetensors photo.jpg …
import { readFile } from 'node:fs/promises';
import { Xception } from 'xception-webgpu';

const dawn = globalThis.navigator?.gpu ? undefined : await import('webgpu').catch(() => {});
if (dawn) {
  const { create, globals } = dawn;
  // wgpu takes the browser's word for what it runs in.
  Object.assign(globalThis, globals, { Window: class Window {} });
  Object.defineProperty(globalThis, 'navigator', { value: { gpu: create([]), userAgent: 'node' }, configurable: true });
}

const [weights, ...photos] = process.argv.slice(2);
const model = await Xception.load({ weights: await readFile(weights), backend: process.env.BACKEND });
const { predictions } = await model.classifyBatch(await Promise.all(photos.map((photo) => readFile(photo))), { topK: 1 });
photos.forEach((photo, i) => console.log(`${photo}: ${predictions[i][0].label} ${predictions[i][0].score.toFixed(3)}`));
await model.dispose();
process.exit();
