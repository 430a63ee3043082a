// The packed package as users get it: its contents, its types for every resolver, built by each bundler and served with a strict CSP, in Node,
// Deno and Bun, as an HTTP server and in a Cloudflare Worker. `tests/consumers` has the tools.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
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
  follow(`pkg:npm/xception-webgpu@${JSON.parse(readFileSync('pkg/package.json', 'utf8')).version}`);
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

/** The example with the npm package webgpu. */
function throughDawn(command) {
  if (!existsSync(join(app, 'node_modules/webgpu'))) symlinkSync(join(tools, 'webgpu'), join(app, 'node_modules/webgpu'));
  const driver = '/usr/lib/chromium/vk_swiftshader_icd.json';
  runtime(command, [], existsSync(driver) ? { VK_ICD_FILENAMES: driver } : {});
}

test('Node classifies files through Dawn', () => throughDawn('node'));

/** A program of an npm package for each platform: install scripts, which would choose it, do not run here. */
function platformBinary(scope, path) {
  const file = process.platform === 'win32' ? `${path}.exe` : path;
  const folder = readdirSync(join(tools, scope)).find((folder) => existsSync(join(tools, scope, folder, file)));
  return join(tools, scope, folder, file);
}

const deno = () => platformBinary('@deno', 'deno');
const bun = () => platformBinary('@oven', 'bin/bun');
const DENO_FLAGS = ['run', '--allow-read', '--allow-env', '--allow-sys', '--unstable-webgpu', '--no-lock', '--node-modules-dir=manual'];

test('Deno classifies files', () => runtime(deno(), DENO_FLAGS, {}));

test('Bun classifies files through Dawn', () => throughDawn(bun()));

/** The first line that a program prints. */
async function firstLine(child) {
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${child.spawnfile} ended with ${code}`);
  });
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line'), ended]);
  return line;
}

/** POSTs a photo of the model's, or other bytes: the status, and the label or error. */
async function post(address, body) {
  const photo = typeof body === 'string' ? readFileSync(`models/kitchenware/photos/${body}.jpg`) : body;
  const response = await fetch(address, { method: 'POST', body: photo });
  const { predictions, error } = await response.json();
  return [response.status, error ?? predictions.map(({ label }) => label)];
}

/** The first of the five classes that an address names for a photo. */
async function named(address, name) {
  const [status, labels] = await post(address, name);
  assert.deepEqual([status, labels.length], [200, 5], String(labels));
  return labels[0];
}

for (const [name, command, flags] of [
  ['Node', () => 'node', []],
  ['Deno', deno, [...DENO_FLAGS, '--allow-net']],
  ['Bun', bun, []],
]) {
  test(`an HTTP server in ${name} answers photos, and says what is wrong with other bodies`, async () => {
    cpSync('examples/server.mjs', join(app, 'server.mjs'));
    const args = [...flags, 'server.mjs', resolve('models/kitchenware.safetensors')];
    const child = spawn(command(), args, { cwd: app, env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const address = await firstLine(child);
      assert.deepEqual(await Promise.all(['0009', '0412', '0013'].map((name) => named(address, name))), ['cup', 'fork', 'knife']);
      for (const body of [Buffer.from('text'), Buffer.alloc(0)]) {
        const [status, error] = await post(address, body);
        assert.equal(status, 400);
        assert.match(error, /^not a readable image: /);
      }
      assert.deepEqual(await post(address, Buffer.alloc(20 * 2 ** 20 + 1)), [413, 'the photo has more than 20971520 bytes']);
      assert.equal((await fetch(address)).status, 405);
      assert.equal(await named(address, '0009'), 'cup', 'it still answers');
    } finally {
      child.kill();
    }
  });
}

/** Bundles the Worker as wrangler does, by the rules of its wrangler.jsonc; wrangler itself needs a newer Node than this project. */
async function bundleWorker(folder) {
  cpSync('examples/cloudflare', folder, { recursive: true });
  // Comments have lines of their own there.
  const config = JSON.parse(readFileSync(join(folder, 'wrangler.jsonc'), 'utf8').replaceAll(/^ *\/\/.*$/gm, ''));
  const { build } = await tool('esbuild/lib/main.js');
  const modules = new Set();
  const rules = {
    name: 'rules',
    setup(build) {
      const filters = config.rules.flatMap(({ globs }) => globs).map((glob) => new RegExp(`${glob.replace('**', '.*')}$`));
      build.onResolve({ filter: /./ }, async (asked) => {
        if (asked.pluginData || !filters.some((filter) => filter.test(asked.path))) return undefined;
        const { path, ...options } = asked;
        const { path: file } = await build.resolve(path, { ...options, pluginData: 'found' });
        cpSync(file, join(folder, 'built', basename(file)));
        modules.add(basename(file));
        return { path: `./${basename(file)}`, external: true };
      });
    },
  };
  const { main } = config;
  const outfile = join(folder, 'built', main);
  const conditions = ['workerd', 'worker', 'browser'];
  await build({ entryPoints: [join(folder, main)], outfile, bundle: true, format: 'esm', conditions, plugins: [rules], logLevel: 'warning' });
  return { modules: [...modules], ...config };
}

test('a Cloudflare Worker answers photos on the CPU, from one model', async () => {
  const folder = join(app, 'cloudflare');
  symlinkSync(join(tools, 'jpeg-js'), join(app, 'node_modules/jpeg-js'));
  const { main, modules, compatibility_date: date, vars } = await bundleWorker(folder);
  assert.deepEqual([modules, Object.keys(vars)], [['cpu_bg.wasm'], ['WEIGHTS']]);
  let asked = 0;
  server.on('request', ({ url }) => {
    if (url.endsWith('kitchenware.safetensors?worker')) asked++;
  });
  const config = `
    using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [
        (name = "main", worker = (
          modules = [(name = "${main}", esModule = embed "${main}"), (name = "./${modules[0]}", wasm = embed "${modules[0]}")],
          compatibilityDate = "${date}",
          bindings = [(name = "WEIGHTS", text = "${url}models/kitchenware.safetensors?worker")],
          globalOutbound = "internet")),
        (name = "internet", network = (allow = ["private"]))],
      sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]);`;
  writeFileSync(join(folder, 'built/config.capnp'), config);
  const args = ['serve', '--control-fd=1', join(folder, 'built/config.capnp')];
  const child = spawn(platformBinary('@cloudflare', 'bin/workerd'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const { port } = JSON.parse(await firstLine(child));
    const address = `http://127.0.0.1:${port}/`;
    assert.deepEqual(await Promise.all(['0009', '0412', '0013'].map((name) => named(address, name))), ['cup', 'fork', 'knife']);
    assert.deepEqual(await post(address, Buffer.from('text')), [400, 'the photo must be a JPEG file of at most 1 megapixel']);
    assert.equal((await fetch(address)).status, 405);
    assert.equal(asked, 1);
  } finally {
    child.kill();
  }
});
