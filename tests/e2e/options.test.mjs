// Arbitrary values for options and images: each call settles with `bad-argument` or the right answer, alike on the page and in a worker, and
// the next call is right.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { BATCH, CLASSIFY, EXPLAIN, LOAD, PROFILE, VIEW } from '../../pkg/src/options.js';
import { serve } from '../../scripts/serve.mjs';
import { launch, packagePage } from './browser.mjs';

let server, browser, url;

before(async () => {
  ({ server, url } = await serve(0));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
});

const PLACES = { 'on the page': { worker: false }, 'in a worker': { worker: true } };

async function open() {
  const page = await packagePage(browser, url);
  await page.evaluate(async () => {
    const blob = await (await fetch(cup)).blob();
    const bitmap = await createImageBitmap(blob);
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    Object.assign(globalThis, { blob, bytes: await blob.arrayBuffer(), pixels: { data, width, height } });
    /** The labels of an answer, or the code with which it was refused. */
    globalThis.outcome = (work) => {
      const labels = async () => {
        const answer = await work();
        const predictions = answer.predictions ?? answer.prediction ?? answer.value?.predictions;
        return predictions
          ? [predictions]
              .flat(2)
              .map(({ label }) => label)
              .join(' ')
          : 'right';
      };
      return settled(labels().catch((error) => (error instanceof XceptionError ? error.code : String(error))));
    };
    const throwing = {
      get: () => {
        throw new RangeError('no');
      },
    };
    /** Values as people and frameworks pass them, by a name. */
    globalThis.weird = () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return {
        undefined,
        null: null,
        nan: NaN,
        infinity: Infinity,
        minus: -1,
        zero: 0,
        half: 1.5,
        wrapped: 2 ** 32,
        wrappedOne: 2 ** 32 + 1,
        most: Number.MAX_VALUE,
        empty: '',
        text: 'x',
        digit: '1',
        yes: true,
        no: false,
        symbol: Symbol('s'),
        big: 1n,
        function: () => 1,
        object: {},
        array: [],
        holes: Array(2),
        numbers: [1e9],
        map: new Map([[1, 2]]),
        date: new Date(),
        pattern: /x/,
        promise: Promise.resolve(1),
        element: document.createElement('p'),
        port: new MessageChannel().port1,
        revoked: proxy,
        throwing: new Proxy({}, throwing),
        functionProxy: new Proxy(() => 1, {}),
        textObject: new String('crop'),
        numberObject: new Number(1),
        nothing: Object.create(null),
        buffer: new ArrayBuffer(4),
        weak: new WeakMap(),
      };
    };
  });
  return page;
}

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

test('every kind of image', async () => {
  const page = await open();
  const exercise = async (place) => {
    const model = await Xception.load({ weights, backend: 'cpu', ...place });
    const proxy = (target) => new Proxy(target, {});
    const { data, width, height } = pixels;
    const bitmap = await createImageBitmap(blob);
    const closed = await createImageBitmap(blob);
    closed.close();
    const transferred = await createImageBitmap(blob);
    structuredClone(transferred, { transfer: [transferred] });
    const detach = (view) => {
      structuredClone(view.buffer, { transfer: [view.buffer] });
      return view;
    };
    /** Shared memory, also where the page has no SharedArrayBuffer. */
    const shared = (source) => {
      const pages = Math.ceil(source.byteLength / 65536);
      const view = new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer, 0, source.byteLength);
      view.set(new Uint8Array(source.buffer ?? source));
      return view;
    };
    const resizable = new Uint8Array(new ArrayBuffer(bytes.byteLength, { maxByteLength: bytes.byteLength + 8 }));
    resizable.set(new Uint8Array(bytes));
    const image = new Image();
    image.src = cup;
    await image.decode();
    const frame = new VideoFrame(bitmap, { timestamp: 0 });
    const throwing = (key) =>
      Object.defineProperty({ data, width, height }, key, {
        get: () => {
          throw new RangeError('no');
        },
      });
    const cases = {
      cup: {
        bitmap,
        image,
        frame,
        pixelsProxy: proxy(pixels),
        sharedPixels: { data: shared(data), width, height },
        sharedBytes: shared(bytes),
        resizable,
        resizableBuffer: resizable.buffer,
        clamped: { data: new Uint8ClampedArray(data), width, height },
      },
      'bad-argument': {
        ...weird(),
        blobProxy: proxy(blob),
        bitmapProxy: proxy(bitmap),
        imageProxy: proxy(image),
        frameProxy: proxy(frame),
        imageDataProxy: proxy(new ImageData(data, width)),
        bufferProxy: proxy(bytes),
        viewProxy: proxy(new Uint8Array(bytes)),
        urlProxy: proxy(new URL(cup, location)),
        dataProxy: { data: proxy(data), width, height },
        detached: detach(new Uint8Array(8)),
        detachedBuffer: detach(new Uint8Array(8)).buffer,
        detachedPixels: { data: detach(new Uint8Array(data)), width, height },
        signed: { data: new Int8Array(data), width, height },
        view: { data: new DataView(data.buffer), width, height },
        negative: { data, width: -width, height: -height },
        text: { data, width: `${width}`, height },
        getter: throwing('data'),
        width: throwing('width'),
        sharedBuffer: shared(data).buffer,
      },
      decode: { closed, transferred, unloaded: new Image(), emptyCanvas: Object.assign(document.createElement('canvas'), { width: 0 }) },
    };
    // Strings are addresses, buffers are files.
    for (const name of ['empty', 'text', 'digit', 'buffer']) delete cases['bad-argument'][name];
    const wrong = [];
    const expect = async (name, expected, work) => {
      const found = await outcome(work);
      if (found !== expected) wrong.push(`${name}: ${found}, not ${expected}`);
    };
    for (const [expected, images] of Object.entries(cases)) {
      for (const [name, image] of Object.entries(images)) {
        await expect(name, expected, () => model.classify(image, { topK: 1 }));
        await expect(`${name} in a batch`, expected === 'cup' ? 'cup cup' : expected, () => model.classifyBatch([blob, image], { topK: 1 }));
      }
      await expect('next', 'cup', () => model.classify(blob, { topK: 1 }));
    }
    // One buffer, one bitmap, one blob, again and again.
    const half = { data: data.subarray(0, 4 * width * (height >> 1)), width, height: height >> 1 };
    await expect('one buffer', 'cup cup cup cup', () => model.classifyBatch([pixels, pixels, bitmap, bitmap], { topK: 1 }));
    await expect('parts of one buffer', 'right', async () => void (await model.classifyBatch([half, pixels, half])) ?? {});
    for (const pages of [
      [blob, 7],
      [blob, proxy(blob)],
    ])
      await expect('one of a batch', 'bad-argument', () => model.classifyBatch(pages));
    const throwingImages = {
      *[Symbol.iterator]() {
        yield blob;
        throw new RangeError('no');
      },
    };
    await expect('an iterator that throws', 'bad-argument', () => model.classifyBatch(throwingImages));
    // The caller may change its objects as soon as the call returns.
    const own = { data: new Uint8Array(data), width, height };
    const options = { topK: 1, allow: ['cup'], roi: { x: 0, y: 0, width, height } };
    await expect('pixels that change', 'cup', () => {
      const answer = model.classify(own, options);
      own.data.fill(0);
      options.allow.pop();
      options.roi.width = 7e7;
      return answer;
    });
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0);
    await expect('a canvas that changes', 'cup', () => {
      const answer = model.classify(canvas, { topK: 1 });
      context.clearRect(0, 0, width, height);
      return answer;
    });
    // An iterator can be read once, and a batch has several parts.
    await expect('once', 'cup cup cup', () => model.classifyBatch([blob, blob, blob], { batchSize: 1, allow: ['cup', 'fork'].values(), topK: 1 }));
    await expect('dispose', 'right', async () => (await model.dispose()) ?? {});
    return wrong;
  };
  for (const [name, place] of Object.entries(PLACES)) assert.deepEqual(await page.evaluate(exercise, place), [], name);
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
  };
  const wrong = [];
  for (const [key, outcome] of Object.entries(weird)) {
    const [name, kind] = key.split(' ');
    const isFlag = ['cache', 'warmup', 'profile'].includes(name);
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

test('options are those of the types', () => {
  const types = readFileSync('pkg/index.d.ts', 'utf8');
  const members = (name) => [...new RegExp(`interface ${name}[^{]*{(.*?)^}`, 'ms').exec(types)[1].matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member);
  const [load, view, classify] = ['LoadOptions', 'ViewOptions', 'ClassifyOptions'].map(members);
  assert.deepEqual(Object.keys(LOAD).toSorted(), load.toSorted());
  assert.deepEqual(Object.keys(VIEW).toSorted(), view.toSorted());
  assert.deepEqual(Object.keys(BATCH).toSorted(), [...view, ...classify, 'batchSize'].toSorted());
});
