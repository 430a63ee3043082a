// Copies the extension, the package and the weights into a folder that Chrome loads: node build.mjs FOLDER model.safetensors
import { cpSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [folder, weights] = process.argv.slice(2);
const source = import.meta.dirname;
const packed = dirname(fileURLToPath(import.meta.resolve('xception-webgpu')));

for (const name of readdirSync(source).filter((name) => name !== 'build.mjs')) cpSync(join(source, name), join(folder, name));
cpSync(packed, join(folder, 'xception-webgpu'), { recursive: true, filter: (path) => !path.endsWith('.map') });
cpSync(weights, join(folder, 'model.safetensors'));
