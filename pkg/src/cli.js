#!/usr/bin/env node
// npx xception-webgpu demo: serves the demo page, which comes with the package as it was built.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { listen } from '../../scripts/serve.mjs';

const USAGE = 'Usage: npx xception-webgpu demo [--port N]';

/** The port of `demo`; undefined for any other command. */
function portOf() {
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { port: { type: 'string', default: '8080' } } });
    const port = Number(values.port);
    return positionals.join(' ') === 'demo' && Number.isInteger(port) && port >= 0 && port < 65_536 ? port : undefined;
  } catch {
    return undefined;
  }
}

const port = portOf();
if (port === undefined) {
  console.error(USAGE);
  process.exit(2);
}
const demo = join(import.meta.dirname, '../demo');
// The page's folder of the library, whose name has a hash.
const [library] = /xception-[0-9a-f]+/.exec(readFileSync(join(demo, 'index.html'), 'utf8'));
const { url } = await listen(port, { [`/${library}`]: import.meta.dirname, '': demo });
console.log(`Open ${url} in a browser, and drop a photo on it. Ctrl+C ends the server.`);
