// A worker supplied by the page: several models in it, beside the page's own messages; and workers that fail.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

/** Workers supplied by the page, by name. */
const scripts = {
  // It has its own messages, some similar to ours.
  busy: `import '/pkg/dist/worker.js';
    addEventListener('message', ({ data }) => {
      if (data !== 'chat') return;
      for (const message of [null, 7, 'chat', { progress: 1 }, { lost: 'me' }, { failed: 'me' }, { id: 0, value: 'junk' }, { id: 1, error: {} }]) {
        postMessage(message);
      }
    });`,
  throwing: `import '/pkg/dist/worker.js'; setTimeout(() => { throw new Error('not yours'); }, 300);`,
  broken: `throw new Error('at the start');`,
  other: `addEventListener('message', () => {});`,
};

await serveAndLaunch();

async function open() {
  const page = await packagePage(browser, url);
  await page.context().route('**/own/*.js', (route) => {
    const [, name] = /own\/(\w+)\.js/.exec(route.request().url());
    return scripts[name] ? route.fulfill({ contentType: 'text/javascript', body: scripts[name] }) : route.fulfill({ status: 404 });
  });
  await page.evaluate(() => {
    globalThis.ownWorker = (name) => new Worker(`/own/${name}.js`, { type: 'module' });
    globalThis.labels = ['spoon', 'plate', 'knife', 'glass', 'fork', 'cup'];
    globalThis.fork = '/models/kitchenware/photos/0412.jpg';
    globalThis.best = async (model, photo) => (await model.classify(photo)).predictions[0].label;
  });
  return page;
}

for (const backend of ['cpu', 'webgpu']) {
  test(`several models in one worker answer by themselves: ${backend}`, async () => {
    const page = await open();
    const result = await page.evaluate(async (backend) => {
      const worker = ownWorker('busy');
      const [errors, messages] = [[], []];
      worker.addEventListener('error', ({ message }) => errors.push(message));
      worker.addEventListener('message', ({ data }) => messages.push(data));
      const chatter = () =>
        ['chat', null, undefined, 7, {}, { id: 0 }, { id: 1, call: 'dispose', values: [] }, { xception: 7 }].forEach((message) => worker.postMessage(message));
      const inputSize = backend === 'webgpu' ? 71 : 150;
      const load = (options) => Xception.load({ weights, worker, backend, inputSize, warmup: false, ...options });
      const reversed = () => load({ labels });
      /** Alternating calls of both models. */
      const both = (first, second) => {
        chatter();
        const calls = [best(first, cup), best(second, cup), best(first, fork), best(second, fork)];
        const explained = [first, second].map(async (model) => (await model.explain(fork)).prediction.label);
        const counts = [first, second].map(async (model) => (await model.embed(cup)).length);
        return settled(Promise.all([...calls, ...explained, ...counts]));
      };
      chatter();
      const [first, second] = await settled(Promise.all([load(), reversed()]));
      const result = { together: await both(first, second) };
      const aborter = new AbortController();
      result.missing = await refusal(load({ weights: '/models/none.safetensors' }));
      result.aborted = await refusal(load({ cache: false, signal: aborter.signal, onProgress: () => aborter.abort() }));
      result.thrown = await refusal(
        load({
          onProgress: () => {
            throw new RangeError('enough');
          },
        }),
      );
      result.still = await both(first, second);
      if (backend === 'webgpu') {
        // Loading is slow on a software adapter: the CPU, whose model may share the worker, has the rest of the test.
        const third = await settled(load({ backend: 'cpu' }));
        result.third = await both(third, second);
        result.disposed = [await refusal(first.dispose()), ...(await both(third, second)), await refusal(second.dispose()), await settled(best(third, cup))];
        return { ...result, errors };
      }
      // A failed load must not disturb a load beside it either.
      const [third, failure] = await settled(Promise.all([load(), refusal(load({ weights: new Blob(['no weights']) }))]));
      result.failure = failure;
      result.disposed = [await refusal(first.dispose()), await refusal(first.classify(cup)), await refusal(first.dispose())];
      result.others = await both(third, second);
      result.later = [await refusal(second.dispose()), await settled(best(third, cup))];
      const waiting = best(third, fork);
      result.last = [await refusal(third.dispose()), await settled(waiting)];
      const [fourth, fifth] = await settled(Promise.all([load(), reversed()]));
      result.again = await both(fourth, fifth);
      result.both = await Promise.all([refusal(fifth.dispose()), refusal(fourth.dispose())]);
      chatter();
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { ...result, errors, lengths: messages.length % 8, messages: messages.length };
    }, backend);
    const answers = ['cup', 'spoon', 'fork', 'plate', 'fork', 'plate', 2048, 2048];
    const { messages, ...rest } = result;
    const common = { together: answers, missing: 'fetch', aborted: 'aborted', thrown: 'internal', still: answers, errors: [] };
    await page.close();
    if (backend === 'webgpu') return assert.deepEqual(rest, { ...common, third: answers, disposed: ['none', ...answers, 'none', 'cup'] });
    assert.deepEqual(rest, {
      ...common,
      failure: 'unsupported-format',
      disposed: ['none', 'disposed', 'none'],
      others: answers,
      later: ['none', 'cup'],
      last: ['none', 'fork'],
      again: answers,
      both: ['none', 'none'],
      lengths: 0,
    });
    assert.ok(messages >= 5 * 8, `the page's own listener got ${messages} messages, all of them its own`);
  });
}

test('disposing twice settles, wherever the model is', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const places = [{ worker: true }, { worker: false }, { worker: ownWorker('busy') }];
    const result = [];
    for (const place of places) {
      const model = await Xception.load({ weights, backend: 'cpu', warmup: false, ...place });
      const [one, two] = [model.dispose(), model.dispose()];
      result.push(await refusal(one), await refusal(two), await refusal(model.dispose()), await refusal(model.classify(cup)));
    }
    return result;
  });
  assert.deepEqual(result, Array(3).fill(['none', 'none', 'none', 'disposed']).flat());
  await page.close();
});

test("an error of somebody else in the worker is not the model's", async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const worker = ownWorker('throwing');
    const thrown = new Promise((resolve) => worker.addEventListener('error', ({ message }) => resolve(message)));
    const model = await Xception.load({ weights, backend: 'cpu', worker });
    let done = false;
    void thrown.then(() => (done = true));
    const answers = [];
    // Calls are under way when it comes.
    do answers.push(await settled(best(model, cup).catch(({ message }) => message)));
    while (!done);
    return { message: await thrown, answers: [...new Set(answers)], disposed: await refusal(model.dispose()) };
  });
  assert.match(result.message, /not yours/);
  assert.deepEqual([result.answers, result.disposed], [['cup'], 'none']);
  await page.close();
});

test('a worker that does not start, does not answer or is ended rejects, and nothing waits for it', async () => {
  const page = await open();
  await page.clock.install();
  await page.evaluate(() => {
    const load = (worker) => Xception.load({ weights, backend: 'cpu', worker }).catch(({ code, message }) => `${code}: ${message}`);
    const late = (name) =>
      new Promise((resolve) => {
        const worker = ownWorker(name);
        worker.addEventListener('error', () => resolve(load(worker)));
      });
    const loads = [load(ownWorker('broken')), load(ownWorker('missing')), late('broken'), late('missing'), load(ownWorker('other'))];
    globalThis.silent = Promise.all(loads).then((found) => (globalThis.found = found));
  });
  // An error before the listener is attached must not be lost.
  for (let found; !found; found = await page.evaluate(() => globalThis.found)) await page.clock.fastForward(10_000);
  const [broken, missing, ...silent] = await page.evaluate(() => silent);
  for (const message of [broken, missing]) assert.match(message, /^internal: the worker failed: |^bad-argument: the worker has not answered/);
  for (const message of silent) assert.match(message, /^bad-argument: the worker has not answered for 60 s: it must run xception-webgpu\/worker/);
  await page.close();

  const other = await open();
  const ended = await other.evaluate(async () => {
    const worker = ownWorker('busy');
    const [first, second] = await Promise.all([Xception.load({ weights, backend: 'cpu', worker }), Xception.load({ weights, backend: 'cpu', worker })]);
    const under = [first.classify(cup), first.embed(cup), second.classify(cup)].map(refusal);
    await new Promise((resolve) => setTimeout(resolve));
    worker.terminate();
    const codes = [...(await Promise.all(under)), await refusal(first.classify(cup)), await refusal(first.dispose()), await refusal(second.dispose())];
    const owned = await Xception.load({ weights, backend: 'cpu', worker: true });
    await owned.dispose();
    return [...codes, (await settled(listCached())) !== 'unsettled'];
  });
  assert.deepEqual(ended, ['internal', 'internal', 'internal', 'internal', 'none', 'none', true]);
  await other.close();
});
