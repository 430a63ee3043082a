// Arbitrary values for options: each call settles with `bad-argument` or the right answer, alike on the page and in a worker, and
// the next call is right.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BATCH, CLASSIFY, EXPLAIN, LOAD, PROFILE, VIEW } from '../../pkg/src/options.js';
import { serveAndLaunch } from './served.mjs';
import { open, PLACES } from './values.mjs';

await serveAndLaunch();

/** The accepted values of `weird()`, besides undefined and null; everything else is a bad argument. */
const ACCEPTED = {
  topK: { wrapped: 'all', wrappedOne: 'all', most: 'all' },
  batchSize: { wrapped: 'right', wrappedOne: 'right', most: 'right' },
  threshold: { zero: 'right' },
  allow: { array: '' },
  deny: { array: 'right' },
};

test('every option of every method', async () => {
  const page = await open();
  const table = { classify: CLASSIFY, classifyBatch: BATCH, predict: VIEW, embed: VIEW, explain: EXPLAIN, activations: VIEW, profile: PROFILE };
  const names = Object.fromEntries(Object.entries(table).map(([method, options]) => [method, Object.keys(options)]));
  const exercise = async ([names, place]) => {
    const model = await Xception.load({ weights, backend: 'cpu', ...place });
    const call = (method, ...args) => outcome(() => model[method](...(method === 'classifyBatch' ? [[blob, blob], ...args] : [blob, ...args])));
    const results = { right: {}, options: {}, weird: {}, proxies: {} };
    const needed = (method) => (method === 'activations' ? ['global_average_pooling2d'] : []);
    for (const [method, options] of Object.entries(names)) {
      results.right[method] = await call(method, ...needed(method));
      for (const [name, value] of Object.entries(weird())) {
        // These objects have no options.
        if (typeof value !== 'object' || /^(array|revoked|throwing)$/.test(name))
          results.options[`${method} ${name}`] = await call(method, ...needed(method), value);
      }
      for (const option of options) {
        for (const [name, value] of Object.entries(weird()))
          results.weird[`${method} ${option} ${name}`] = await call(method, ...needed(method), { [option]: value });
      }
      results.weird[`${method} next`] = await call(method, ...needed(method));
    }
    for (const [name, value] of Object.entries(weird())) results.weird[`activations layer ${name}`] = await outcome(() => model.activations(blob, value));
    for (const [name, value] of Object.entries(weird())) results.weird[`classifyBatch images ${name}`] = await outcome(() => model.classifyBatch(value));
    // Proxies all the way down, as Vue makes them.
    const reactive = (target) =>
      new Proxy(target, { get: (target, key) => (typeof target[key] === 'object' ? reactive(target[key]) : Reflect.get(target, key)) });
    const roi = { x: 0, y: 0, width: pixels.width, height: pixels.height };
    const options = { roi, fit: 'squash', topK: 1, threshold: 0.1, allow: ['cup', 1], deny: ['fork'] };
    for (const method of ['classify', 'classifyBatch']) results.proxies[method] = await call(method, reactive(options));
    results.proxies.embed = await call('embed', reactive({ roi }));
    results.proxies.explain = await call('explain', reactive({ roi, classIndex: 0 }));
    results.proxies.activations = await call('activations', 'global_average_pooling2d', reactive({ roi }));
    results.proxies.signal = await call('classify', { signal: new Proxy(new AbortController().signal, {}) });
    results.proxies.dispose = await refusal(model.dispose());
    return results;
  };
  const results = [];
  for (const place of Object.values(PLACES)) results.push(await page.evaluate(exercise, [names, place]));
  const [{ right, options, weird, proxies }] = results;
  assert.match(right.classify, /^cup( \w+){4}$/);
  assert.match(right.classifyBatch, /^(cup( \w+){4} ?){2}$/);
  assert.deepEqual([right.embed, right.explain, right.activations, right.profile], ['right', 'cup', 'right', 'bad-argument']);
  const wrong = [];
  for (const [key, outcome] of Object.entries(options)) {
    const [method, name] = key.split(' ');
    const expected = ['undefined', 'array'].includes(name) ? right[method] : 'bad-argument';
    if (outcome !== expected) wrong.push(`${key}: ${outcome}, not ${expected}`);
  }
  for (const [key, outcome] of Object.entries(weird)) {
    const [method, option, name] = key.split(' ');
    const required = ['layer', 'images'].includes(option);
    let expected = ACCEPTED[option]?.[name] ?? (option === 'next' || (['undefined', 'null'].includes(name) && !required) ? 'right' : 'bad-argument');
    if (option === 'classIndex' && name === 'zero') expected = 'cup';
    if (option === 'images' && name === 'array') expected = '';
    if (expected === 'right' || method === 'profile') expected = right[method];
    if (expected === 'all' ? outcome.split(' ').length !== 6 * (method === 'classifyBatch' ? 2 : 1) : outcome !== expected)
      wrong.push(`${key}: ${outcome}, not ${expected}`);
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(proxies, {
    classify: 'cup',
    classifyBatch: 'cup cup',
    embed: 'right',
    explain: 'cup',
    activations: 'right',
    signal: 'bad-argument',
    dispose: 'none',
  });
  assert.deepEqual(results[1], results[0], 'a worker is no different');
  await page.close();
});

test('every option of load', async () => {
  const page = await open();
  const exercise = async ([names, place]) => {
    const none = new Blob(['no weights']);
    const load = (options) => outcome(() => Xception.load({ backend: 'cpu', weights: none, ...place, ...options }));
    const results = { weird: {}, sources: {} };
    for (const name of names) {
      for (const [kind, value] of Object.entries(weird())) {
        // These options fix where compiled code comes from.
        if (/^wasm/.test(name) && ['empty', 'text', 'digit', 'buffer'].includes(kind)) continue;
        results.weird[`${name} ${kind}`] = await load({ [name]: value });
      }
    }
    const proxy = (target) => new Proxy(target, {});
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const used = await fetch(cup);
    await used.blob();
    const sources = {
      blobProxy: proxy(none),
      bufferProxy: proxy(new ArrayBuffer(8)),
      viewProxy: proxy(detached),
      urlProxy: proxy(new URL(weights, location)),
      detached,
      detachedBuffer: detached.buffer,
      requestProxy: proxy(new Request(weights)),
      responseProxy: proxy(new Response('')),
      used,
      address: 'http://',
    };
    for (const [name, source] of Object.entries(sources)) {
      results.sources[`weights ${name}`] = await load({ weights: source });
      if (!['used', 'address'].includes(name)) results.sources[`head ${name}`] = await load({ head: source });
    }
    results.worker = await load({ worker: proxy(new Worker('/pkg/dist/worker.js', { type: 'module' })) });
    results.signal = await load({ signal: proxy(new AbortController().signal) });
    results.arguments = [
      await outcome(() => Xception.load()),
      await outcome(() => Xception.load(null)),
      await outcome(() => Xception.load(7)),
      await outcome(() => Xception.load(weights)),
    ];
    // Vue's reactive objects, and addresses as objects.
    const labels = ['a', 'b', 'c', 'd', 'e', 'f'];
    const options = proxy({ weights: new URL(weights, location), labels: proxy(labels), onProgress: proxy(() => {}), backend: 'cpu', ...place, cache: false });
    const loading = Xception.load(options);
    labels.pop();
    const model = await loading;
    results.model = [(await model.classify(blob)).predictions[0].label, await refusal(model.dispose())];
    // A body and a signal of its own go where the request goes.
    const aborter = new AbortController();
    const asked = outcome(() =>
      Xception.load({ weights: new Request(weights, { signal: aborter.signal }), backend: 'cpu', ...place, cache: false, onProgress: () => aborter.abort() }),
    );
    results.request = await asked;
    results.size = await outcome(() =>
      Xception.load({ weights: '/models/kitchenware/kitchenware.keras', inputSize: 2 ** 32, backend: 'cpu', ...place, cache: false }),
    );
    results.body = await outcome(() =>
      Xception.load({ weights: new Request('/echo', { method: 'POST', body: 'a body that comes back' }), backend: 'cpu', ...place }),
    );
    return results;
  };
  await page
    .context()
    .route('**/echo', (route) =>
      route.request().postData() === 'a body that comes back' ? route.fulfill({ body: 'no weights' }) : route.fulfill({ status: 400 }),
    );
  const results = [];
  for (const place of Object.values(PLACES)) results.push(await page.evaluate(exercise, [Object.keys(LOAD), place]));
  const [{ weird, sources, ...rest }] = results;
  const accepted = {
    inputSize: ['wrapped', 'wrappedOne', 'most'],
    mean: ['minus', 'zero', 'half', 'wrapped', 'wrappedOne', 'most'],
    std: ['minus', 'zero', 'half', 'wrapped', 'wrappedOne', 'most'],
    labels: ['array'],
    worker: ['yes', 'no'],
    onProgress: ['function', 'functionProxy'],
    limits: ['object', 'nothing', 'array', 'holes', 'map', 'date', 'pattern', 'promise', 'element', 'port', 'numberObject', 'buffer', 'weak', 'throwing'],
  };
  const wrong = [];
  for (const [key, outcome] of Object.entries(weird)) {
    const [name, kind] = key.split(' ');
    const isFlag = ['cache', 'retry', 'warmup', 'profile'].includes(name);
    const leftOut = kind === 'undefined' || (kind === 'null' && name !== 'integrity');
    const fine = name === 'weights' ? undefined : isFlag || leftOut || accepted[name]?.includes(kind);
    const isFile = ['weights', 'head'].includes(name) && ['empty', 'text', 'digit', 'buffer'].includes(kind);
    if (isFile ? outcome === 'unsettled' || outcome === 'right' : outcome !== (fine ? 'unsupported-format' : 'bad-argument')) wrong.push(`${key}: ${outcome}`);
  }
  for (const [key, outcome] of Object.entries(sources)) if (outcome !== 'bad-argument') wrong.push(`${key}: ${outcome}`);
  assert.deepEqual(wrong, []);
  const bad = 'bad-argument';
  assert.deepEqual(rest, {
    worker: bad,
    signal: bad,
    arguments: [bad, bad, bad, bad],
    model: ['a', 'none'],
    request: 'aborted',
    body: 'unsupported-format',
    size: bad,
  });
  assert.deepEqual(results[1], results[0], 'a worker is no different');
  await page.close();
});

test('what is beyond a limit is refused by its name', async () => {
  const page = await open();
  const exercise = async (place) => {
    const refusal = (limits, { file = weights, head } = {}) => {
      const load = async () => {
        const model = await Xception.load({ weights: file, head, limits, inputSize: head && 150, backend: 'cpu', cache: false, ...place });
        return model.classify(blob).finally(() => model.dispose());
      };
      return load().then(
        ({ predictions }) => predictions[0].label,
        ({ code, message }) => `${code} ${/`(\w+)`/.exec(message)?.[1]}`,
      );
    };
    const keras = await (await fetch('/models/kitchenware/kitchenware.keras')).blob();
    const own = await (await fetch(weights)).blob();
    const count = pixels.width * pixels.height;
    const most = { pixels: count, imageBytes: blob.size, weightsBytes: own.size };
    return {
      none: await refusal({ pixels: Infinity, imageBytes: Infinity, weightsBytes: Infinity, tensors: Infinity }, { file: keras }),
      most: await refusal(most),
      pixels: await refusal({ ...most, pixels: count - 1 }),
      imageBytes: await refusal({ ...most, imageBytes: blob.size - 1 }),
      weightsBytes: await refusal({ ...most, weightsBytes: own.size - 1 }),
      stream: await refusal({ weightsBytes: 1e6 }, { file: new Response(own.stream()) }),
      converted: await refusal({ weightsBytes: keras.size - 1 }, { file: keras }),
      tensors: await refusal({ tensors: 200 }, { file: keras }),
      head: await refusal({ weightsBytes: own.size }, { head: new Blob([keras, new Uint8Array(own.size)]) }),
      unknown: await refusal({ pixel: 7 }),
      nothing: await refusal({ pixels: 0 }),
    };
  };
  for (const [name, place] of Object.entries(PLACES)) {
    assert.deepEqual(
      await page.evaluate(exercise, place),
      {
        // The Keras file has no labels.
        none: 'class 0',
        most: 'cup',
        pixels: 'too-large pixels',
        imageBytes: 'too-large imageBytes',
        weightsBytes: 'too-large weightsBytes',
        stream: 'too-large weightsBytes',
        converted: 'too-large weightsBytes',
        tensors: 'too-large tensors',
        head: 'too-large weightsBytes',
        unknown: 'bad-argument undefined',
        nothing: 'bad-argument undefined',
      },
      name,
    );
  }
  await page.close();
});

test('options are those of the types', () => {
  const types = readFileSync('pkg/index.d.ts', 'utf8');
  const members = (name) => [...new RegExp(`interface ${name}[^{]*{(.*?)^}`, 'ms').exec(types)[1].matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member);
  const [load, view, classify] = ['LoadOptions', 'ViewOptions', 'ClassifyOptions'].map(members);
  assert.deepEqual(Object.keys(LOAD).toSorted(), load.toSorted());
  assert.deepEqual(Object.keys(VIEW).toSorted(), view.toSorted());
  assert.deepEqual(Object.keys(BATCH).toSorted(), [...view, ...classify, 'batchSize'].toSorted());
});
