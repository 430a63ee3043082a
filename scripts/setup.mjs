// What `npm start` and `npm test` need, installed by themselves: npm packages, the wasm target, the wasm modules,
// a model. Every step is skipped where it is done already.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

/** Ends with a sentence instead of a stack. */
export function stop(message) {
  console.error(`\n${message}`);
  process.exit(1);
}

/** Runs a command in the foreground; ends where it fails. */
export function run(command, args, options = {}) {
  console.log(`> ${[command, ...args].join(' ')}`);
  const { status, error, signal } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (error) stop(`${command} could not be started: ${error.message}`);
  if (status !== 0) stop(`${command} failed with ${signal ?? `exit code ${status}`}; the lines above tell why.`);
}

export function has(command) {
  const names = process.platform === 'win32' ? [`${command}.exe`, `${command}.cmd`] : [command];
  return process.env.PATH.split(delimiter).some((folder) => names.some((name) => existsSync(join(folder, name))));
}

/** Installs Debian packages where this may, else names them. */
export function debian(packages, why) {
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!has('apt-get')) stop(`${why}: install what your system has instead of Debian's ${packages.join(', ')}.`);
  if (process.getuid() !== 0) stop(`${why}: run \`sudo ${command}\`, then try again.`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-qq'], { env });
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env });
}

function npmPackages() {
  const lock = readFileSync('package-lock.json', 'utf8');
  const stamp = 'node_modules/.setup';
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  // Install scripts would download browsers.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { shell: process.platform === 'win32' });
  writeFileSync(stamp, lock);
}

function wasmModules() {
  if (!has('cargo')) stop('Rust is missing: install it from https://rustup.rs, then try again.');
  const target = 'wasm32-unknown-unknown';
  const sysroot = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim();
  if (!existsSync(join(sysroot, 'lib/rustlib', target))) {
    if (!has('rustup')) stop(`Rust has no target ${target}, and there is no rustup to add it: install it as your system does.`);
    run('rustup', ['target', 'add', target]);
  }
  run('cargo', ['xtask', 'wasm']);
}

export async function setup() {
  if (Number(process.versions.node.split('.')[0]) < 20) stop(`Node ${process.version} is too old: install Node 20 or newer.`);
  npmPackages();
  wasmModules();
  const { model } = await import('./model.mjs');
  return model();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await setup();
