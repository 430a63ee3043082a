// The server of npm start with a list of models: in npm test a fresh clone has no models/index.json.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { serve } from '../../scripts/serve.mjs';

/** Also serves `more`; the model has its own photos as samples on request. */
export async function serveWithModel(more, withSamples) {
  const weights = 'models/kitchenware.safetensors';
  const bytes = readFileSync(weights);
  const integrity = createHash('sha256').update(bytes).digest('hex');
  const samples = withSamples ? readdirSync('models/kitchenware/photos').map((name) => `models/kitchenware/photos/${name}`) : [];
  mkdirSync('test-results', { recursive: true });
  // A folder of its own: test files run side by side.
  const list = mkdtempSync('test-results/models-');
  writeFileSync(`${list}/index.json`, JSON.stringify([{ name: 'Kitchenware', url: weights, bytes: bytes.length, integrity, samples }]));
  const served = await serve(0, { ...more, '/list': list });
  served.server.on('close', () => rmSync(list, { recursive: true, force: true }));
  served.server.prependListener('request', (request) => {
    if (request.url === '/models/index.json') request.url = '/list/index.json';
  });
  return served;
}
