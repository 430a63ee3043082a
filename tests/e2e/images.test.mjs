// Every kind of image, and what is none: each call settles with the right answer or a code, alike on the page and in a worker, and the next
// call is right.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { serveAndLaunch } from './served.mjs';
import { open, PLACES } from './values.mjs';

await serveAndLaunch();

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

test('every form of every format is answered as its pixels by Pillow', async () => {
  const page = await open();
  const file = readFileSync('tests/data/photos.safetensors');
  const start = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.subarray(8, start));
  delete header.__metadata__;
  const photos = Object.entries(header).map(([name, { shape, data_offsets }]) => {
    const [height, width] = shape;
    const data = file.subarray(...data_offsets.map((offset) => start + offset)).toString('base64');
    return { name, file: readFileSync(`tests/data/photos/${name}`).toString('base64'), pixels: { data, width, height } };
  });
  assert.ok(photos.length >= 45, `${photos.length} photos`);
  const answers = await page.evaluate(async (photos) => {
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt());
    const model = await Xception.load({ weights, backend: 'cpu', worker: false, inputSize: 71 });
    const answers = [];
    for (const { name, file, pixels } of photos) {
      const ours = await model.predict(bytes(file));
      const theirs = await model.predict({ ...pixels, data: bytes(pixels.data) });
      answers.push({ name, ours: [...ours], theirs: [...theirs] });
    }
    await model.dispose();
    return answers;
  }, photos);
  const wrong = answers.filter(({ name, ours, theirs }) => {
    const atol = name.startsWith('restarts') ? 0.05 : /\.jpg$|lossy|animated\.webp/.test(name) ? 0.02 : 1e-3;
    return !ours.every((value, index) => Math.abs(value - theirs[index]) <= atol + 1e-3 * Math.abs(theirs[index]));
  });
  assert.deepEqual(wrong, []);
  await page.close();
});
