// npm run build: the demo as a static folder, `site/`, for any host: relative addresses, hashed names, no server code.
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { HUGGING_FACE } from './model.mjs';
import { wasmModules } from './setup.mjs';
import { npmPackages } from './shell.mjs';

const SITE = 'site';
const DEMO = 'pkg/demo';

/** A hash of files' names and contents. */
function hash(files) {
  const sum = createHash('sha256');
  for (const [name, bytes] of files) sum.update(name).update(bytes);
  return sum.digest('hex').slice(0, 10);
}

const read = (folder) => readdirSync(folder).map((name) => [name, readFileSync(`${folder}/${name}`)]);

/** Makes `site/` of www/ and pkg/dist, which must be built; an open page may need the files of before, if they are to be kept. */
export async function build({ keep = false } = {}) {
  const { build: bundle } = await import('esbuild');
  if (!keep) rmSync(SITE, { recursive: true, force: true });
  mkdirSync(`${SITE}/models`, { recursive: true });
  // The package's files name each other: its folder has the hash.
  const shipped = read('pkg/dist').filter(([name]) => /\.(js|wasm)$/.test(name) && !['imagenet.js', 'cli.js'].includes(name));
  const library = `xception-${hash(shipped)}`;
  for (const [name] of shipped) cpSync(`pkg/dist/${name}`, `${SITE}/${library}/${name}`);
  const alias = {
    name: 'package',
    setup: ({ onResolve }) => onResolve({ filter: /^xception-webgpu$/ }, () => ({ path: `./${library}/index.js`, external: true })),
  };
  const { metafile } = await bundle({
    entryPoints: ['www/main.js', 'www/style.css', 'www/icon.svg'],
    outdir: SITE,
    entryNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.jpg': 'file', '.webp': 'file', '.svg': 'copy' },
    bundle: true,
    splitting: true,
    format: 'esm',
    minify: true,
    metafile: true,
    plugins: [alias],
    logLevel: 'warning',
  });
  const made = Object.entries(metafile.outputs).map(([path, { entryPoint, inputs }]) => [entryPoint ?? Object.keys(inputs)[0], path.slice(SITE.length + 1)]);
  // Modules that few pages need are fetched on demand, and kept then.
  const kept = shipped.map(([name]) => `${library}/${name}`).filter((name) => !/\/(formats|learn|thread|cpu_threads)/.test(name));
  const named = (text) => made.reduce((text, [from, to]) => text.replaceAll(`"${from.slice('www/'.length)}"`, `"${to}"`), text);
  for (const name of ['index.html', 'manifest.webmanifest']) writeFileSync(`${SITE}/${name}`, named(readFileSync(`www/${name}`, 'utf8')));
  // Scripts that are imported by others are known at once.
  const needed = kept.filter((name) => /\/(index|chunk-\w+)\.js$/.test(name)).map((name) => `<link rel="modulepreload" href="${name}" />`);
  writeFileSync(`${SITE}/index.html`, readFileSync(`${SITE}/index.html`, 'utf8').replace('  </head>', `    ${needed.join('\n    ')}\n  </head>`));
  writeFileSync(`${SITE}/models/index.json`, JSON.stringify([HUGGING_FACE], null, 2));
  const files = ['./', 'manifest.webmanifest', ...made.map(([, to]) => to), ...kept];
  const contents = files.slice(1).map((name) => [name, readFileSync(`${SITE}/${name}`)]);
  const define = { FILES: JSON.stringify(files), VERSION: JSON.stringify(hash([['', readFileSync(`${SITE}/index.html`)], ...contents])) };
  await bundle({ entryPoints: ['www/sw.js'], outdir: SITE, define, minify: true, logLevel: 'warning' });
  // For `npx xception-webgpu demo`, which has the library beside it.
  rmSync(DEMO, { recursive: true, force: true });
  cpSync(SITE, DEMO, { recursive: true, filter: (path) => !path.startsWith(`${SITE}/xception-`) });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  npmPackages();
  wasmModules();
  await build();
  console.log(`The page is in ${SITE}/: put it on any host. To serve weights of your own, list them in ${SITE}/models/index.json.`);
}
