// Sets up `npm start` and `npm test`: npm packages, the wasm target, the wasm modules, a model. Steps that are done already are
// skipped.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { debian, has, npmPackages, run, runBeside, stop } from './shell.mjs';

/** A part of Rust, such as a `target` or a `component`, which is in this folder of its libraries. */
export function rustPart(kind, name, folder = name) {
  const sysroot = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim();
  if (existsSync(join(sysroot, 'lib/rustlib', folder))) return;
  if (!has('rustup')) stop(`Rust has no ${kind} ${name}, and there is no rustup to add it: install it as your system does.`);
  run('rustup', [kind, 'add', name]);
}

/** Installs the compiler's parts for the wasm modules. */
function toolchain() {
  if (!has('cargo')) stop('Rust is missing: install it from https://rustup.rs, then try again.');
  const advice = process.platform === 'win32' || has('cc') ? undefined : debian('gcc', 'libc6-dev');
  if (advice) stop(`Rust needs a C linker: ${advice}.`);
  rustPart('target', 'wasm32-unknown-unknown');
}

/** The wasm modules and scripts of the package. */
export function wasmModules() {
  toolchain();
  // Threads need Rust's library with atomics, which is compiled here.
  rustPart('component', 'rust-src', 'src/rust/library/Cargo.lock');
  run('cargo', ['xtask', 'wasm']);
}

/** Compiles those that a first photo needs, not optimized, beside this script. */
export function firstModules() {
  toolchain();
  return runBeside('cargo', ['xtask', 'wasm', 'first']).ended;
}

/** The npm packages, and whether this Node will do. */
export function nodeModules() {
  if (Number(process.versions.node.split('.')[0]) < 20) stop(`Node ${process.version} is too old: install Node 20 or newer.`);
  npmPackages();
}

/** Sets everything up for tests, which need the kitchenware model. */
export async function setup() {
  nodeModules();
  wasmModules();
  const { kitchenwareOnly } = await import('./model.mjs');
  return kitchenwareOnly();
}

// `npm start` runs this for the modules alone.
if (process.argv[1] === fileURLToPath(import.meta.url)) process.argv[2] === 'modules' ? wasmModules() : await setup();
