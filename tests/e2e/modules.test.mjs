// The compiled modules' innermost loop: the sums of a tile of products must stay in registers, which no answer shows.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const FEATURES = ['--enable-simd', '--enable-relaxed-simd', '--enable-threads', '--enable-bulk-memory', '--enable-reference-types'];

/** The operation of a product in a module, and the rows of a tile: a round of the loop has a value of each, times two vectors. */
const MODULES = {
  cpu: ['f32x4.mul', 4],
  cpu_relaxed: ['f32x4.relaxed_madd', 6],
  cpu_threads: ['f32x4.mul', 4],
  cpu_threads_relaxed: ['f32x4.relaxed_madd', 6],
};

for (const [name, [operation, rows]] of Object.entries(MODULES)) {
  test(`${name}.wasm multiplies without a store in between`, () => {
    const file = `pkg/dist/${name}_bg.wasm`;
    assert.ok(readFileSync(file).length > 100_000);
    const text = execFileSync('node', ['node_modules/binaryen/bin/wasm-dis', ...FEATURES, file], { encoding: 'utf8', maxBuffer: 2 ** 28 });
    const loops = text.split('(loop ').map((body) => body.split('v128.store')[0]);
    const counts = loops.map((body) => ['v128.load32_splat', operation].map((name) => body.split(name).length - 1));
    const found = counts.some(([values, products]) => values >= rows && products >= 2 * rows);
    assert.ok(found, `no loop has ${2 * rows} products of ${rows} values before it stores one`);
  });
}
