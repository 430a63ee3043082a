// How npm start gets the official weights, tested against a local server.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { imagenet, isCurrent } from '../../scripts/model.mjs';

// Any weights will do.
const weights = readFileSync('models/kitchenware/kitchenware.keras');
const md5 = createHash('md5').update(weights).digest('hex');

let server, folder, host, source;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xception-'));
  server = createServer((request, response) => {
    // A conversion blocks this process, so that a kept-alive connection could expire just when it is reused.
    response.setHeader('connection', 'close');
    if (request.url === '/weights') response.end(weights);
    else if (request.url !== '/silent') response.writeHead(404).end();
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  host = `http://127.0.0.1:${server.address().port}`;
  source = { url: `${host}/weights`, md5 };
});

after(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

test('the official weights are verified and converted to half their size', async () => {
  const entry = await imagenet(source, folder);
  assert.equal(entry.url, 'models/imagenet.safetensors');
  assert.deepEqual(readdirSync(folder), ['imagenet.safetensors']);
  const file = readFileSync(join(folder, 'imagenet.safetensors'));
  assert.equal(entry.integrity, createHash('sha256').update(file).digest('hex'));
  assert.ok(isCurrent(join(folder, 'imagenet.safetensors')), 'it need not be made again');
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))));
  const { dtype, model } = JSON.parse(header.__metadata__['xception-webgpu']);
  assert.deepEqual([dtype, model.preprocessing.filter, model.preprocessing.fit], ['f16', 'bilinear', 'squash']);
  assert.deepEqual(
    model.assumed.map(({ name }) => name),
    ['pixel values', 'resize filter', 'fit'],
  );
  const { kind, sha256, license } = model.source;
  assert.deepEqual([kind, license], ['Keras (.keras)', 'that of keras.applications']);
  assert.equal(sha256, createHash('sha256').update(weights).digest('hex'));
  assert.ok(file.length < weights.length * 0.51, `${file.length} bytes`);
  rmSync(join(folder, 'imagenet.safetensors'));
});

test('other bytes than the official ones, and a host out of reach or silent, are refused in a sentence', async () => {
  const refused = (change, sentence) => assert.rejects(imagenet({ ...source, ...change }, folder), sentence);
  await refused({ md5: '0a58e3b7378bc2990ea3b43d5981f1f6' }, /has the md5 .* it is not used/);
  await refused({ url: `${host}/none` }, /answered 404/);
  await refused({ url: 'http://127.0.0.1:9/weights' }, /out of reach/);
  const start = performance.now();
  await refused({ url: `${host}/silent` }, /out of reach/);
  assert.ok(performance.now() - start < 20_000, 'patience ends');
  assert.deepEqual(readdirSync(folder), [], 'nothing is left behind');
});
