// Models that are no plain classifier, as people have them: on the page, and in a worker and on the page's thread by the package.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { decompress } from 'fzstd';
import { Demo, emptyPage, FAKE_CAMERA, launch } from './browser.mjs';
import { serveWithModel } from './models.mjs';

const FOLDER = 'test-results/forms';
const FORMS = ['forms/multi.h5', 'forms/regression.keras', 'forms/features_average.h5', 'checkpoints/deepfakebench.pth', 'networks/xception41p.pth'];

let server, browser, url;

before(async () => {
  mkdirSync(FOLDER, { recursive: true });
  for (const form of FORMS) writeFileSync(`${FOLDER}/${form.split('/')[1]}`, decompress(readFileSync(`tests/data/${form}.zst`)));
  ({ server, url } = await serveWithModel({ '/forms': FOLDER }));
  browser = await launch(...FAKE_CAMERA);
});

after(async () => {
  await browser?.close();
  server?.close();
});

test('the page answers with bars, a number or a picture, whatever a model gives', async () => {
  const page = await browser.newPage({ serviceWorkers: 'block' });
  const demo = new Demo(page, `${url}?backend=cpu`);
  await demo.open();
  const use = async (name, told) => {
    await demo.drop(name, `/forms/${name}`);
    await page.waitForFunction((told) => document.getElementById('model').textContent.startsWith(told), `${name}: ${told}`);
    await demo.settled();
    return (await demo.classify('photo.jpg', '/models/kitchenware/photos/0009.jpg')).rows;
  };
  const multi = await use('multi.h5', '5 classes, each by itself');
  assert.equal(multi.length, 5);
  assert.ok(multi.reduce((sum, { percent }) => sum + percent, 0) > 101, 'probabilities are each by themselves');
  assert.equal(await page.locator('#predictions .bar').count(), 5);

  const [number, ...more] = await use('regression.keras', 'a number');
  assert.deepEqual([number.label, more, await page.locator('#predictions .bar').count()], ['output 0', [], 0]);
  await page.click('#predictions button');
  await page.waitForFunction(() => !document.getElementById('heat').hidden);
  assert.equal(await page.textContent('#why'), 'Class activation map of output 0');

  await page.click('#camera');
  await page.waitForFunction(() => /^-?[\d.]+, [\d.]+ photos a second$/.test(document.getElementById('status').textContent));
  assert.equal(await page.locator('#predictions button').count(), 1);
  await page.click('#camera');

  await use('features_average.h5', '2048 features').catch(() => {});
  assert.equal(await page.textContent('#status'), 'photo.jpg: 2048 features');
  assert.match(await page.getAttribute('.strip', 'aria-label'), /^2048 features/);

  assert.equal((await use('deepfakebench.pth', '2 classes')).length, 2);
  assert.match(await page.textContent('#assumed'), /final activation softmax/);
  assert.deepEqual(demo.complaints, []);
  await page.close();
});

test('predict gives the output of any model, with and without a worker', async () => {
  const page = await emptyPage(browser, url);
  const results = await page.evaluate(async () => {
    const { Xception } = await import('/pkg/dist/index.js');
    const answers = [];
    for (const worker of [false, true]) {
      for (const name of ['multi.h5', 'regression.keras', 'features_average.h5', 'deepfakebench.pth']) {
        const options = { weights: `/forms/${name}`, backend: 'cpu', worker, cache: false, inputSize: name.endsWith('.pth') ? [71, 71] : undefined };
        const model = await Xception.load({ ...options, pixels: 'tf' });
        const { output, outputs, classes, preprocessing, assumed } = model.info;
        const values = await model.predict('/models/kitchenware/photos/0009.jpg');
        const classify = await model.classify('/models/kitchenware/photos/0009.jpg').catch(({ code }) => code);
        const map = await model.explain('/models/kitchenware/photos/0009.jpg').catch(({ code }) => code);
        answers.push({
          info: { output, outputs, classes, scale: preprocessing.scale, assumed: assumed.map(({ name }) => name) },
          values: [...values].slice(0, 9),
          length: values.length,
          predictions: classify.predictions ?? classify,
          map: map.values ? [map.exact, map.width, map.height, map.prediction.label] : map,
        });
        await model.dispose();
      }
    }
    return answers;
  });
  const [here, inWorker] = [results.slice(0, 4), results.slice(4)];
  assert.deepEqual(inWorker, here);
  const [multi, number, features, fake] = here;
  assert.deepEqual([multi.info.output, multi.info.outputs, multi.info.classes, multi.length], ['sigmoid', 5, 5, 5]);
  const scores = multi.predictions.map(({ score }) => score);
  assert.deepEqual(
    scores,
    multi.values.toSorted((one, other) => other - one),
  );
  assert.deepEqual([number.info.output, number.length, number.predictions], ['linear', 1, 'bad-argument']);
  assert.deepEqual(number.map, [true, 3, 3, 'output 0']);
  assert.deepEqual([features.info.output, features.length, features.predictions, features.map], ['features', 2048, 'bad-argument', 'bad-argument']);
  assert.deepEqual([fake.info.output, fake.info.classes, fake.length], ['softmax', 2, 2]);
  assert.ok(!multi.info.assumed.includes('pixel values'), 'an option is told');
  const [one, other] = fake.values.map(Math.exp);
  assert.ok(Math.abs(fake.predictions.find(({ index }) => index === 0).score - one / (one + other)) < 1e-5, 'classify has the softmax of logits');
  await page.close();
});

test('every method of another network gives the same on the GPU and on the CPU', async () => {
  const page = await emptyPage(browser, url);
  const [gpu, cpu] = await page.evaluate(async () => {
    const { Xception } = await import('/pkg/dist/index.js');
    const photo = '/models/kitchenware/photos/0009.jpg';
    const answers = [];
    for (const backend of ['webgpu', 'cpu']) {
      const model = await Xception.load({ weights: '/forms/xception41p.pth', backend, cache: false, inputSize: 71 });
      const layer = model.info.layers.at(-3).name;
      const { shape, values } = await model.activations(photo, layer);
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240, frameRate: 20 } });
      const frames = [];
      for await (const { predictions } of model.video(stream.getVideoTracks()[0])) if (frames.push(predictions.length) === 2) break;
      answers.push({
        network: model.info.network,
        layer: [layer, ...shape],
        frames,
        passes: (await model.profile(photo, { runs: 1 }).catch(({ code }) => code)).passes?.length,
        values: {
          predict: [...(await model.predict(photo))],
          batch: (await model.classifyBatch([photo, photo])).predictions.flat().map(({ score }) => score),
          embed: [...(await model.embed(photo))],
          explain: [...(await model.explain(photo)).values],
          activations: [...values],
        },
      });
      await model.dispose();
    }
    return answers;
  });
  assert.deepEqual([gpu.network, gpu.values.predict.length, gpu.frames], ['xception41p', 5, [5, 5]]);
  assert.deepEqual([cpu.network, cpu.layer, cpu.frames], [gpu.network, gpu.layer, gpu.frames]);
  assert.ok(gpu.passes > 60, `${gpu.passes} passes are timed`);
  for (const [method, expected] of Object.entries(cpu.values)) {
    const largest = Math.max(...expected.map(Math.abs));
    assert.ok(largest > 0.05 && gpu.values[method].length === expected.length, `${method}: ${expected.length} values up to ${largest}`);
    for (const [index, value] of expected.entries()) {
      const found = gpu.values[method][index];
      assert.ok(Math.abs(found - value) < 1e-3 * largest, `${method}, value ${index}: ${found} on the GPU, ${value} on the CPU`);
    }
  }
  await page.close();
});

/** A head as `xception learn` writes it, of two classes that no photo tells apart. */
function learnedHead(backbone, output = 'softmax') {
  const description = { version: 1, labels: ['no', 'yes'], output, backbone };
  const tensor = (shape, start, end) => ({ dtype: 'F32', shape, data_offsets: [start, end] });
  const weights = 4 * 2 * 2048;
  const tensors = { 'predictions.weight': tensor([2, 2048], 0, weights), 'predictions.bias': tensor([2], weights, weights + 8) };
  const header = Buffer.from(JSON.stringify({ __metadata__: { 'xception-webgpu-head': JSON.stringify(description) }, ...tensors }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const values = Buffer.alloc(weights + 8);
  values.writeFloatLE(1, weights + 4);
  return [...Buffer.concat([length, header, values])];
}

test('a learned head brings its labels and its output, and knows its backbone', async () => {
  const sha256 = createHash('sha256').update(readFileSync('models/kitchenware/kitchenware.keras')).digest('hex');
  const heads = [learnedHead(sha256), learnedHead(sha256, 'sigmoid'), learnedHead('0'.repeat(64)), learnedHead(sha256, 'linear')];
  const page = await emptyPage(browser, url);
  const answers = await page.evaluate(async (heads) => {
    const { Xception } = await import('/pkg/dist/index.js');
    const answers = [];
    for (const weights of ['/models/kitchenware.safetensors', '/models/kitchenware/kitchenware.keras']) {
      for (const head of heads) {
        const load = async () => {
          const model = await Xception.load({ weights, head: new Uint8Array(head), backend: 'cpu', warmup: false });
          const { predictions } = await model.classify('/models/kitchenware/photos/0009.jpg');
          const assumed = model.info.assumed.map(({ name }) => name).filter((name) => /label|activation|pooling/.test(name));
          await model.dispose();
          return [model.info.output, assumed, predictions.map(({ label, score }) => `${label} ${score.toFixed(3)}`).join()];
        };
        answers.push(await load().catch(({ code, message }) => `${code}: ${message}`));
      }
    }
    return answers;
  }, heads);
  for (const [softmax, sigmoid, other, linear] of [answers.slice(0, 4), answers.slice(4)]) {
    assert.deepEqual(softmax, ['softmax', [], 'yes 0.731,no 0.269']);
    assert.deepEqual(sigmoid, ['sigmoid', [], 'yes 0.731,no 0.500']);
    assert.match(other, /^bad-argument: the head was learned on the features of another model/);
    assert.match(linear, /^bad-argument: the head: .*linear is no output of a learned head/);
  }
  await page.close();
});
