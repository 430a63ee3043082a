// The packed package as users get it: its contents, its types for every resolver, built by each bundler and served with a strict CSP, and in
// Node and Deno. `tests/consumers` has the tools.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';
import { dependencies, sbom, table } from '../../scripts/sbom.mjs';
import { serve } from '../../scripts/serve.mjs';
import { Demo, launch } from './browser.mjs';
import { pack, tool, tools } from './packed.mjs';

const app = resolve('test-results/consumers');
let packed, tarball, server, browser, url;

/** The page of every consumer: its address sets the backend and whether a worker is used. */
const main = (worker) => `
import { Xception } from 'xception-webgpu';
const asked = new URLSearchParams(location.search);
const backend = asked.has('cpu') ? 'cpu' : 'webgpu';
const worker = asked.has('worker') ? ${worker} : backend === 'cpu' ? undefined : false;
const answer = async () => {
  await using model = await Xception.load({ weights: '/models/kitchenware.safetensors', backend, worker, threads: 2, warmup: false });
  const [{ label }] = (await model.classify('/models/kitchenware/photos/0009.jpg')).predictions;
  return asked.has('threads') ? [label, ...model.info.adapter.match(/\\d threads/)].join() : label;
};
document.title = await answer().catch(({ code, message }) => \`\${code}: \${message}\`);
`;
/** Every bundler's code and the package's own, with no string taken for a script. */
const policy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types xception-webgpu bundler";
const html = (script) => `<!doctype html><script type="module" src="${script}"></script>`;

before(async () => {
  ({ packed, tarball } = pack(app));
  writeFileSync(join(app, 'main.js'), main('true'));
  // Rollup and esbuild do not bundle workers: the worker is a separate entry.
  const own = "trustedTypes.createPolicy('bundler', { createScriptURL: String }).createScriptURL(new URL('./worker.js', import.meta.url))";
  writeFileSync(join(app, 'own.js'), main(`new Worker(${own}, { type: 'module' })`));
  writeFileSync(join(app, 'worker.js'), "import 'xception-webgpu/worker';\n");
  writeFileSync(join(app, 'index.html'), html('./main.js'));
  ({ server, url } = await serve(0, { '/consumers': 'test-results/consumers' }));
  server.prependListener('request', ({ url }, response) => {
    // As a header it holds in workers too.
    response.setHeader('Content-Security-Policy', url.endsWith('unlisted') ? policy.replace('xception-webgpu', '') : policy);
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    if (url.endsWith('threads')) response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
  });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

/** Opens a consumer's page: its answer, and the package's files that it fetched. */
async function answer(path) {
  const page = await browser.newPage();
  const fetched = new Map();
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('response', async (response) => {
    if (/\.(js|wasm)$/.test(new URL(response.url()).pathname)) fetched.set(response.url(), response.body());
  });
  await page.goto(`${url}consumers/${path}`);
  await page.waitForFunction(() => document.title);
  const [title, bodies] = [await page.title(), await Promise.all(fetched.values())];
  await page.close();
  return { title: [title, ...complaints].join(' '), bodies };
}

/** Bytes fetched, compressed by brotli. */
const compressed = ({ bodies }) => bodies.reduce((sum, body) => sum + brotliCompressSync(body).length, 0);

/** Copies the package's files beside the output of bundlers that do not emit them. */
function copyWasm(folder) {
  for (const name of ['xception', 'formats', 'learn', 'cpu', 'cpu_relaxed', 'cpu_threads', 'cpu_threads_relaxed'])
    cpSync(join(packed, `dist/${name}_bg.wasm`), join(folder, `${name}_bg.wasm`));
  writeFileSync(join(folder, 'index.html'), html('./own.js'));
}

const bundlers = {
  async vite(outDir) {
    const { build } = await tool('vite/dist/node/index.js');
    await build({ root: app, base: './', logLevel: 'warn', configFile: false, worker: { format: 'es' }, build: { outDir, target: 'esnext' } });
  },
  async webpack(path) {
    const { default: webpack } = await tool('webpack/lib/index.js');
    const config = { mode: 'production', context: app, entry: { main: './main.js' }, output: { path, filename: '[name].js', trustedTypes: 'bundler' } };
    const stats = await new Promise((accept, reject) => webpack(config, (error, stats) => (error ? reject(error) : accept(stats))));
    assert.equal(stats.hasErrors(), false, stats.toString());
    writeFileSync(join(path, 'index.html'), html('./main.js'));
  },
  async rollup(dir) {
    const { rollup } = await tool('rollup/dist/es/rollup.js');
    const { nodeResolve } = await tool('@rollup/plugin-node-resolve/dist/es/index.js');
    const bundle = await rollup({ input: [join(app, 'own.js'), join(app, 'worker.js')], plugins: [nodeResolve()] });
    await bundle.write({ dir, format: 'es' });
    copyWasm(dir);
  },
  async esbuild(outdir) {
    const { build } = await tool('esbuild/lib/main.js');
    const entryPoints = [join(app, 'own.js'), join(app, 'worker.js')];
    await build({ entryPoints, outdir, bundle: true, splitting: true, format: 'esm', minify: true, logLevel: 'warning' });
    copyWasm(outdir);
  },
};

for (const [name, bundle] of Object.entries(bundlers)) {
  test(`${name} builds it, and a page with a strict CSP and Trusted Types answers, also from a worker`, async (context) => {
    await bundle(join(app, name));
    // A GPU takes a software adapter's time: one bundler's worker has it.
    const inWorker = name === 'vite' ? 'worker' : 'worker&cpu';
    const [page, worker, cpu] = [await answer(`${name}/index.html`), await answer(`${name}/index.html?${inWorker}`), await answer(`${name}/index.html?cpu`)];
    assert.deepEqual([page.title, worker.title, cpu.title], ['cup', 'cup', 'cup']);
    if (['vite', 'webpack'].includes(name)) assert.equal((await answer(`${name}/index.html?cpu&threads`)).title, 'cup,2 threads');
    const bytes = compressed(page);
    context.diagnostic(`${page.bodies.length} files, ${bytes} bytes brotli; on the CPU ${compressed(cpu)}`);
    assert.ok(bytes <= 140_000, `${bytes} bytes`);
    assert.ok(compressed(cpu) <= 110_000, `${compressed(cpu)} bytes on the CPU`);
  });
}

test('without a bundler a page fetches less than 140 KB (brotli)', async (context) => {
  writeFileSync(join(app, 'plain.js'), main('true').replace("'xception-webgpu'", "'./node_modules/xception-webgpu/dist/index.js'"));
  writeFileSync(join(app, 'plain.html'), html('./plain.js'));
  const { title, bodies } = await answer('plain.html');
  assert.equal(title, 'cup');
  const bytes = compressed({ bodies });
  context.diagnostic(`${bodies.length} files, ${bytes} bytes brotli`);
  assert.ok(bytes <= 140_000, `${bytes} bytes`);
  for (const place of ['worker', 'cpu']) assert.equal((await answer(`plain.html?${place}`)).title, 'cup');
  assert.equal((await answer('plain.html?cpu&threads')).title, 'cup,2 threads');
  assert.match((await answer('plain.html?worker&unlisted')).title, /^internal: the worker failed: .* must list xception-webgpu under trusted-types/);
});

test('what is packed is what is used, and resolves everywhere', async () => {
  const files = readdirSync(packed, { recursive: true })
    .filter((name) => name !== 'dist')
    .sort();
  assert.ok(
    [
      'README.md',
      'index.d.ts',
      'dist/worker.js',
      'dist/thread.js',
      'dist/xception_bg.wasm',
      'dist/cpu_bg.wasm',
      'dist/cpu_relaxed_bg.wasm',
      'dist/cpu_threads_bg.wasm',
      'dist/cpu_threads_relaxed_bg.wasm',
      'dist/formats_bg.wasm',
      'dist/learn_bg.wasm',
      'dist/cli.js',
      'demo/index.html',
    ].every((name) => files.includes(name)),
  );
  assert.deepEqual(
    files.filter((name) => !/\.(js|js\.map|wasm|d\.ts)$|^(README\.md|package\.json|dist\/LICENSE-\w+|dist\/sbom\.cdx\.json|demo(\/.*)?)$/.test(name)),
    [],
  );
  const { publint } = await tool('publint/src/index-node.js');
  const { messages } = await publint({ pkgDir: packed, strict: true });
  assert.deepEqual(messages, []);
  const attw = join(tools, '.bin/attw');
  const { status, stdout } = spawnSync(attw, ['--profile', 'esm-only', tarball], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('its bill of materials is CycloneDX, and docs/dependencies.md fits Cargo.lock', async () => {
  const all = dependencies();
  const bom = readFileSync(join(packed, 'dist/sbom.cdx.json'), 'utf8');
  assert.equal(bom, sbom(all), 'npm run sbom writes it anew');
  assert.equal(readFileSync('docs/dependencies.md', 'utf8'), table(all), 'npm run sbom writes it anew');
  const { Spec, Validation } = await tool('@cyclonedx/cyclonedx-library/dist.node/index.node.js');
  assert.equal(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(bom), null);
  const { components, dependencies: graph } = JSON.parse(bom);
  const names = new Set(components.map(({ purl }) => purl));
  assert.equal(names.size, all.length);
  assert.deepEqual(
    ['wgpu', 'rten-simd', 'hdf5-pure', '@noble/hashes'].filter((name) => !components.some((component) => component.name === name)),
    [],
  );
  const reached = new Set();
  const follow = (ref) => {
    if (reached.has(ref)) return;
    reached.add(ref);
    graph.find((node) => node.ref === ref).dependsOn.forEach(follow);
  };
  follow('pkg:npm/xception-webgpu@0.1.0');
  assert.equal(reached.size, names.size + 1, 'everything is needed by something');
});

test('on a server importing it does nothing', () => {
  const script = "const { Xception } = await import('xception-webgpu'); console.log(await Xception.isSupported().then(({ backend }) => backend))";
  const { stdout, stderr } = spawnSync('node', ['--input-type=module', '-e', script], { cwd: app, encoding: 'utf8' });
  assert.deepEqual([stdout, stderr], ['cpu\n', '']);
});

test('npx serves the demo page as it was built', async () => {
  const command = join(packed, JSON.parse(readFileSync(join(packed, 'package.json'), 'utf8')).bin['xception-webgpu']);
  for (const args of [[], ['demos'], ['demo', '--port', 'x'], ['demo', '--ports', '1']]) {
    const { status, stderr } = spawnSync('node', [command, ...args], { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [2, 'Usage: npx xception-webgpu demo [--port N]\n']);
  }
  const child = spawn('node', [command, 'demo', '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const address = /http:\S+/.exec(String(await once(child.stdout, 'data')))[0];
    const page = await browser.newPage();
    const demo = new Demo(page, `${address}?backend=cpu`);
    await page.route('https://huggingface.co/**', (route) => route.abort());
    await demo.open();
    assert.match(await page.textContent('#status'), /^Ready for a photo\. ImageNet, from Hugging Face/);
    await demo.drop('kitchenware.safetensors', readFileSync('models/kitchenware.safetensors'));
    await page.waitForFunction(() => document.getElementById('model').textContent.startsWith('kitchenware'));
    const { rows } = await demo.classify('0009.jpg', readFileSync('models/kitchenware/photos/0009.jpg'));
    assert.deepEqual([rows[0].label, demo.complaints], ['cup', []]);
    await page.close();
  } finally {
    child.kill();
  }
});

/** The example for runtimes without a page, on a software adapter and on the CPU. */
function runtime(command, args, env) {
  for (const backend of ['webgpu', 'cpu']) classify(command, args, { BACKEND: backend, ...env });
}

function classify(command, args, env) {
  cpSync('examples/node.mjs', join(app, 'node.mjs'));
  const photos = ['0009', '0412'].map((name) => resolve(`models/kitchenware/photos/${name}.jpg`));
  const all = [...args, 'node.mjs', resolve('models/kitchenware.safetensors'), ...photos];
  const { stdout, stderr } = spawnSync(command, all, { cwd: app, encoding: 'utf8', env: { ...process.env, ...env }, timeout: 900_000 });
  const labels = stdout
    .trim()
    .split('\n')
    .map((line) => line.match(/: (\w+) [\d.]+$/)?.[1]);
  assert.deepEqual(labels, ['cup', 'fork'], stderr);
}

test('Node classifies files through Dawn', () => {
  if (!existsSync(join(app, 'node_modules/webgpu'))) symlinkSync(join(tools, 'webgpu'), join(app, 'node_modules/webgpu'));
  const driver = '/usr/lib/chromium/vk_swiftshader_icd.json';
  runtime('node', [], existsSync(driver) ? { VK_ICD_FILENAMES: driver } : {});
});

test('Deno classifies files', () => {
  const flags = ['run', '--allow-read', '--allow-env', '--allow-sys', '--unstable-webgpu', '--no-lock', '--node-modules-dir=manual'];
  runtime(join(tools, '.bin/deno'), flags, {});
});
