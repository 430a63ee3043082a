// Weights by their address on the Hugging Face hub, whose answers are made up here, and in a storage that sites share.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { HUGGING_FACE } from '../../scripts/model.mjs';
import { packagePage } from './browser.mjs';
import { tool } from './packed.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

await serveAndLaunch();

const WEIGHTS = readFileSync('models/kitchenware.safetensors');
const HASH = createHash('sha256').update(WEIGHTS).digest('hex');
const [OLD, NEW] = ['a'.repeat(40), 'b'.repeat(40)];
const json = (status, body, code) => ({ status, json: body, headers: { 'access-control-allow-origin': '*', 'access-control-expose-headers': '*', ...code } });
const files = (...names) => names.map((rfilename) => ({ rfilename, ...(rfilename.endsWith('model.safetensors') && { lfs: { sha256: HASH } }) }));

/** The hub's listings, by repository and revision. */
const LISTINGS = {
  'me/kitchen': { main: { sha: NEW, siblings: files('.gitattributes', 'README.md', 'model-i8.safetensors', 'model.safetensors') } },
  'me/one': { main: { sha: NEW, siblings: files('config.json', 'weird name.safetensors') } },
  'me/torch': { main: { sha: NEW, siblings: files('pytorch_model.bin', 'optimizer.pt') } },
  'me/deep': { main: { sha: NEW, siblings: files('README.md', 'best/model.safetensors') } },
  'me/two': { main: { sha: NEW, siblings: files('a.h5', 'b.h5') } },
  'me/text': { main: { sha: NEW, siblings: files('README.md', 'model.onnx') } },
  'me/empty': { main: { sha: NEW } },
  'me/gated': { main: { sha: NEW, gated: 'manual', siblings: files('model.safetensors') } },
  'me/changed': { main: { sha: NEW, siblings: [{ rfilename: 'model.safetensors', lfs: { sha256: '0'.repeat(64) } }] } },
};
LISTINGS['me/kitchen'].v1 = { ...LISTINGS['me/kitchen'].main, sha: OLD };
LISTINGS['me/kitchen']['refs/pr/1'] = LISTINGS['me/kitchen'].v1;
LISTINGS['me/kitchen'][OLD] = LISTINGS['me/kitchen'].v1;

/** A page with the package and a hub; `asked` has what was asked of it. */
async function open(answer = true) {
  const context = await browser.newContext();
  const page = await packagePage(context, url);
  const asked = [];
  const hub = { answers: answer };
  await page.route('https://huggingface.co/**', (route) => {
    if (!hub.answers) return route.abort();
    const { pathname } = new URL(route.request().url());
    asked.push(pathname);
    const [, repository, revision] = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(pathname) ?? [];
    // A file of 42 MB takes Playwright seconds: two of them are enough.
    if (!repository && !/^\/me\/(kitchen|changed)\/resolve\/b+\/model\.safetensors$/.test(pathname)) return route.fulfill(json(410, {}));
    if (!repository) return route.fulfill({ body: WEIGHTS, headers: { 'access-control-allow-origin': '*', 'content-type': 'application/octet-stream' } });
    if (repository === 'me/broken') return route.fulfill(json(500, {}));
    if (repository === 'me/page') return route.fulfill({ body: '<html>', headers: { 'access-control-allow-origin': '*' } });
    const listing = LISTINGS[repository]?.[decodeURIComponent(revision)];
    if (listing) return route.fulfill(json(200, listing));
    return route.fulfill(
      LISTINGS[repository]
        ? json(404, { error: 'Invalid rev id' }, { 'x-error-code': 'RevisionNotFound' })
        : json(401, { error: 'Invalid username or password.' }),
    );
  });
  await page.evaluate(() => {
    globalThis.load = (weights, options) => Xception.load({ weights, backend: 'cpu', threads: 1, warmup: false, ...options });
    globalThis.best = async (weights, options) => {
      const model = await load(weights, options);
      const { predictions } = await model.classify(cup);
      await model.dispose();
      return predictions[0].label;
    };
    globalThis.sentence = (weights, options) =>
      load(weights, options).then(
        () => 'none',
        ({ code, message }) => `${code}: ${message}`,
      );
  });
  return { page, asked, hub, close: () => context.close() };
}

test('an address of the hub becomes its file in a commit, is verified and cached, and needs no network then', async () => {
  const { page, asked, hub, close } = await open();
  const best = (weights, options) => page.evaluate(([weights, options]) => best(weights, options), [weights, options]);
  assert.equal(await best('hf:me/kitchen'), 'cup');
  assert.deepEqual(asked.splice(0), ['/api/models/me/kitchen/revision/main', `/me/kitchen/resolve/${NEW}/model.safetensors`]);
  // The listing may have changed; the file of that commit may not.
  assert.equal(await best('hf:me/kitchen', { worker: false }), 'cup');
  assert.deepEqual(asked.splice(0), ['/api/models/me/kitchen/revision/main']);
  const OTHERS = {
    'hf:me/kitchen@v1': `me/kitchen/resolve/${OLD}/model.safetensors`,
    'hf:me/kitchen@refs%2Fpr%2F1': `me/kitchen/resolve/${OLD}/model.safetensors`,
    [`hf:me/kitchen@${OLD}`]: `me/kitchen/resolve/${OLD}/model.safetensors`,
    'hf://me/kitchen@main/model-i8.safetensors': `me/kitchen/resolve/${NEW}/model-i8.safetensors`,
    'hf:me/one': `me/one/resolve/${NEW}/weird%20name.safetensors`,
    'hf:me/torch': `me/torch/resolve/${NEW}/pytorch_model.bin`,
    'hf:me/deep/best/model.safetensors': `me/deep/resolve/${NEW}/best/model.safetensors`,
  };
  for (const [address, path] of Object.entries(OTHERS)) {
    const sentence = await page.evaluate((address) => sentence(address), address);
    assert.equal(sentence.trim(), `fetch: https://huggingface.co/${path} answered 410 Gone`);
  }
  hub.answers = false;
  assert.equal(await best('hf:me/kitchen'), 'cup');
  const sentence = await page.evaluate(() => sentence('hf:me/two'));
  assert.match(sentence, /^fetch: hf:me\/two: the Hugging Face hub is out of reach/);
  const kept = await page.evaluate(() => listCached());
  assert.ok(kept.length > 0 && kept.every(({ url }) => url.includes('/resolve/')), 'listings are no weights');
  await close();
});

test('what the hub cannot give is refused by a sentence', async () => {
  const { page, close } = await open();
  const REFUSED = {
    'hf:kitchen': /^bad-argument: hf:kitchen is no address of the hub: it must be hf:owner\/name/,
    'hf:me/none': /^fetch: hf:me\/none: there is no such repository, or it is private/,
    'hf:me/kitchen@v9': /^fetch: hf:me\/kitchen: it has no revision v9/,
    'hf:me/kitchen@%': /^fetch: hf:me\/kitchen: it has no revision %/,
    'hf:me/kitchen/other.h5': /^fetch: hf:me\/kitchen has no file other\.h5 at main: it has \.gitattributes, README\.md, model-i8/,
    'hf:me/two': /^bad-argument: hf:me\/two has several files of weights, a\.h5, b\.h5: name one, as in hf:me\/two\/a\.h5$/,
    'hf:me/text': /^unsupported-format: hf:me\/text has no file of weights that this project reads: it has README\.md, model\.onnx$/,
    'hf:me/deep': /^unsupported-format: hf:me\/deep has no file of weights/,
    'hf:me/empty': /^unsupported-format: .* it has no files$/,
    'hf:me/gated': /^fetch: hf:me\/gated is given only to those who accepted its terms/,
    'hf:me/broken': /^fetch: hf:me\/broken: the hub answered 500/,
    'hf:me/page': /^fetch: hf:me\/page: the hub's answer could not be read$/,
  };
  for (const [address, expected] of Object.entries(REFUSED)) {
    assert.match(await page.evaluate((address) => sentence(address), address), expected);
  }
  const aborted = await page.evaluate(() => sentence('hf:me/kitchen', { signal: AbortSignal.abort() }));
  assert.match(aborted, /^aborted: /);
  await close();
});

test('where sites share a storage, a file whose hash is known is there once for all of them', async () => {
  const { page, asked, close } = await open();
  // A storage as the proposal has it, which keeps a file only if its hash is right.
  await page.evaluate(() => {
    globalThis.stored = new Map();
    const hash = async (blob) =>
      [...new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const requestFileHandle = async ({ algorithm, value }, { create = false, origins } = {}) => {
      if (algorithm !== 'SHA-256') throw new DOMException('', 'NotSupportedError');
      if (!create && !stored.has(value)) throw new DOMException('', 'NotFoundError');
      const createWritable = async () => {
        const pieces = [];
        return new WritableStream({
          write: (piece) => void pieces.push(piece.slice()),
          async close() {
            const file = new File(pieces, value);
            if ((await hash(file)) !== value) throw new DOMException('', 'DataError');
            stored.set(value, { file, origins });
          },
        });
      };
      return { getFile: async () => stored.get(value).file, createWritable };
    };
    Object.defineProperty(navigator, 'crossOriginStorage', { value: { requestFileHandle }, configurable: true });
  });
  const here = { worker: false };
  const outcome = await page.evaluate(
    async ([here, hash]) => {
      const labels = [await best('hf:me/kitchen', here), await best(weights, here), await best(weights, { ...here, integrity: hash })];
      const kept = [...stored].map(([hash, { file, origins }]) => [hash, file.size, origins]);
      const cached = (await listCached()).map(({ url }) => new URL(url).pathname);
      // A file that another site made wrong is fetched anew.
      stored.set(hash, { file: new File(['nonsense'], hash) });
      labels.push(await best(weights, { ...here, integrity: hash, cache: true }));
      await new Promise((resolve) => setTimeout(resolve, 500));
      const mended = stored.get(hash).file.size;
      const refused = await refusal(load('hf:me/changed', here));
      navigator.crossOriginStorage.requestFileHandle = async () => {
        throw new DOMException('', 'NotAllowedError');
      };
      labels.push(await best(weights, { ...here, integrity: hash }));
      return { labels, kept, cached, mended, refused, count: stored.size };
    },
    [here, HASH],
  );
  assert.deepEqual(outcome, {
    labels: Array(5).fill('cup'),
    kept: [[HASH, WEIGHTS.length, '*']],
    cached: ['/models/kitchenware.safetensors'],
    mended: WEIGHTS.length,
    refused: 'integrity',
    count: 1,
  });
  assert.deepEqual(
    asked.filter((path) => path.includes('/kitchen/resolve/')),
    [`/me/kitchen/resolve/${NEW}/model.safetensors`],
  );
  await close();
});

test("the schema of a gallery's models takes the lists that this project writes, and no others", async () => {
  const { default: Ajv } = await tool('ajv/dist/2020.js');
  const isValid = new Ajv.default().compile(JSON.parse(readFileSync('docs/models.schema.json', 'utf8')));
  const entry = { name: 'Kitchen', url: 'hf:me/kitchen', bytes: WEIGHTS.length, integrity: HASH, license: 'mit', samples: ['cup.jpg'] };
  for (const list of [[], [HUGGING_FACE], [entry], [{ ...entry, integrity: `sha256-${Buffer.from(HASH, 'hex').toString('base64')}` }]]) {
    assert.ok(isValid(list), JSON.stringify(isValid.errors));
  }
  for (const list of [{}, [{ name: 'x' }], [{ ...entry, bytes: 0.5 }], [{ ...entry, integrity: 'sha256-x' }], [{ ...entry, size: 1 }]])
    assert.ok(!isValid(list));
});
