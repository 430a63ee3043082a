// npm start: set up the modules that a first photo needs, build the demo and serve it; then build the other modules beside it.
import { firstModules, nodeModules } from './setup.mjs';
import { runBeside, say, stop } from './shell.mjs';

say('1/4 Compiling the wasm modules: two or three minutes the first time. Meanwhile: npm packages and a model.');
const modules = firstModules();
modules.catch(({ message }) => stop(message));
nodeModules();
say('2/4 A model, 90 MB the first time. Then: the page.');
const { models } = await import('./model.mjs');
await models(modules);
await modules;
say('3/4 Building the page. Then: the server.');
const { build } = await import('./build.mjs');
await build();
const { serve } = await import('./serve.mjs');
const { url } = await serve(Number(process.env.PORT ?? 8080));
say(`4/4 Open ${url} in a browser with WebGPU, and drop a photo on it. Ctrl+C ends the server.`);

// In a process of its own, whose failure leaves the server alone.
const { child, ended } = runBeside(process.execPath, ['scripts/setup.mjs', 'modules'], { stdio: ['ignore', 'ignore', 'pipe'] });
let report = '';
child.stderr.on('data', (text) => (report += text));
process.on('SIGINT', () => {
  child.kill();
  process.exit();
});
try {
  await ended;
  await build({ keep: true });
  say('Threads for the CPU and smaller modules are built too: reload the page for them.');
} catch ({ message }) {
  say(`${report}\nThreads for the CPU and smaller modules could not be built: ${message} The page works without them.`);
}
