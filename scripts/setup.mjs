// What `npm start` and `npm test` need, installed by themselves: npm packages, the wasm target, the wasm modules,
// a model. Every step is skipped where it is done already.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { debian, has, npmPackages, run, stop } from './shell.mjs';

/** A target that Rust compiles for. */
export function rustTarget(target) {
  const sysroot = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim();
  if (existsSync(join(sysroot, 'lib/rustlib', target))) return;
  if (!has('rustup')) stop(`Rust has no target ${target}, and there is no rustup to add it: install it as your system does.`);
  run('rustup', ['target', 'add', target]);
}

/** The wasm modules and scripts of the package, which need Rust. */
export function wasmModules() {
  if (!has('cargo')) stop('Rust is missing: install it from https://rustup.rs, then try again.');
  const advice = process.platform === 'win32' || has('cc') ? undefined : debian('gcc', 'libc6-dev');
  if (advice) stop(`Rust needs a C linker: ${advice}.`);
  rustTarget('wasm32-unknown-unknown');
  run('cargo', ['xtask', 'wasm']);
}

/** Sets everything up; tests need the kitchenware model whatever else there is. */
export async function setup({ kitchenware = false } = {}) {
  if (Number(process.versions.node.split('.')[0]) < 20) stop(`Node ${process.version} is too old: install Node 20 or newer.`);
  npmPackages();
  wasmModules();
  const { kitchenwareOnly, models } = await import('./model.mjs');
  return kitchenware ? kitchenwareOnly() : models();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await setup();
