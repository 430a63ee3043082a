// Format, lints, types, and documentation that compiles: what npm run check and npm test have in common.
import { run } from './shell.mjs';

const wasm = ['--profile', 'wasm', '--lib', '--target', 'wasm32-unknown-unknown', '--no-default-features', '--features'];

/** The package's scripts are checked against the compiled modules' types, which must be there. */
export function lint() {
  run('node', ['node_modules/@biomejs/biome/bin/biome', 'ci', '--error-on-warnings']);
  run('node', ['node_modules/typescript/bin/tsc', '-p', 'pkg']);
  run('cargo', ['fmt', '--check']);
  run('cargo', ['clippy', '--release', '--workspace', '--all-targets', '--', '-D', 'warnings']);
  for (const features of ['gpu,formats', 'cpu', 'learn']) run('cargo', ['clippy', ...wasm, features, '--', '-D', 'warnings']);
}
