// npm run sbom: what others wrote of the package, as docs/dependencies.md and pkg/dist/sbom.cdx.json (CycloneDX). `cargo xtask wasm` writes the
// latter. Nothing in them tells when or where they were made.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import './shell.mjs';

const SBOM = 'pkg/dist/sbom.cdx.json';
const DOCS = 'docs/dependencies.md';

/** The features of the crate that modules are made of. */
const MODULES = ['gpu', 'cpu', 'formats', 'learn'];
const TARGET = 'wasm32-unknown-unknown';

const cargo = (...args) => execFileSync('cargo', args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
const own = json('pkg/package.json');

/** Pairs of a crate and one that it depends on, each `name version`, of those that a module links. */
function linked(module) {
  const options = ['--no-default-features', '--features', module, '--target', TARGET, '--edges', 'normal,no-proc-macro'];
  const lines = cargo('tree', '--locked', '--package', 'wasm', ...options, '--prefix', 'depth', '--no-dedupe')
    .trim()
    .split('\n');
  const path = [];
  return lines.map((line) => {
    const [, depth, name, version] = /^(\d+)(\S+) v(\S+)/.exec(line);
    path[depth] = `${name} ${version}`;
    return [path[depth - 1], path[depth]];
  });
}

/** Whether a crate's sources have unsafe code, comments aside: `forbidden` where the compiler refuses it. */
function unsafety(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.rs'));
  const code = files.map((name) => readFileSync(join(folder, name), 'utf8').replace(/\/\/.*/g, ''));
  if (code.some((text) => /\bunsafe\s*(\{|impl\b|fn\b|trait\b|extern\b)/.test(text))) return 'yes';
  return code.some((text) => /#!\[forbid\([^)]*unsafe_code/.test(text)) ? 'forbidden' : 'no';
}

/** Authors as a manifest has them, or the owner of the repository. */
function people(authors, repository) {
  const names = authors.map((author) => author.replace(/\s*[<(].*/, '')).filter(Boolean);
  return names.join(', ') || new URL(repository).pathname.split('/')[1];
}

/** The crates of all modules, and which modules have each. */
function crates() {
  const { packages } = JSON.parse(cargo('metadata', '--locked', '--format-version', '1', '--filter-platform', TARGET));
  const lock = readFileSync('Cargo.lock', 'utf8').split('[[package]]');
  const found = new Map();
  for (const module of MODULES) {
    for (const [from, key] of linked(module)) {
      const { name, version, license, authors, repository, description, manifest_path, source } = packages.find(
        (crate) => `${crate.name} ${crate.version}` === key,
      );
      // The others are of this workspace.
      if (!source) continue;
      const entry = () => {
        const [, checksum] = /checksum = "(\w+)"/.exec(lock.find((entry) => entry.includes(`name = "${name}"\nversion = "${version}"\n`)));
        const hash = { alg: 'SHA-256', content: checksum };
        const facts = { name, version, license, repository, by: people(authors, repository), unsafe: unsafety(join(dirname(manifest_path), 'src')) };
        return { ...facts, description, hash, purl: `pkg:cargo/${name}@${version}`, modules: new Set(), needs: new Set() };
      };
      if (!found.has(key)) found.set(key, entry());
      found.get(key).modules.add(module);
      found.get(from)?.needs.add(found.get(key).purl);
    }
  }
  return [...found.values()];
}

/** The npm packages that the scripts' source maps name. */
function packed() {
  const maps = readdirSync('pkg/dist').filter((name) => name.endsWith('.map'));
  const sources = maps.flatMap((name) => json(`pkg/dist/${name}`).sources);
  const names = new Set(sources.flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []));
  return [...names].map((name) => {
    const { version, license, description, repository, author } = json(`node_modules/${name}/package.json`);
    const { integrity } = json('package-lock.json').packages[`node_modules/${name}`];
    const hash = { alg: 'SHA-512', content: Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex') };
    const url = repository.url?.replace(/^git\+|\.git$/g, '') ?? `https://github.com/${repository}`;
    const facts = { name, version, license, repository: url, by: people([author?.name ?? author ?? ''], url), unsafe: '', description, hash };
    return { ...facts, purl: `pkg:npm/${name.replace('@', '%40')}@${version}`, modules: new Set(['scripts']), needs: new Set() };
  });
}

const byName = (one, other) => (one.purl < other.purl ? -1 : 1);

/** Everything that the package holds of others, in the order of the names. */
export const dependencies = () => [...crates(), ...packed()].sort(byName);

/** The bill of materials. */
export function sbom(all) {
  const root = `pkg:npm/${own.name}@${own.version}`;
  const licenses = (expression) => [{ expression: expression.replaceAll('/', ' OR ') }];
  const components = all.map(({ name, version, license, repository, by, description, hash, purl, modules }) => ({
    type: 'library',
    'bom-ref': purl,
    authors: by.split(', ').map((name) => ({ name })),
    name,
    version,
    description: description?.trim().replace(/\s+/g, ' '),
    hashes: [hash],
    licenses: licenses(license),
    purl,
    externalReferences: [{ type: 'vcs', url: repository }],
    properties: [...modules].map((value) => ({ name: `${own.name}:module`, value })),
  }));
  const needed = new Set(all.flatMap(({ needs }) => [...needs]));
  const dependsOn = all.map(({ purl }) => purl).filter((purl) => !needed.has(purl));
  const bom = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: { type: 'library', 'bom-ref': root, name: own.name, version: own.version, licenses: licenses(own.license), purl: root },
    },
    components,
    dependencies: [{ ref: root, dependsOn }, ...all.map(({ purl, needs }) => ({ ref: purl, dependsOn: [...needs].sort() }))],
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}

/** The table of docs/dependencies.md. */
export function table(all) {
  const line = ({ name, version, license, by, unsafe, modules, description = '' }) => {
    const [what] = description
      .trim()
      .replace(/\s+/g, ' ')
      .split(/\.(?: |$)/);
    return `| ${[name, version, [...modules].join(', '), license, by, unsafe, what].map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  };
  const count = (module) => all.filter(({ modules }) => modules.has(module)).length;
  return `# What the package holds of others

\`npm run sbom\` writes this, and \`npm test\` compares it with Cargo.lock. The compiled modules have ${MODULES.map((module) => `${count(module)} crates (${module})`).join(', ')},
and Rust's standard library; the scripts have ${count('scripts')} npm packages. The same is in the package as \`dist/sbom.cdx.json\` (CycloneDX). A crate may be
listed for one function that the modules use, or none: what is not called is not linked. Macros and tools of the build are in no module.

"unsafe" tells whether a crate's sources have such code: \`forbidden\` where the compiler refuses it.

| name | version | in | licence | by | unsafe | |
|---|---|---|---|---|---|---|
${all.map(line).join('\n')}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const all = dependencies();
  writeFileSync(SBOM, sbom(all));
  if (process.argv[2] === 'docs') writeFileSync(DOCS, table(all));
}
