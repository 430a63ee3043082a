// npm start: set up, then serve the demo.
import { setup } from './setup.mjs';

await setup();
const { serve } = await import('./serve.mjs');
const { url } = await serve(Number(process.env.PORT ?? 8080));
console.log(`\nOpen ${url} in a browser with WebGPU, and drop a photo on it. Ctrl+C ends the server.`);
