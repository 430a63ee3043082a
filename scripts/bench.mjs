// npm run bench: this package beside the runtimes that one could take instead, on one model and one photo, in one headless
// Chromium. The table goes to the terminal, all of it to bench/results.json, and a chart to bench/results.svg.
//
//   --network NAME   xception (the kitchenware model), or inception_v3 (that of npm's nsfwjs)
//   --size 150       the photo's side in pixels; 299 unless said otherwise
//   --runs 10        how often each runtime takes its turn (5)
//   --seconds 60     a runtime that has taken so long sits the next turns out (30)
//   --threads 4,1    threads of the wasm backends (2,1)
//   --only ort,f32   runtimes whose id contains one of these words
//   --docs           writes docs/bench.json and docs/bench.svg instead
//   --serve          prints an address instead: open it in any browser, on a machine with a GPU
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { setup } from './setup.mjs';
import { debian, npmPackages, stop } from './shell.mjs';

/** The options, or a sentence about the one that is wrong. */
function parse() {
  const text = (fallback) => ({ type: 'string', default: fallback });
  const flag = { type: 'boolean', default: false };
  const known = {
    network: text('xception'),
    size: text('299'),
    runs: text('5'),
    seconds: text('30'),
    threads: text('2,1'),
    only: text(''),
    docs: flag,
    serve: flag,
  };
  try {
    const { values } = parseArgs({ options: known });
    for (const name of ['size', 'runs', 'seconds']) {
      if (!/^[1-9]\d*$/.test(values[name])) throw new Error(`--${name} takes a whole number from 1, not '${values[name]}'.`);
    }
    const least = { xception: 71, inception_v3: 75 }[values.network];
    if (!least) throw new Error(`--network takes xception or inception_v3, not '${values.network}'.`);
    // Its poolings leave nothing of a smaller photo.
    if (Number(values.size) < least) throw new Error(`--size must be ${least} or more.`);
    if (!/^\d+(,\d+)*$/.test(values.threads)) throw new Error(`--threads takes numbers with commas, not '${values.threads}'.`);
    return values;
  } catch (error) {
    stop(error.message);
  }
}

/** Serves the page cross-origin isolated, which threads need, and every file as if for the first time. */
async function server(port) {
  const { serve } = await import('./serve.mjs');
  const { server, url } = await serve(port, { '/bench': 'bench' });
  server.prependListener('request', (request, response) => {
    delete request.headers['if-none-match'];
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  });
  return { server, url };
}

async function compare(address) {
  const { findChromium, launch } = await import('../tests/e2e/browser.mjs');
  const advice = findChromium() ? undefined : debian('chromium');
  if (advice) stop(`The benchmark needs Chrome or Chromium: ${advice}. CHROME_PATH may name it.`);
  // GPU memory that a runtime has dropped but not freed only shows as such after a collection.
  const browser = await launch('--js-flags=--expose-gc');
  try {
    const page = await browser.newPage();
    page.on('console', (message) => message.type() === 'info' && console.log(`  ${message.text()}`));
    const crash = new Promise((_, reject) => page.on('crash', () => reject(new Error('the page crashed'))));
    await page.goto(address);
    return await Promise.race([page.evaluate(() => globalThis.finished), crash]);
  } catch (error) {
    stop(`The comparison failed: ${error.message}`);
  } finally {
    await browser.close();
  }
}

const options = parse();
await setup();
const { models } = await import('../bench/setup.mjs');
// The runtimes and the chart's library: packages that nothing else here needs.
npmPackages('bench');
await models(options.network, options.size);
const { network, size, runs, seconds, threads, only } = options;
const query = new URLSearchParams({ network, size, runs, seconds, threads, only });
const { server: running, url } = await server(options.serve ? Number(process.env.PORT ?? 8080) : 0);
if (options.serve) {
  console.log(`\nOpen ${url}bench/?${query} in a browser with WebGPU, and press Run. Ctrl+C ends the server.`);
} else {
  const results = await compare(`${url}bench/?${query}&auto`);
  running.close();
  const { markdown } = await import('../bench/table.js');
  const { chart } = await import('../bench/chart.mjs');
  const output = options.docs ? 'docs/bench' : 'bench/results';
  writeFileSync(`${output}.json`, `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(`${output}.svg`, await chart(results));
  console.log(`\n${markdown(results)}\n\nAll of it is in ${output}.json, a chart in ${output}.svg.`);
  const failed = results.rows.filter(({ ours, status }) => ours && status !== 'ok');
  if (failed.length > 0) stop(failed.map(({ name, status, reason }) => `${name}: ${status}, ${reason}.`).join('\n'));
}
