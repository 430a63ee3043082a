// npm run release: checks a release and reports on it. --write prepares the tree, to be committed and tagged; .github/workflows/release.yml
// publishes the tag.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { brotliCompressSync } from 'node:zlib';
import { say, stop } from './shell.mjs';

/** The types and sizes of the last release. */
const LAST = 'docs/release';
/** Files whose types are the package's interface. */
const TYPES = ['index', 'imagenet', 'react', 'element', 'worker', 'wasm'].map((name) => `${name}.d.ts`);
/** Types that callers give: what the last release took must still do. All others callers get. */
const GIVEN = /Options$|^(Example|ImageInput|Pixels|Limits|Filter|Fit)$/;

const text = (path) => readFileSync(path, 'utf8');
const json = (path) => JSON.parse(text(path));

/** The names of exported types. */
function exported(declarations) {
  return [...declarations.matchAll(/^export (?:declare )?(?:interface|type|class) (\w+)/gm)].map(([, name]) => name);
}

/**
 * Breaking changes from the types in the folder `before` to those in `now`, as messages of TypeScript. New values and types that callers get must be
 * assignable to the old ones, old types that callers give to the new ones.
 */
export function breaks(before, now, folder = 'test-results/release') {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const removed = TYPES.filter((name) => existsSync(join(before, name)) && !existsSync(join(now, name)));
  const both = TYPES.filter((name) => existsSync(join(before, name)) && existsSync(join(now, name)));
  for (const [when, from] of Object.entries({ before, now })) {
    mkdirSync(join(folder, when));
    // Classes with private constructors are never alike.
    for (const name of both) writeFileSync(join(folder, when, name), text(join(from, name)).replace(/^\s*private constructor\(.*\);$/m, ''));
  }
  for (const name of both) {
    const module = name.replace('.d.ts', '');
    const lines = [`import * as Before from './before/${module}.js';`, `import * as Now from './now/${module}.js';`];
    lines.push('export const values: typeof Before = Now;');
    for (const type of exported(text(join(before, name)))) {
      const [to, from] = GIVEN.test(type) ? ['Now', 'Before'] : ['Before', 'Now'];
      lines.push(`export const of${type}: ${to}.${type} = null! as ${from}.${type};`);
    }
    writeFileSync(join(folder, `${module}.ts`), lines.join('\n'));
  }
  // Parameters are compared by the types that callers give: a model is passed too, and may have new methods.
  const options = {
    strict: true,
    strictFunctionTypes: false,
    noEmit: true,
    skipLibCheck: true,
    target: 'esnext',
    module: 'nodenext',
    lib: ['esnext', 'dom', 'dom.iterable'],
    types: [],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: both.map((name) => name.replace('.d.ts', '.ts')) }));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const compiler = resolve('node_modules/typescript/bin/tsc');
  const { stdout } = spawnSync('node', [compiler, '--pretty', 'false', '-p', '.'], { cwd: folder, encoding: 'utf8' });
  return [...removed.map((name) => `${name} is gone`), ...stdout.split('\n').filter((line) => line.trim())];
}

/** Bytes of the package's files as they are fetched (brotli), by their names without hashes. */
export function sizes(folder) {
  const shipped = readdirSync(folder).filter((name) => /\.(js|wasm)$/.test(name));
  const size = (name) => [name.replace(/-[A-Z0-9]{8}(?=\.js$)/, ''), brotliCompressSync(readFileSync(join(folder, name))).length];
  const sum = {};
  for (const [name, bytes] of shipped.map(size)) sum[name] = (sum[name] ?? 0) + bytes;
  return Object.fromEntries(Object.entries(sum).sort());
}

/** The changelog's section of a version, without its heading. */
export function section(changelog, version) {
  const sections = changelog.split(/^## /m).map((text) => /^(\S+)[^\n]*\n([\s\S]*)$/.exec(text));
  return sections.find((found) => found?.[1] === version)?.[2].trim() ?? '';
}

/** The notes of the next release. */
export const notes = (changelog) => section(changelog, 'Unreleased');

/** Whether notes announce a breaking change. */
export const isAnnounced = (notes) => /^### Removed$|\*\*Breaking\*\*/m.test(notes);

/** Whether a version, as semver has it, comes after another one. */
export function isAfter(version, last) {
  const numbers = (text) => /^(\d+)\.(\d+)\.(\d+)$/.exec(text)?.slice(1).map(Number);
  const [mine, other] = [numbers(version), numbers(last)];
  if (!mine) return false;
  const index = mine.findIndex((number, index) => number !== other[index]);
  return index >= 0 && mine[index] > other[index];
}

/** The line with the version, in each manifest. */
const versioned = { 'Cargo.toml': /^version = ".*"$/m, 'pkg/package.json': /"version": ".*"/ };

function main() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { write: { type: 'boolean' }, repository: { type: 'string' } } });
  const current = json('pkg/package.json').version;
  const [version = current] = positionals;
  const faults = [];
  const last = existsSync(`${LAST}/release.json`) ? json(`${LAST}/release.json`) : undefined;
  say(`Release ${version}, after ${last?.version ?? 'none'}`);
  if (last && !isAfter(version, last.version)) faults.push(`${version} does not come after ${last.version}: name the next version`);
  if (text('Cargo.toml').match(versioned['Cargo.toml'])[0] !== `version = "${current}"`) faults.push('Cargo.toml and pkg/package.json have different versions');

  const changes = notes(text('CHANGELOG.md'));
  if (!changes) faults.push('CHANGELOG.md has nothing under "Unreleased"');
  const broken = last ? breaks(LAST, 'pkg') : [];
  if (broken.length) {
    console.log(`What code for ${last.version} cannot do any more:\n  ${broken.join('\n  ')}`);
    if (!isAnnounced(changes)) faults.push('the interface breaks, and CHANGELOG.md has no "### Removed" and no "**Breaking**" under "Unreleased"');
  }

  if (!existsSync('pkg/dist/index.js')) stop('pkg/dist is missing: run npm run build.');
  const fetched = sizes('pkg/dist');
  console.log(`\n${'file'.padEnd(32)} ${'brotli'.padStart(9)} ${'before'.padStart(9)}`);
  for (const name of new Set([...Object.keys(fetched), ...Object.keys(last?.sizes ?? {})])) {
    console.log(`${name.padEnd(32)} ${String(fetched[name] ?? '–').padStart(9)} ${String(last?.sizes[name] ?? '–').padStart(9)}`);
  }
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: 'pkg', encoding: 'utf8' }));
  console.log(`\nnpm: ${packed.name} ${packed.version}, ${packed.entryCount} files, ${(packed.size / 1e6).toFixed(1)} MB packed`);
  const crate = spawnSync('cargo', ['publish', '--dry-run', '--no-verify', '--allow-dirty', '--locked'], { encoding: 'utf8' });
  console.log(`crate: ${/Packaged (.*)/.exec(crate.stderr)?.[1] ?? 'not packed'}`);
  if (crate.status !== 0) faults.push(`cargo publish --dry-run: ${crate.stderr.trim()}`);

  const repository = values.repository ?? (process.env.GITHUB_REPOSITORY && `https://github.com/${process.env.GITHUB_REPOSITORY}`);
  console.log(`repository: ${repository ?? 'not known here; the workflow takes its own, --repository https://… names another'}`);
  if (faults.length) stop(`This is no release yet:\n  ${faults.join('\n  ')}`);
  if (!values.write) return say('Nothing is written: --write does that.');
  write(version, repository, fetched);
  say(`${version} is written. Commit it, and tag it v${version}.`);
}

/** Makes the tree that of a release. */
function write(version, repository, fetched) {
  writeFileSync('Cargo.toml', text('Cargo.toml').replace(versioned['Cargo.toml'], `version = "${version}"`));
  execFileSync('cargo', ['update', '--workspace', '--offline']);
  writeFileSync('pkg/package.json', text('pkg/package.json').replace(versioned['pkg/package.json'], `"version": "${version}"`));
  if (repository) addRepository(repository);
  const date = new Date().toISOString().slice(0, 10);
  writeFileSync('CHANGELOG.md', text('CHANGELOG.md').replace(/^## Unreleased$/m, `## Unreleased\n\n## ${version} - ${date}`));
  mkdirSync(LAST, { recursive: true });
  for (const name of TYPES) writeFileSync(`${LAST}/${name}`, text(`pkg/${name}`));
  writeFileSync(`${LAST}/release.json`, `${JSON.stringify({ version, date, sizes: fetched }, null, 2)}\n`);
}

/** Writes Homebrew's formula of a version whose archives lie in `folder`. */
export function formula(repository, version, folder) {
  const hash = (target) =>
    createHash('sha256')
      .update(readFileSync(join(folder, `xception-${target}.tgz`)))
      .digest('hex');
  const known = { REPOSITORY: repository, VERSION: version };
  const filled = text('packaging/homebrew/xception.rb.in').replace(/@([\w-]+)@/g, (_, name) => known[name] ?? hash(name));
  writeFileSync(join(folder, 'xception.rb'), filled.replace(/^#.*\n/, ''));
}

/** Adds the repository's address to both manifests: provenance and binstall need it. npm shows where to give money to, if there is such an address. */
export function addRepository(repository, funding = process.env.FUNDING_URL) {
  const manifest = json('pkg/package.json');
  Object.assign(manifest, {
    repository: { type: 'git', url: `git+${repository}.git`, directory: 'pkg' },
    homepage: `${repository}#readme`,
    bugs: `${repository}/issues`,
    ...(funding && { funding }),
  });
  writeFileSync('pkg/package.json', `${JSON.stringify(manifest, null, 2)}\n`);
  const crate = text('Cargo.toml');
  if (!/^repository = /m.test(crate))
    writeFileSync(
      'Cargo.toml',
      crate.replace(/^license = .*$/m, (line) => `${line}\nrepository = "${repository}"`),
    );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
