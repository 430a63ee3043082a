// Runs a program that is compiled for wasm32-wasip1: `cargo test --target wasm32-wasip1` starts this (.cargo/config.toml).
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { WASI } from 'node:wasi';
import { Worker } from 'node:worker_threads';

// V8's direct calls of the system crash Node 20 when memory has grown.
setFlagsFromString('--no-turbo-fast-api-calls');
const args = process.argv.slice(2);
const folder = process.cwd();
const wasi = new WASI({ version: 'preview1', args, env: process.env, preopens: { [folder]: folder } });
const module = await WebAssembly.compile(await readFile(args[0]));
// The program has this thread to itself: another one ends it where it hangs.
const watch = "setTimeout(() => (require('fs').writeSync(2, 'the program hangs\\n'), process.kill(process.pid, 'SIGKILL')), 900_000)";
new Worker(watch, { eval: true }).unref();
process.exit(wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));
