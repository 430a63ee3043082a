// npm run check: format, lints, types, shaders, and the native tests that need no GPU. Under two minutes once everything was built.
import { existsSync } from 'node:fs';
import { lint } from './lint.mjs';
import { wasmModules } from './setup.mjs';
import { npmPackages, run } from './shell.mjs';

const tests = ['assumed', 'network', 'photo', 'resize', 'roundtrip', 'shaders', 'weights'];

npmPackages();
if (!existsSync('pkg/glue/xception.d.ts')) wasmModules();
lint();
run('cargo', ['test', '--release', '--lib', ...tests.flatMap((test) => ['--test', test]), '--', '--skip', 'gpu::']);
