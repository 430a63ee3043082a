// The package and the page in Firefox and WebKitGTK: what the other tests pin in Chromium, in short. Answers are compared with Node's.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import {
  answers,
  asked,
  BOX,
  COMPUTED,
  DECODED,
  FORMS,
  HEIGHT,
  jpeg,
  LABELS,
  near,
  pattern,
  photo,
  ROI,
  SMALL,
  start,
  turned,
  WEIGHTS,
  WIDTH,
} from './answers.mjs';
import { Demo } from './browser.mjs';
import { firefox, webKit } from './engines.mjs';
import { BAD_PHOTOS, pngHeader } from './states.mjs';

/** lavapipe and WebKitGTK are only there. */
const onLinux = process.platform === 'linux';

const ENGINES = {
  'Firefox on the CPU': { launch: firefox, backend: 'cpu', threads: 2 },
  'Firefox with WebGPU': { launch: () => firefox({ webgpu: true }), backend: 'webgpu', skip: !onLinux },
  // It has no SharedArrayBuffer.
  'WebKitGTK on the CPU': { launch: webKit, backend: 'cpu', threads: 1, skip: !onLinux },
};

let server, url, expected;

before(async () => {
  ({ server, url } = await start());
  expected = await answers();
});

after(() => server?.close());

for (const [name, { launch, backend, threads, skip }] of Object.entries(ENGINES)) {
  describe(name, { skip }, () => {
    // A software adapter takes seconds for a photo.
    const names = backend === 'cpu' ? Object.keys(LABELS) : ['0009', '0412'];
    let page;
    before(async () => {
      page = await launch();
    });
    after(() => page?.close());

    /** Opens an empty page with the package and what its tests call. */
    async function open(path = 'empty', origin = url) {
      await page.goto(origin + path);
      const prepare = async ([backend, other, pattern]) => {
        Object.assign(globalThis, await import('/pkg/dist/index.js'));
        const weights = '/models/kitchenware.safetensors';
        Object.assign(globalThis, { weights, other, photo: (name) => `/models/kitchenware/photos/${name}.jpg`, pattern: new Function(`return ${pattern}`)() });
        globalThis.load = (options) => Xception.load({ weights, backend, warmup: false, ...options });
        globalThis.scores = async (model, image, options) => {
          const { predictions } = await model.classify(image, { topK: 6, ...options });
          return Object.fromEntries(predictions.map(({ label, score }) => [label, score]));
        };
        /** The code and the sentence with which a promise rejects. */
        globalThis.refusal = (promise) =>
          promise.then(
            () => 'none',
            (error) => (error instanceof XceptionError ? `${error.code}: ${error.message}` : String(error)),
          );
        globalThis.fetched = async (address) => (await fetch(address)).blob();
      };
      await page.evaluate(prepare, [backend, url.replace('localhost', '127.0.0.1'), String(pattern)]);
    }

    test('photos have the answers that they have in Node, on the page and in a worker', async () => {
      await open();
      const answers = await page.evaluate(
        async ([names, turned, size, places]) => {
          const answers = [];
          for (const worker of places) {
            const model = await load({ worker });
            const own = {};
            for (const name of names) own[name] = await scores(model, await fetched(photo(name)));
            own.turned = await scores(model, new Uint8Array(turned));
            own.pattern = await scores(model, pattern(...size));
            const { predictions } = await model.classifyBatch(names.map(photo), { batchSize: 3, topK: 1 });
            own.batch = predictions.map(([{ label }]) => label);
            own.lengths = [(await model.embed(photo('0009'))).length, (await model.predict(photo('0009'))).length];
            const map = await model.explain(photo('0009'));
            own.explained = [map.prediction.label, map.image.width > 0];
            const { shape } = await model.activations(photo('0009'), 'block1_conv1');
            own.shape = shape;
            own.backend = [model.info.backend, model.info.reason];
            await model.dispose();
            answers.push(own);
          }
          return answers;
        },
        [names, [...turned()], [WIDTH, HEIGHT], backend === 'cpu' ? [false, true] : [true]],
      );
      for (const answer of answers) {
        for (const name of names) near(answer[name], expected[name], DECODED, name);
        // The network is less sure of a cup that lies.
        near(answer.turned, expected.turned, [3e-2, 0], 'turned');
        near(answer.pattern, expected.pattern, COMPUTED, 'pixels');
        const { batch, lengths, explained, shape } = answer;
        assert.deepEqual(
          { batch, lengths, explained, shape },
          { batch: names.map((name) => LABELS[name]), lengths: [2048, 6], explained: ['cup', true], shape: [74, 74, 32] },
        );
        assert.deepEqual(answer.backend, [backend, '']);
      }
    });

    test('every kind of image has one answer, and a part of it another', async () => {
      await open();
      const answers = await page.evaluate(
        async ([width, height, roi, box, inputSize]) => {
          const { data } = pattern(width, height);
          const pixels = new ImageData(data, width);
          const canvas = Object.assign(document.createElement('canvas'), { width, height });
          canvas.getContext('2d').putImageData(pixels, 0, 0);
          const offscreen = new OffscreenCanvas(width, height);
          offscreen.getContext('2d').putImageData(pixels, 0, 0);
          const blob = await offscreen.convertToBlob();
          const bytes = await blob.arrayBuffer();
          const image = Object.assign(new Image(), { src: URL.createObjectURL(blob) });
          await image.decode();
          // The pattern in the middle of a canvas, to be cut out again. An opaque one's bitmaps are made otherwise.
          const wide = new OffscreenCanvas(300, 200);
          const context = wide.getContext('2d', { alpha: false });
          context.putImageData(pixels, 40, 50);
          const cut = (source) => createImageBitmap(source, 40, 50, width, height);
          // Drawing changes how Firefox keeps a bitmap.
          const drawn = await createImageBitmap(await wide.convertToBlob());
          context.drawImage(drawn, 0, 0);
          const window = document.body.appendChild(document.createElement('iframe')).contentWindow;
          const images = {
            pixels,
            blob,
            bytes,
            canvas,
            offscreen,
            image,
            file: new File([blob], 'photo.png'),
            url: image.src,
            bitmap: await createImageBitmap(blob),
            frame: new VideoFrame(canvas, { timestamp: 0 }),
            cutCanvas: await cut(wide),
            cutBitmap: await cut(await createImageBitmap(await wide.convertToBlob())),
            cutDrawn: await cut(drawn),
            otherWindow: new window.Blob([bytes]),
            otherWindowFile: new window.File([bytes], 'photo.png'),
          };
          const answers = { whole: {}, part: {}, photoParts: [], refused: [] };
          // JPEG has no alpha: bitmaps of it are others.
          const jpeg = await fetched(photo('0009'));
          const bitmap = await createImageBitmap(jpeg);
          const parts = [
            [jpeg, { roi: box }],
            [bitmap, { roi: box }],
            [await createImageBitmap(bitmap, box.x, box.y, box.width, box.height), {}],
          ];
          for (const worker of [false, true]) {
            const model = await load({ worker, inputSize });
            for (const [name, image] of Object.entries(images)) {
              if (worker) answers.part[name] = await scores(model, image, { roi });
              else answers.whole[name] = await scores(model, image);
            }
            for (const [image, options] of parts) answers.photoParts.push(await scores(model, image, options));
            answers.refused.push(await refusal(model.classify(new window.Blob(['no image']))), await refusal(model.classify(document.body)));
            await model.dispose();
          }
          const model = await load({ weights: new window.Blob([await fetched(weights)]), inputSize });
          answers.weights = await scores(model, blob);
          await model.dispose();
          return answers;
        },
        [WIDTH, HEIGHT, ROI, BOX, SMALL],
      );
      const { whole, part, photoParts, weights, refused } = answers;
      for (const name of Object.keys(whole)) {
        // A video's colors are rounded.
        const tolerance = name === 'frame' ? [2e-2, 2e-2] : [1e-4, 1e-2];
        near(whole[name], expected.small.whole, tolerance, name);
        near(part[name], expected.small.part, tolerance, `${name}, part`);
      }
      near(weights, expected.small.whole, [1e-4, 1e-2], 'weights of another window');
      for (const scores of photoParts) near(scores, expected.small.photoPart, DECODED, 'part of a photo');
      for (const [index, sentence] of refused.entries())
        assert.match(sentence, [/^decode: .*not a readable image/, /^bad-argument: the image must be/][index % 2]);
    });

    test('every form of lossless files is answered as in Node: turned, in 16 bits, animated, and with profiles left aside', async () => {
      await open();
      const files = Object.keys(FORMS).map((name) => [...FORMS[name]]);
      const answers = await page.evaluate(
        async ([files, inputSize]) => {
          const model = await load({ worker: true, inputSize });
          const answers = [];
          for (const bytes of files) answers.push(await scores(model, new Uint8Array(bytes)));
          await model.dispose();
          return answers;
        },
        [files, SMALL],
      );
      for (const [index, name] of Object.keys(FORMS).entries()) {
        // WebKitGTK heeds a profile, whatever it is asked for. Firefox rounds colors by their alpha.
        if (launch === webKit && name.startsWith('profile')) continue;
        near(answers[index], expected.small.forms[name], /alpha|rgba/.test(name) ? [1e-1, 0] : [1e-3, 1e-2], name);
      }
    });

    test('what is wrong is refused by a code and a sentence, and the next call is right', async () => {
      await open();
      const cut = jpeg.subarray(0, jpeg.length / 2);
      const [found, best] = await page.evaluate(
        async ([cut, huge]) => {
          const text = (text) => new Blob([text]);
          const cup = photo('0009');
          const found = {
            missing: await refusal(load({ weights: '/models/none.safetensors' })),
            unreachable: await refusal(load({ weights: 'http://localhost:1/model.safetensors' })),
            page: await refusal(load({ weights: '/empty' })),
            text: await refusal(load({ weights: text('no weights') })),
            nothing: await refusal(load({ weights: text('') })),
            short: await refusal(load({ weights: (await fetched(weights)).slice(0, 1e6) })),
            hash: await refusal(load({ weights: await fetched(weights), integrity: `sha256-${btoa('0'.repeat(32))}` })),
            dtype: await refusal(load({ dtype: 'i8' })),
            size: await refusal(load({ inputSize: 50 })),
            labels: await refusal(load({ labels: ['one'] })),
          };
          const tainted = Object.assign(new Image(), { src: other + cup.slice(1) });
          await tainted.decode();
          const places = [];
          for (const worker of [false, true]) {
            const model = await load({ worker });
            const classify = (image, options) => refusal(model.classify(image, options));
            places.push({
              textImage: await classify(text('no image')),
              emptyImage: await classify(text('')),
              cutImage: await classify(new Uint8Array(cut)),
              hugeImage: await classify(new Uint8Array(huge)),
              missingImage: await classify('/models/none.jpg'),
              unreachableImage: await classify('http://localhost:1/none.jpg'),
              otherSite: await classify(other + cup.slice(1)),
              tainted: await classify(tainted),
              unloaded: await classify(new Image()),
              number: await classify(7),
              roi: await classify(cup, { roi: { x: 0, y: 0, width: 1e5, height: 1 } }),
              topK: await classify(cup, { topK: 0 }),
              allow: await classify(cup, { allow: ['unicorn'] }),
              layer: await refusal(model.activations(cup, 'block3_shortcut')),
              best: (await model.classify(cup)).predictions[0].label,
            });
            await model.dispose();
          }
          const [{ best, ...first }, { best: second, ...others }] = places;
          const name = (key) => `${key} in a worker`;
          return [{ ...found, ...first, ...Object.fromEntries(Object.entries(others).map(([key, value]) => [name(key), value])) }, [best, second]];
        },
        [[...cut], [...pngHeader(30_000, 30_000)]],
      );
      const sentences = {
        missing: /^fetch: .*none\.safetensors answered 404/,
        unreachable: /^fetch: .*localhost:1.*could not be fetched/,
        page: /^fetch: .*web page, not with weights/,
        text: /^unsupported-format: .*not a weights file/,
        nothing: /^unsupported-format: the file is empty/,
        short: /^bad-weights: .*cut short/,
        hash: /^integrity: /,
        dtype: /^bad-argument: dtype must be/,
        size: /^bad-argument: .*71/,
        labels: /^bad-argument: .*1 labels for 6 classes/,
        textImage: /^decode: .*not a readable image/,
        emptyImage: /^decode: .*empty/,
        cutImage: /^decode: .*cut short/,
        hugeImage: /^too-large: .*30000×30000 pixels/,
        missingImage: /^fetch: .*none\.jpg answered 404/,
        unreachableImage: /^fetch: .*could not be fetched: its server is out of reach/,
        otherSite: /^cors: .*does not allow this page to read it/,
        tainted: /^cors: the image comes from another site that does not allow reading it/,
        unloaded: /^decode: the image has no pixels/,
        number: /^bad-argument: the image must be/,
        roi: /^bad-argument: roi must be/,
        topK: /^bad-argument: topK must be/,
        allow: /^bad-argument: .*unicorn/,
        layer: /^bad-argument: .*block3_shortcut/,
      };
      const wrong = Object.entries(found).filter(([name, sentence]) => !sentences[name.split(' ')[0]].test(sentence));
      assert.deepEqual(wrong, []);
      assert.deepEqual(best, ['cup', 'cup']);
    });

    test('where there is no WebGPU, the CPU answers, and says why', async () => {
      await open();
      const result = await page.evaluate(async () => {
        const { ok, backend, reason } = await Xception.isSupported();
        const gpu = await refusal(Xception.load({ weights, backend: 'webgpu', worker: true }));
        return { ok, backend, reason, gpu: navigator.gpu ? '' : gpu };
      });
      assert.deepEqual([result.ok, result.backend], [true, 'cpu'], 'lavapipe is not taken without being asked for');
      if (backend === 'webgpu') return assert.match(result.reason, /software adapter/);
      assert.match(result.reason, /there is no WebGPU here/);
      assert.match(result.gpu, /^no-webgpu: this browser has no WebGPU/);
    });

    test('weights come from the cache the second time', async (context) => {
      // An origin without a cache yet.
      const own = await start();
      context.after(() => own.server.close());
      await open('empty', own.url);
      asked.length = 0;
      const result = await page.evaluate(async () => {
        // A private session of WebKitGTK, as automated ones are, loses a cache with the last thread that has opened it.
        globalThis.cache = await caches.open('xception-webgpu');
        const once = async (options) => {
          const cached = [];
          const model = await load({ onProgress: ({ phase, fromCache }) => phase === 'weights' && cached.push(fromCache), ...options });
          await model.dispose();
          const listed = await listCached();
          return [cached.at(-1), listed.map(({ url, bytes }) => [new URL(url).pathname, bytes])];
        };
        const loads = [await once(), await once(), await once({ worker: true })];
        const cleared = [await clearCache(weights), (await listCached()).length];
        return { loads, cleared, again: [await once(), await once()], all: [await clearCache(), await clearCache()] };
      });
      const listed = [[`/${WEIGHTS}`, readFileSync(WEIGHTS).length]];
      const [fetched, kept] = [false, true].map((cached) => [cached, listed]);
      assert.deepEqual(result, { loads: [fetched, kept, kept], cleared: [true, 0], again: [fetched, kept], all: [true, false] });
      assert.equal(asked.filter((path) => path === WEIGHTS).length, 2);
    });

    test('loads and calls are aborted, and models are disposed of', async () => {
      await open();
      const result = await page.evaluate(async () => {
        const code = async (promise) => (await refusal(promise)).split(':')[0];
        const result = {};
        for (const worker of [false, true]) {
          const aborter = new AbortController();
          const aborted = [
            await code(load({ worker, signal: AbortSignal.abort() })),
            await code(load({ worker, cache: false, signal: aborter.signal, onProgress: () => aborter.abort() })),
          ];
          const model = await load({ worker });
          const during = new AbortController();
          const running = code(model.classify(photo('0009'), { signal: during.signal }));
          during.abort();
          aborted.push(await running, await code(model.classify(photo('0009'), { signal: AbortSignal.abort() })));
          const next = (await model.classify(photo('0412'))).predictions[0].label;
          const waiting = model.classify(photo('0013')).then(({ predictions }) => predictions[0].label);
          const disposed = [model.dispose(), model.dispose()].map(code);
          const late = code(model.classify(photo('0009')));
          result[worker] = { aborted, next, waiting: await waiting, disposed: await Promise.all(disposed), late: await late };
        }
        return result;
      });
      const each = { aborted: Array(4).fill('aborted'), next: 'fork', waiting: 'knife', disposed: ['none', 'none'], late: 'disposed' };
      assert.deepEqual(result, { false: each, true: each });
    });

    // Threads are the CPU's.
    if (threads) {
      test('threads compute where memory can be shared, one where it cannot, and the answer is one', async () => {
        const answer = async ([threads, ...size]) => {
          const model = await load({ threads });
          const answer = { isolated: crossOriginIsolated, adapter: model.info.adapter, scores: await scores(model, pattern(...size)) };
          await model.dispose();
          return answer;
        };
        await open('isolated');
        const [one, two] = [await page.evaluate(answer, [1, WIDTH, HEIGHT]), await page.evaluate(answer, [2, WIDTH, HEIGHT])];
        await open();
        const alone = await page.evaluate(answer, [2, WIDTH, HEIGHT]);
        assert.deepEqual(
          [one, two, alone].map(({ isolated }) => isolated),
          [true, true, false],
        );
        const count = ({ adapter }) => Number(/^CPU: (?:relaxed )?SIMD, (\d+) threads?$/.exec(adapter)?.[1]);
        assert.deepEqual([one, two, alone].map(count), [1, threads, 1]);
        assert.deepEqual(two.scores, one.scores);
        assert.deepEqual(alone.scores, one.scores);
        near(one.scores, expected.pattern, COMPUTED, 'pixels');
      });
    } else {
      test('what is larger than a texture is scaled', async () => {
        await open();
        const [whole, wide, part] = await page.evaluate(async () => {
          const model = await load();
          const bitmap = await createImageBitmap(await fetched(photo('0009')));
          const canvas = new OffscreenCanvas(20_000, 300);
          canvas.getContext('2d').drawImage(bitmap, 0, 0, 20_000, 300);
          const wider = new OffscreenCanvas(24_000, 300);
          wider.getContext('2d').drawImage(canvas, 3000, 0);
          const roi = { x: 3000, y: 0, width: 20_000, height: 300 };
          // A bitmap of a PNG has alpha.
          const [png, widerPng] = [await canvas.convertToBlob(), await wider.convertToBlob()];
          const answers = [await scores(model, bitmap), await scores(model, png), await scores(model, widerPng, { roi })];
          await model.dispose();
          return answers;
        });
        near(wide, whole, [0.05, 0], 'scaled');
        near(part, whole, [0.05, 0], 'cut and scaled');
      });
    }

    test('the page answers photos that are dropped, chosen or picked, and says what is wrong', async () => {
      const demo = new Demo(page, `${url}?backend=${backend}`);
      await demo.open();
      assert.match(await page.textContent('#model'), /^Kitchenware: 6 classes, input 150×150, .*computed on the [CG]PU/);
      for (const name of names) {
        const { rows, error } = await demo.classify(`${name}.jpg`, `/${photo(name)}`);
        const label = LABELS[name];
        assert.deepEqual([error, rows.length, rows[0]?.label], ['', 5, label]);
        assert.ok(Math.abs(rows[0].percent - 100 * expected[name][label]) <= 0.3 + 0.01 * rows[0].percent, `${rows[0].percent} % ${label}`);
      }
      const says = (text) => page.waitForFunction((text) => document.getElementById('status').textContent === text, text);
      await page.setInputFiles('#file', photo('0207'));
      await says('0207.jpg: spoon');
      await page.click('#samples button');
      await page.waitForFunction(() => /^00\d\d\.jpg: \w+$/.test(document.getElementById('status').textContent));
      await page.setInputFiles('#file', ['0009', '0412', '0013'].map(photo));
      await page.waitForFunction(() => document.getElementById('gallery').textContent === 'cupforkknife');
      await page.click('#predictions button');
      await page.waitForFunction(() => !document.getElementById('heat').hidden);

      const bad = { ...BAD_PHOTOS, 'photo.heic': [Buffer.from('\0\0\0\x18ftypheic\0\0\0\0heicmif1'), /this browser cannot decode HEIC/] };
      for (const [name, [bytes, sentence]] of Object.entries(bad)) {
        const { rows, error } = await demo.classify(name, bytes);
        assert.match(error, sentence);
        assert.ok(error.startsWith(`${name}: `), error);
        assert.deepEqual(rows, []);
      }
      const badWeights = {
        'text.h5': [Buffer.from('<!doctype html><title>Not found</title>'), /not a weights file/],
        'empty.h5': [Buffer.alloc(0), /empty/],
        'header.safetensors': [readFileSync(WEIGHTS).subarray(0, 1000), /cut short/],
      };
      for (const [name, [bytes, sentence]] of Object.entries(badWeights)) {
        await demo.drop(name, bytes);
        await page.waitForFunction((name) => document.getElementById('error').textContent.startsWith(`${name}: `), name);
        await demo.settled();
        assert.match(await demo.error(), sentence);
      }
      const { rows, error } = await demo.classify('0013.jpg', `/${photo('0013')}`);
      assert.deepEqual([rows[0]?.label, error], ['knife', ''], 'the model that was there stays');

      if (backend === 'cpu') {
        await demo.view('model');
        await page.selectOption('#backend', 'webgpu');
        await page.waitForFunction(() => !document.getElementById('error').hidden);
        assert.match(await demo.error(), /^Kitchenware: this browser has no WebGPU/);
        await demo.settled();
      }
      await demo.drop('kitchenware.keras', '/models/kitchenware/kitchenware.keras');
      await page.waitForFunction(() => document.getElementById('model').textContent.startsWith('kitchenware.keras: 6 classes'));
      await demo.settled();
      assert.equal((await demo.classify('0013.jpg', `/${photo('0013')}`)).rows[0].label, 'class 3');
      // Firefox complains of the photos above by itself.
      assert.deepEqual(
        demo.complaints.filter((text) => !/Image corrupt or truncated/.test(text)),
        [],
      );
    });

    test('the page answers without its server', async (context) => {
      const own = await start();
      context.after(() => own.server.close());
      const demo = new Demo(page, `${own.url}?backend=${backend}`);
      await demo.open();
      await page.evaluate(async () => void (await navigator.serviceWorker.ready));
      await page.waitForFunction(() => document.getElementById('models').textContent.includes('cached'));
      await demo.classify('0009.jpg', jpeg);
      own.server.close();
      own.server.closeAllConnections();
      asked.length = 0;
      await demo.open();
      const { rows, error } = await demo.classify('0009.jpg', jpeg);
      assert.deepEqual([rows[0]?.label, error], ['cup', '']);
      assert.deepEqual(asked, []);
    });
  });
}
