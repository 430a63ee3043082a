// How npm start gets the official weights, against a server of our own: their host is not within everybody's reach.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { imagenet } from '../../scripts/model.mjs';

// Any weights and labels that fit each other do.
const weights = readFileSync('models/kitchenware/kitchenware.keras');
const index = Object.fromEntries(['cup', 'fork', 'glass', 'butter_knife', 'plate', 'spoon'].map((name, i) => [i, [`n${i}`, name]]));
const labels = Buffer.from(JSON.stringify(index));
const md5 = (bytes) => createHash('md5').update(bytes).digest('hex');

let server, folder, source;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xception-'));
  server = createServer((request, response) => {
    if (request.url === '/labels') response.end(labels);
    else if (request.url === '/weights') response.end(weights);
    else if (request.url !== '/silent') response.writeHead(404).end();
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const host = `http://127.0.0.1:${server.address().port}`;
  source = { weights: `${host}/weights`, weightsMd5: md5(weights), labels: `${host}/labels`, labelsMd5: md5(labels), host };
});

after(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

test('the official weights are verified, labelled and converted', async () => {
  const entry = await imagenet(source, folder);
  assert.equal(entry.url, 'models/imagenet.safetensors');
  assert.deepEqual(readdirSync(folder), ['imagenet.safetensors']);
  const file = readFileSync(join(folder, 'imagenet.safetensors'));
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))));
  const model = JSON.parse(header.__metadata__.model);
  assert.deepEqual(model.labels, ['cup', 'fork', 'glass', 'butter knife', 'plate', 'spoon']);
  assert.deepEqual([model.preprocessing.filter, model.preprocessing.fit], ['bilinear', 'squash']);
  rmSync(join(folder, 'imagenet.safetensors'));
});

test('other bytes than the official ones, and a host out of reach or silent, are refused in a sentence', async () => {
  const refused = (change, sentence) => assert.rejects(imagenet({ ...source, ...change }, folder), sentence);
  await refused({ weightsMd5: '0a58e3b7378bc2990ea3b43d5981f1f6' }, /has the md5 .* it is not used/);
  await refused({ labels: `${source.host}/none` }, /answered 404/);
  await refused({ labels: 'http://127.0.0.1:9/labels' }, /out of reach/);
  const start = performance.now();
  await refused({ labels: `${source.host}/silent` }, /out of reach/);
  assert.ok(performance.now() - start < 20_000, 'patience ends');
  assert.deepEqual(readdirSync(folder), [], 'nothing is left behind');
});
