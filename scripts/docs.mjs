// npm run docs: the package's API as pages, made of its types, in target/package-docs.
import { fileURLToPath } from 'node:url';
import { npmPackages, run } from './shell.mjs';

const folder = 'tests/consumers';
const options = {
  entryPoints: 'pkg/index.d.ts',
  tsconfig: `${folder}/tsconfig.json`,
  name: 'xception-webgpu',
  readme: 'pkg/README.md',
  out: 'target/package-docs',
  sourceLinkTemplate: '{path}',
};

export function docs() {
  npmPackages(folder);
  const flags = ['--treatWarningsAsErrors', '--excludeExternals', '--disableGit', '--logLevel', 'Warn'];
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  run('node', [`${folder}/node_modules/typedoc/bin/typedoc`, ...args, ...flags]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  docs();
  console.log('Open target/package-docs/index.html.');
}
