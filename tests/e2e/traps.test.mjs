// Traps of compiled code: one of ours rejects the pending calls, another script's leaves them alone.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { packagePage } from './browser.mjs';
import { browser, serveAndLaunch, server, url } from './served.mjs';

/** `(module (func (export "trap") unreachable))` */
const foreign = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11];

/** Traps repeatedly, uncaught, until stopped. */
const helpers = `
  globalThis.foreignTrap = async () => {
    const modules = [
      await WebAssembly.instantiate(new Uint8Array([${foreign}])),
      await WebAssembly.instantiateStreaming(fetch('/foreign.wasm')),
    ];
    const [bytes, stream] = modules.map(({ instance }) => instance.exports.trap);
    const timer = setInterval(() => {
      queueMicrotask(bytes);
      void Promise.resolve().then(stream);
      stream();
    }, 5);
    return () => clearInterval(timer);
  };
  globalThis.memories = [];
  const { instantiateStreaming } = WebAssembly;
  WebAssembly.instantiateStreaming = async (...args) => {
    const result = await instantiateStreaming.apply(WebAssembly, args);
    if (result.instance.exports.memory) memories.push(result.instance.exports.memory);
    return result;
  };
  /** Uses up the memory that the compiled code may still grow by. */
  globalThis.fill = () => {
    for (const memory of memories) {
      for (let pages = 65536; pages >= 1; ) {
        try {
          memory.grow(pages);
        } catch {
          pages >>= 1;
        }
      }
    }
  };
  /** Makes the browser throw in a continuation of the compiled code that has no caller. */
  globalThis.refuse = () => {
    const { unmap } = GPUBuffer.prototype;
    GPUBuffer.prototype.unmap = () => {
      throw new TypeError('not now');
    };
    return () => (GPUBuffer.prototype.unmap = unmap);
  };`;

const scripts = {
  '/own/helpers.js': helpers,
  '/own/worker.js': `import './helpers.js'; import '/pkg/dist/worker.js';
    addEventListener('message', async ({ data }) => {
      if (data === 'trap') globalThis.stop = await foreignTrap();
      if (data === 'stop') stop();
      if (data === 'fill') fill();
      if (data === 'refuse') refuse();
    });`,
};

await serveAndLaunch();

before(async () => {
  const [serveFile] = server.listeners('request');
  server.removeAllListeners('request');
  server.on('request', (request, response) => {
    const script = scripts[request.url];
    if (script) return response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    if (request.url === '/foreign.wasm') return response.writeHead(200, { 'content-type': 'application/wasm' }).end(Buffer.from(foreign));
    serveFile(request, response);
  });
});

async function open() {
  const page = await packagePage(browser, url);
  await page.evaluate(async () => {
    await import('/own/helpers.js');
    globalThis.ownWorker = () => new Worker('/own/worker.js', { type: 'module' });
    globalThis.label = async (model) => (await model.classify(cup)).predictions[0].label;
    globalThis.defect = (promise) =>
      settled(
        promise.then(
          () => 'none',
          ({ code, message }) => `${code}: ${message}`,
        ),
      );
  });
  return page;
}

for (const backend of ['cpu', 'webgpu']) {
  test(`a trap of somebody else harms no call: ${backend}`, async () => {
    const page = await open();
    const results = await page.evaluate(async (backend) => {
      const results = {};
      for (const place of ['on the page', 'in a worker']) {
        const worker = place === 'in a worker' ? ownWorker() : undefined;
        const model = await Xception.load({ weights, backend, inputSize: 71, warmup: false, worker: worker ?? false });
        let traps = 0;
        const target = worker ?? globalThis;
        target.addEventListener('error', (event) => {
          traps++;
          event.preventDefault();
        });
        const stop = worker ? () => worker.postMessage('stop') : await foreignTrap();
        worker?.postMessage('trap');
        const answers = [];
        do answers.push(await settled(label(model).catch((error) => String(error))));
        while (answers.length < 3 || traps < 3);
        stop();
        results[place] = { answers: [...new Set(answers)], after: await settled(label(model)), disposed: await refusal(model.dispose()) };
      }
      return results;
    }, backend);
    const fine = { answers: ['cup'], after: 'cup', disposed: 'none' };
    assert.deepEqual(results, { 'on the page': fine, 'in a worker': fine });
    await page.close();
  });

  test(`memory that cannot grow rejects the calls that wait: ${backend}`, async () => {
    const page = await open();
    const results = await page.evaluate(async (backend) => {
      const results = {};
      for (const place of ['on the page', 'in a worker']) {
        const worker = place === 'in a worker' ? ownWorker() : undefined;
        const model = await Xception.load({ weights, backend, inputSize: 71, warmup: false, worker: worker ?? false });
        const before = await label(model);
        fill();
        worker?.postMessage('fill');
        const pixels = { data: new Uint8Array(4 * 4000 * 3000), width: 4000, height: 3000 };
        results[place] = [before, await defect(model.classify(pixels)), await refusal(model.classify(cup)), await refusal(model.dispose())];
      }
      return results;
    }, backend);
    for (const [place, [before, full, after, disposed]] of Object.entries(results)) {
      assert.deepEqual([before, after, disposed], ['cup', 'disposed', 'none'], place);
      assert.match(full, /^internal: a defect of xception-webgpu, please report it: ./, place);
    }
    await page.close();
  });
}

test('what the browser throws into compiled code that nobody called rejects the calls that wait', async () => {
  const page = await open();
  const results = await page.evaluate(async () => {
    const results = {};
    for (const place of ['on the page', 'in a worker']) {
      const worker = place === 'in a worker' ? ownWorker() : undefined;
      const model = await Xception.load({ weights, backend: 'webgpu', inputSize: 71, warmup: false, worker: worker ?? false });
      const before = await label(model);
      worker?.postMessage('refuse');
      const allow = worker ? () => {} : refuse();
      results[place] = [before, await defect(model.classify(cup)), await refusal(model.classify(cup)), await refusal(model.dispose())];
      allow();
    }
    const another = await Xception.load({ weights, backend: 'webgpu', inputSize: 71 });
    return { ...results, another: await label(another) };
  });
  const { another, ...places } = results;
  assert.equal(another, 'cup');
  for (const [place, [before, thrown, after, disposed]] of Object.entries(places)) {
    assert.deepEqual([before, after, disposed], ['cup', 'disposed', 'none'], place);
    assert.match(thrown, /^internal: a defect of xception-webgpu, please report it: not now/, place);
  }
  await page.close();
});
