// Profiling: each pass timed, and inferences as rows of the browser's performance panel.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { emptyPage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

/** The smallest input, for tests that time each pass many times. */
const SMALL = { inputSize: 71 };

await serveAndLaunch();

let page;
before(async () => {
  page = await emptyPage(browser, url);
});

/** Loads a model on the page, or in a worker, and gives what `body` returns of it. */
const evaluate = (body, options) =>
  page.evaluate(
    async ([source, options]) => {
      const { Xception } = await import('/pkg/dist/index.js');
      const model = await Xception.load({ weights: '/models/kitchenware.safetensors', backend: 'webgpu', ...options });
      try {
        return await new Function('model', 'photo', `return (${source})(model, photo)`)(model, '/models/kitchenware/photos/0009.jpg');
      } finally {
        await model.dispose();
      }
    },
    [String(body), options],
  );

test('the one pass of another filter is not taken for two', async () => {
  const { passes, kernels } = await evaluate(
    async (model, photo) => {
      const { passes } = await model.profile(photo, { runs: 1 });
      return { passes: passes.map(({ label, minMs }) => [label, minMs > 0]), kernels: [passes[0].kernel, passes.at(-1).kernel] };
    },
    { ...SMALL, filter: 'tf-bilinear' },
  );
  assert.deepEqual(
    passes.filter(([, isTimed]) => !isTimed),
    [],
  );
  assert.deepEqual(kernels, ['conv', 'softmax_topk']);
});

for (const worker of [false, true]) {
  test(`each pass is timed, ${worker ? 'in a worker' : 'on the page'}, and photos are answered as before`, async (context) => {
    const { before, profile, after, refused } = await evaluate(
      async (model, photo) => {
        const before = await model.classify(photo);
        const profile = await model.profile(photo, { runs: 3 });
        const after = await model.classify(photo);
        return { before, profile, after, refused: await model.profile(photo, { runs: 0 }).catch(({ code }) => code) };
      },
      { ...SMALL, worker },
    );
    const { clock, passes, wholeMs, repeats, ceiling, runs, totals } = profile;
    const sum = passes.reduce((total, { ms }) => total + ms, 0);
    context.diagnostic(`by ${clock}, up to ${repeats} repeats: ${sum.toFixed(0)} ms as a sum, ${wholeMs.toFixed(0)} ms as a whole`);
    assert.deepEqual([passes.length, runs, refused], [78, 3, 'bad-argument']);
    assert.ok(ceiling.flops > 0 && ceiling.bytes > 0);
    for (const pass of passes) assert.ok(pass.ms >= pass.minMs && pass.minMs > 0 && pass.gbps > 0 && pass.roofline > 0, JSON.stringify(pass));
    const { label, block, flow, kernel, shape, dtype, grid } = passes[0];
    assert.deepEqual([label, block, flow, kernel, shape, dtype, grid], ['block1_conv1', 'block1', 'entry', 'conv', [35, 35, 32], 'f32', [1, 20, 1]]);
    assert.deepEqual(
      Object.entries(totals.flow).map(([name, { passes }]) => [name, passes]),
      [
        ['entry', 17],
        ['middle', 48],
        ['exit', 13],
      ],
    );
    assert.deepEqual([totals.block.block5.passes, totals.block.head.passes, totals.kernel.depthwise.passes], [6, 4, 34]);
    assert.ok(Math.abs(totals.flow.entry.ms + totals.flow.middle.ms + totals.flow.exit.ms - sum) < 1e-6);
    assert.ok(Math.abs(passes.reduce((total, { share }) => total + share, 0) - 1) < 1e-9);
    const least = passes.reduce((total, { minMs }) => total + minMs, 0);
    // Other programs may disturb either measurement: the bound only shows that both are of the same work.
    assert.ok(least / wholeMs > 0.1 && least / wholeMs < 10, `${least} of ${wholeMs} ms`);
    assert.deepEqual(after.predictions, before.predictions);
  });
}

test("without timestamps the browser's clock measures repeats", async () => {
  const profile = await evaluate((model, photo) => {
    const { get } = Object.getOwnPropertyDescriptor(GPUDevice.prototype, 'features');
    Object.defineProperty(GPUDevice.prototype, 'features', { get: () => new Set(), configurable: true });
    return model.profile(photo, { runs: 1 }).finally(() => Object.defineProperty(GPUDevice.prototype, 'features', { get, configurable: true }));
  }, SMALL);
  const { clock, passes, repeats, wholeMs } = profile;
  assert.equal(clock, 'clock');
  assert.ok(repeats > 1, 'short passes are repeated');
  const sum = passes.reduce((total, { ms }) => total + ms, 0);
  assert.ok(sum > wholeMs / 10 && sum < wholeMs * 10, `${sum} of ${wholeMs} ms`);
});

test('where timestamps move in steps, passes are repeated until a step is small', async () => {
  const step = 4e5;
  const { profile, groups } = await evaluate(async (model, photo) => {
    const { getMappedRange } = GPUBuffer.prototype;
    // Timestamps quantised as in Chrome, but more coarsely: to 0.4 ms.
    GPUBuffer.prototype.getMappedRange = function (...args) {
      const range = getMappedRange.apply(this, args);
      if (this.label !== 'timestamps, staged') return range;
      return BigUint64Array.from(new BigUint64Array(range), (stamp) => stamp - (stamp % 400000n)).buffer;
    };
    const groups = new Set();
    const { pushDebugGroup } = GPUComputePassEncoder.prototype;
    GPUComputePassEncoder.prototype.pushDebugGroup = function (label) {
      groups.add(label);
      return pushDebugGroup.call(this, label);
    };
    const profile = await model.profile(photo, { runs: 1 }).finally(() => (GPUBuffer.prototype.getMappedRange = getMappedRange));
    GPUComputePassEncoder.prototype.pushDebugGroup = pushDebugGroup;
    return { profile, groups: [...groups] };
  }, SMALL);
  const { clock, repeats, passes } = profile;
  assert.deepEqual([clock, groups.length, groups.includes('block5_sepconv1.pointwise')], ['timestamps', 80, true]);
  // A single pass of 0.2 ms would read 0 or 0.4.
  assert.ok(repeats > 16, `${repeats}`);
  for (const { label, ms } of passes) assert.ok(ms > 0 && ms * repeats * 1e6 >= step / 0.02, `${label}: ${ms} ms`);
});

test('an inference is rows of the performance panel, only where that is asked for', async () => {
  const entries = (model, photo) =>
    model.classify(photo).then(({ predictions }) => ({
      label: predictions[0].label,
      entries: performance.getEntriesByType('measure').map(({ name, startTime, duration, detail }) => ({ name, startTime, duration, ...detail.devtools })),
    }));
  const none = await evaluate(entries, SMALL);
  assert.deepEqual([none.label, none.entries], ['cup', []]);
  await browser.startTracing(page, { categories: ['blink.user_timing'] });
  const some = await evaluate(entries, { ...SMALL, profile: true });
  // What the panel records: each pass's begin event names its track.
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  const begins = traceEvents.filter(({ ph, args }) => ph === 'b' && args?.detail?.includes('"track":"Xception GPU"'));
  assert.deepEqual([begins.length, begins[2].name], [80, 'block1_conv1']);
  assert.equal(some.label, 'cup');
  const track = (name) => some.entries.filter((entry) => entry.track === name);
  assert.deepEqual(
    track('Xception').map(({ name }) => name),
    ['decode', 'upload', 'read-back'],
  );
  const passes = track('Xception GPU');
  assert.equal(passes.length, 80);
  assert.deepEqual(
    passes.slice(0, 3).map(({ name }) => name),
    ['resize_horizontal', 'resize_vertical', 'block1_conv1'],
  );
  for (const [i, { startTime, duration, dataType, color }] of passes.entries()) {
    assert.ok(dataType === 'track-entry' && color && duration >= 0 && (i === 0 || startTime >= passes[i - 1].startTime), `${i}`);
  }
  const properties = Object.fromEntries(passes[2].properties);
  assert.deepEqual([properties.Shader, properties.Shape, properties.Workgroups], ['conv.wgsl', '35×35×32', '1×20×1']);
});
