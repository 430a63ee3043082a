// Classes of one's own: taught on the page and by the package, and by the command line from the same photos.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { decompress } from 'fzstd';
import { Demo, FAKE_CAMERA, launch, packagePage } from './browser.mjs';
import { serveWithModel } from './models.mjs';
import { says } from './states.mjs';

const CLASSES = { cat: 'chelsea', drink: 'coffee', place: 'temple' };
const MODEL = 'models/kitchenware.safetensors';

let server, browser, url, folder;

/** Makes `count` photos of each class in `to`, other ones with each seed: parts of a picture, brighter or darker, some mirrored. PNG: decoders agree. */
async function makePhotos(page, to, count, seed) {
  for (const [label, name] of Object.entries(CLASSES)) {
    const photos = await page.evaluate(
      async ([name, count, seed]) => {
        const bitmap = await createImageBitmap(await (await fetch(`/originals/${name}.jpg`)).blob());
        let state = seed;
        const random = () => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          return state / 2 ** 32;
        };
        const photos = [];
        for (let index = 0; index < count; index++) {
          const canvas = new OffscreenCanvas(96 + Math.floor(64 * random()), 96 + Math.floor(64 * random()));
          const context = canvas.getContext('2d', { willReadFrequently: true });
          const [width, height] = [bitmap.width, bitmap.height].map((side) => side * (0.5 + 0.4 * random()));
          if (random() > 0.5) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
          const at = [(bitmap.width - width) * random(), (bitmap.height - height) * random()];
          context.drawImage(bitmap, ...at, width, height, 0, 0, canvas.width, canvas.height);
          context.fillStyle = `rgb(${random() > 0.5 ? '255 255 255' : '0 0 0'} / ${0.2 * random()})`;
          context.fillRect(0, 0, canvas.width, canvas.height);
          const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/png' })).arrayBuffer());
          photos.push(btoa(String.fromCharCode(...bytes)));
        }
        return photos;
      },
      [name, count, seed + label.length],
    );
    mkdirSync(join(to, label), { recursive: true });
    for (const [index, base64] of photos.entries()) writeFileSync(join(to, label, `${label} ${index}.png`), Buffer.from(base64, 'base64'));
  }
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xception-teach-'));
  ({ server, url } = await serveWithModel({ '/photos': folder, '/originals': 'www/samples' }));
  browser = await launch(...FAKE_CAMERA);
  const page = await packagePage(browser, url);
  await makePhotos(page, join(folder, 'train'), 10, 1);
  await makePhotos(page, join(folder, 'others'), 10, 100);
  await page.close();
});

after(async () => {
  await browser?.close();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

const files = (part, label) => Array.from({ length: 10 }, (_, index) => join(folder, part, label, `${label} ${index}.png`));

/** The label and the percents of each of the other photos, as the page answers them. */
async function answers(page) {
  const found = [];
  for (const label of Object.keys(CLASSES)) {
    await page.setInputFiles('#file', files('others', label));
    await page.waitForFunction(() => [...document.querySelectorAll('#gallery span')].every(({ textContent }) => textContent !== '…'), null, {
      timeout: 90_000,
    });
    for (const item of await page.locator('#gallery button').all()) {
      await item.click();
      found.push(await page.locator('#predictions button').allTextContents());
    }
  }
  return found;
}

/** Clicks a button and reads the file that is saved. */
async function saved(page, button) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  return readFileSync(await download.path());
}

test('the page learns three classes of ten photos, answers others, saves them, and answers the same after a reload', async () => {
  const context = await browser.newContext({ serviceWorkers: 'block', viewport: { width: 1100, height: 900 } });
  const page = await context.newPage();
  const demo = new Demo(page, `${url}?backend=cpu`);
  await demo.open();
  await demo.view('teach');
  assert.ok(await page.isDisabled('#learn'), 'there is nothing to learn');
  // Folders, one more class by its name, with photos that are chosen.
  await page.setInputFiles('#folders', join(folder, 'train'));
  await page.waitForFunction(() => document.querySelectorAll('#classes > li').length === 3);
  await says(page, 'lesson-status', /^$/);
  assert.match(await page.textContent('#kept'), /^30 photos and their features are kept in this browser: \d\.\d MB\.$/);
  await page.click('#learn');
  await says(page, 'lesson-status', /^Learned\./);
  assert.match(await page.textContent('#accuracy'), /^A fifth of the photos was held out.*: 6 of 6 are right, 100 % \(95 % interval: 61 % to 100 %\)\. $/);
  assert.equal(await page.locator('#curve polyline').count(), 2);
  assert.deepEqual(await page.locator('#confusion td.right').allTextContents(), ['2', '2', '2']);
  const taught = await answers(page);
  assert.equal(taught.length, 30);
  for (const [index, label] of Object.keys(CLASSES).entries()) {
    for (const rows of taught.slice(10 * index, 10 * index + 10)) assert.ok(rows.length === 3 && rows[0].startsWith(label), rows.join());
  }
  await demo.view('teach');
  const head = await saved(page, '#save-head');
  assert.ok(head.length > 3 * 8192 && head.length < 3 * 8192 + 1000, `${head.length} bytes`);
  writeFileSync(join(folder, 'whole.safetensors'), await saved(page, '#save-model'));

  // The model's own classes, and back.
  await page.click('#own-classes');
  await page.waitForFunction(() => document.querySelectorAll('#predictions button').length === 5);

  // The command line, by the same instructions and photos.
  const output = join(folder, 'head.safetensors');
  const learn = ['learn', '--model', MODEL, '--backend', 'cpu', '--images', join(folder, 'train'), '-o', output];
  execFileSync('cargo', ['run', '--release', '--quiet', '--bin', 'xception', '--', ...learn], { stdio: ['ignore', 'ignore', 'inherit'] });
  assert.ok(readFileSync(output).equals(head), 'the command line makes the same head, bit for bit');

  // The photos are still there; the head comes from its file, and then from its address.
  await page.reload();
  await demo.settled();
  await page.waitForFunction(() => document.querySelectorAll('#classes > li').length === 3);
  assert.equal(await demo.error(), '');
  await demo.drop('head.safetensors', head);
  await demo.view('model');
  await says(page, 'model', /^Kitchenware: 3 classes of your own/);
  assert.deepEqual(await answers(page), taught);
  // Another document: a new fragment alone loads nothing.
  await page.goto('about:blank');
  await page.goto(`${demo.url}#head=${encodeURIComponent(`${url}photos/head.safetensors`)}`);
  await demo.view('model');
  await says(page, 'model', /^Kitchenware: 3 classes of your own/);
  assert.deepEqual((await answers(page)).slice(0, 3), taught.slice(0, 3));
  await demo.drop('whole.safetensors', '/photos/whole.safetensors');
  await demo.view('model');
  await says(page, 'model', /^whole\.safetensors: 3 classes/);
  assert.deepEqual((await answers(page)).slice(0, 3), taught.slice(0, 3));

  await demo.view('teach');
  await page.click('#forget-lesson');
  await says(page, 'lesson-status', /^All photos are deleted\.$/);
  await demo.open();
  await demo.view('teach');
  await says(page, 'kept', /^Photos are kept/);
  assert.equal(await page.locator('#classes > li').count(), 0);
  assert.deepEqual(demo.complaints, []);
  await context.close();
});

test('what cannot be taught is said on the page, and the camera gives ten photos', async () => {
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  const demo = new Demo(page, `${url}?backend=cpu`);
  await demo.open();
  await demo.view('teach');
  for (const name of ['one', 'two']) {
    await page.fill('#class-name', name);
    await page.press('#class-name', 'Enter');
  }
  const add = (number, paths) => page.locator('#classes input').nth(number).setInputFiles(paths);
  writeFileSync(join(folder, 'no photo.png'), 'this is text');
  await add(0, [...files('train', 'cat').slice(0, 3), join(folder, 'no photo.png')]);
  await says(page, 'error', /no photo\.png: .*not a readable image/);
  await page.waitForFunction(() => document.querySelector('#classes .soft').textContent === '3 photos');
  await page.click('#dismiss');
  // A class without photos.
  await page.click('#learn');
  await says(page, 'error', /the class two has no photo/);
  await page.click('#dismiss');
  // One photo of two classes.
  await add(1, files('train', 'cat').slice(0, 1));
  await says(page, 'lesson-status', /^Not learned\.$|^$/);
  await page.click('#learn');
  await says(page, 'error', /cat 0\.png\) and example 3 \(cat 0\.png\) are one photo of two classes, one and two: remove one/);
  await page.click('#dismiss');
  await page.locator('#classes .thumbnail').nth(3).click();
  await page.locator('#classes button', { hasText: 'Camera' }).nth(1).click();
  await page.click('#take');
  await page.waitForFunction(() => document.querySelectorAll('#classes > li')[1].querySelector('.soft').textContent === '10 photos');
  await says(page, 'lesson-status', /^$/);
  await page.selectOption('#method', 'neighbours', { force: true });
  await page.click('#learn');
  await says(page, 'lesson-status', /^Learned\./);
  assert.match(await page.textContent('#accuracy'), /^Each photo was classified by the others: 1\d of 1\d are right/);
  assert.deepEqual(demo.complaints, []);
  await context.close();
});

test('the package learns, and a model with what it learned answers as one that was loaded with it', async () => {
  const page = await packagePage(browser, url);
  const result = await page.evaluate(async () => {
    globalThis.photo = (part, label, index) => `/photos/${part}/${label}/${label} ${index}.png`;
    const labels = ['cat', 'drink', 'place'];
    globalThis.examples = labels.flatMap((label) => [0, 1, 2, 3].map((index) => ({ label, image: photo('train', label, index) })));
    globalThis.other = photo('others', 'drink', 0);
    globalThis.model = await Xception.load({ weights, backend: 'cpu' });
    const phases = new Set();
    globalThis.head = await model.learn([...examples, { label: 'cat', image: '/empty' }, examples[0]], { onProgress: ({ phase }) => phases.add(phase) });
    const mine = await model.withHead(head);
    const loaded = await Xception.load({ weights, backend: 'cpu', head: head.save() });
    const answer = async (model) => {
      const map = await model.explain(other, { classIndex: 0 });
      const { predictions } = await model.classifyBatch([other, photo('others', 'cat', 1), other]);
      const one = await model.classify(other, { topK: 2, allow: ['cat', 'drink'], roi: { x: 0, y: 0, width: 80, height: 80 } });
      const scores = [...predictions, one.predictions].map((photo) => photo.map(({ label, score }) => [label, score]));
      return { scores, predict: [...(await model.predict(other))], map: [...map.values], region: map.region, label: map.prediction.label, exact: map.exact };
    };
    const features = await model.embed(other);
    const batch = await model.embedBatch([other, examples[0].image, examples[5].image], { batchSize: 2 });
    const { report } = head;
    const answers = {
      labels: head.labels,
      report: { photos: report.photos, leftOut: report.leftOut.map(({ index }) => index), wrong: report.heldOut.wrong.length, curve: report.curve.length > 3 },
      phases: [...phases],
      mine: await answer(mine),
      loaded: await answer(loaded),
      info: [mine.info.classes, mine.info.output, mine.info.labels.length],
      sum: [...(await head.predict(features))].reduce((sum, score) => sum + score, 0),
      batch: batch.map(({ length }) => length),
      same: String(batch[0]) === String(features),
      whole: (await Xception.load({ weights: await mine.save(), backend: 'cpu' })).info.labels,
    };
    await mine.dispose();
    answers.stays = (await model.classify(other)).predictions.length;
    return answers;
  });
  assert.deepEqual(result.labels, ['cat', 'drink', 'place']);
  assert.deepEqual(result.report, { photos: [4, 4, 4], leftOut: [12, 13], wrong: 0, curve: true });
  assert.deepEqual([result.phases, result.info, result.whole, result.stays], [['features', 'learn'], [3, 'softmax', 3], result.labels, 5]);
  assert.ok(Math.abs(result.sum - 1) < 1e-5 && result.same, `${result.sum}`);
  assert.deepEqual(result.batch, [2048, 2048, 2048]);
  const { mine, loaded } = result;
  assert.deepEqual([mine.label, mine.exact, mine.scores[0][0][0], mine.scores[1][0][0]], ['cat', true, 'drink', 'cat']);
  assert.deepEqual([loaded.label, loaded.exact, mine.region], ['cat', true, loaded.region]);
  const numbers = ({ scores, predict, map }) => [...scores.flat(2).filter(Number.isFinite), ...predict, ...map];
  const expected = numbers(loaded);
  assert.equal(numbers(mine).length, expected.length);
  for (const [index, value] of numbers(mine).entries()) {
    assert.ok(Math.abs(value - expected[index]) < 1e-5 + 1e-4 * Math.abs(expected[index]), `value ${index}: ${value}, loaded ${expected[index]}`);
  }

  // The same model of neighbours, on the GPU, and what is refused.
  const { gpu, near, votes, refused } = await page.evaluate(async () => {
    const few = examples.slice(0, 8).map(({ label, image }) => ({ label, image }));
    const near = await model.learn(few, { method: 'neighbours', neighbours: 3, flip: true });
    const again = await model.withHead(await near.save().arrayBuffer());
    const refused = {
      one: model.learn(examples.slice(0, 4)),
      none: model.learn([]),
      form: model.learn([1]),
      unnamed: model.learn([{ image: other }]),
      penalty: model.learn(examples, { penalty: 0 }),
      many: model.learn(few, { method: 'neighbours', neighbours: 99 }),
      twice: model.learn([...few, { label: 'drink', image: few[0].image }]),
      short: model.learn([
        { label: 'a', features: [1] },
        { label: 'b', features: [1, 2] },
      ]),
      nothing: model.withHead(),
      neighbours: Xception.load({ weights, backend: 'cpu', head: near.save() }),
      explain: again.explain(other),
      aborted: model.learn(examples, { signal: AbortSignal.abort() }),
      damaged: model.withHead(new Blob(['no head'])),
    };
    const stopped = new AbortController();
    refused.later = model.learn(examples, { signal: stopped.signal, onProgress: ({ done }) => done && stopped.abort() });
    for (const name in refused) refused[name] = await refusal(refused[name]);
    const onGPU = await Xception.load({ weights, backend: 'webgpu', warmup: false });
    const [mine, shares] = [await onGPU.withHead(head), [...(await again.predict(other))]];
    const { predictions } = await mine.classifyBatch([other, photo('others', 'cat', 1)]);
    const map = await mine.explain(other, { classIndex: 0 });
    const gpu = { scores: predictions.flat().map(({ score }) => score), map: [...map.values] };
    await onGPU.dispose();
    refused.disposed = await refusal(mine.classify(other));
    return { gpu, near: shares, votes: near.report.heldOut.photos, refused };
  });
  assert.deepEqual([votes, near.reduce((sum, share) => sum + share), near[1] > 0.5], [8, 1, true]);
  for (const [found, expected] of [
    [gpu.scores, mine.scores.slice(0, 2).flatMap((photo) => photo.map(([, score]) => score))],
    [gpu.map, mine.map],
  ]) {
    for (const [index, value] of found.entries())
      assert.ok(Math.abs(value - expected[index]) < 1e-3 + 1e-3 * Math.abs(expected[index]), `${value}, on the CPU ${expected[index]}`);
  }
  const { aborted, later, damaged, disposed, ...bad } = refused;
  assert.deepEqual([aborted, later, damaged, disposed], ['aborted', 'aborted', 'bad-weights', 'disposed']);
  for (const [what, code] of Object.entries(bad)) assert.equal(code, 'bad-argument', what);
  await page.close();
});

test('weights without a head are taught on the mean of their last activation', async () => {
  writeFileSync(join(folder, 'notop.h5'), decompress(readFileSync('tests/data/notop.h5.zst')));
  const page = await packagePage(browser, url);
  const [mine, loaded, length, again] = await page.evaluate(async () => {
    const options = { weights: '/photos/notop.h5', inputSize: 71, backend: 'cpu' };
    const model = await Xception.load(options);
    const examples = ['cat', 'drink'].flatMap((label) => [0, 1, 2].map((index) => ({ label, image: `/photos/train/${label}/${label} ${index}.png` })));
    const head = await model.learn(examples);
    const other = '/photos/others/cat/cat 0.png';
    const mine = await model.withHead(head);
    const loaded = await Xception.load({ ...options, head: head.save() });
    const answers = await Promise.all([mine, loaded].map(async (model) => [...(await model.predict(other)), ...(await model.explain(other)).values]));
    // Features are those of the mean also for what is learned on top of that.
    return [...answers, (await mine.embed(other)).length, (await mine.learn(examples)).labels];
  });
  assert.deepEqual([mine.length, length, again], [2 + 9, 2048, ['cat', 'drink']]);
  const largest = Math.max(...loaded.map(Math.abs));
  for (const [index, value] of mine.entries()) assert.ok(Math.abs(value - loaded[index]) < 1e-4 * largest, `${value}, loaded ${loaded[index]}`);
  await page.close();
});
