// npm start: set up, build the demo, then serve it.
import { setup } from './setup.mjs';

await setup();
const { build } = await import('./build.mjs');
await build();
const { serve } = await import('./serve.mjs');
const { url } = await serve(Number(process.env.PORT ?? 8080));
console.log(`\nOpen ${url} in a browser with WebGPU, and drop a photo on it. Ctrl+C ends the server.`);
