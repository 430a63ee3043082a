// npm run soak losses [count] [seed]: ends Chromium's GPU process again and again, each time in the middle of something else, with two models
// on one page; fails unless each call is answered or rejects as a loss does, both models come back, and nothing is left when they are disposed of.
import { launch, packagePage } from '../tests/e2e/browser.mjs';
import { track } from '../tests/e2e/tracked.mjs';
import { serve } from './serve.mjs';
import { stop } from './shell.mjs';

/** In the page: `lose(index)` is a loss; resolves with what was under way, how that ended, and the milliseconds until both models answered. */
async function prepare(seed) {
  globalThis.unhandled = [];
  addEventListener('unhandledrejection', ({ reason }) => unhandled.push(String(reason)));
  // A third loss within a minute would end on the CPU.
  const { now } = Performance.prototype;
  let minutes = 0;
  performance.now = () => now.call(performance) + 61_000 * minutes;
  const random = () => {
    seed = (Math.imul(seed, 48271) >>> 0) % 0x7fffffff;
    return seed / 0x7fffffff;
  };
  globalThis.events = { devicelost: 0, restored: 0 };
  const load = async (worker) => {
    const model = await Xception.load({ weights, backend: 'webgpu', inputSize: 71, worker });
    for (const type of Object.keys(events)) model.addEventListener(type, () => events[type]++);
    return model;
  };
  const models = [await load(false), await load(true)];
  const any = () => models[Math.floor(2 * random())];
  const best = async (model) => (await model.classify(cup)).predictions[0].label;
  const bitmap = await createImageBitmap(await (await fetch(cup)).blob());
  const canvas = document.createElement('canvas');
  const draw = () => canvas.getContext('2d', { willReadFrequently: true }).drawImage(bitmap, 0, 0, 300, 150);
  const activities = {
    load: async () => {
      const model = await load(random() < 0.5);
      const label = await best(model);
      await model.dispose();
      return label;
    },
    classify: async () => (await Promise.all(models.flatMap((model) => Array.from({ length: 4 }, () => best(model))))).join(' '),
    batch: async () => {
      const { predictions } = await any().classifyBatch(Array(5).fill(cup), { batchSize: 2 });
      return predictions.map(([{ label }]) => label).join(' ');
    },
    video: async () => {
      draw();
      const timer = setInterval(draw, 100);
      const labels = [];
      for await (const { predictions } of any().video(canvas.captureStream(10).getVideoTracks()[0])) {
        if (labels.push(predictions[0].label) === 3) break;
      }
      clearInterval(timer);
      return labels.join(' ');
    },
    profile: async () => {
      const model = any();
      const { passes } = await model.profile(cup, { runs: 1 });
      return passes.length > 30 ? best(model) : `${passes.length} passes`;
    },
    dispose: async () => {
      const which = Math.floor(2 * random());
      const last = best(models[which]).catch(({ code }) => code);
      await models[which].dispose();
      const label = await last;
      models[which] = await load(which === 1);
      return label;
    },
  };
  const names = Object.keys(activities);
  globalThis.lose = async (index) => {
    minutes++;
    const activity = names[index % names.length];
    const under = activities[activity]().catch(({ code }) => code);
    await new Promise((resolve) => setTimeout(resolve, 500 * random()));
    await crash();
    const start = now.call(performance);
    const ended = await under;
    const answers = await Promise.all(models.map(best));
    return { activity, ended, answers, backends: models.map(({ info }) => info.backend), ms: Math.round(now.call(performance) - start) };
  };
  globalThis.end = () => Promise.all(models.map((model) => model.dispose()));
  return best(models[0]);
}

export async function losses(count = 20, seed = 1) {
  const { server, url } = await serve(0);
  // After a GPU process ended, Chromium may keep WebGPU from the site that was there; after a few, from all.
  const browser = await launch('--disable-domain-blocking-for-3d-apis', '--disable-gpu-process-crash-limit');
  try {
    const page = await packagePage(browser, url);
    const session = await browser.newBrowserCDPSession();
    await page.exposeFunction('crash', () => session.send('Browser.crashGpuProcess'));
    await page.evaluate(track);
    const expected = await page.evaluate(prepare, seed);
    for (let index = 0; index < count; index++) {
      const loss = await page.evaluate((index) => lose(index), index);
      console.log(JSON.stringify({ loss: index + 1, ...loss }));
      const labels = [loss.answers, loss.ended.split(' ')].flat();
      // A model that is disposed of while its GPU is gone answers no more.
      const wrong = labels.filter((label) => label !== expected && !(loss.activity === 'dispose' && ['disposed', 'device-lost'].includes(label)));
      if (wrong.length > 0 || loss.backends.join() !== 'webgpu,webgpu') stop(`Loss ${index + 1} ended in ${wrong} on ${loss.backends}`);
    }
    await page.evaluate(() => end());
    const [unhandled, events, left] = await page.evaluate(() => [unhandled, events, held()]);
    console.log(`${count} ends of the GPU process, seed ${seed}: ${JSON.stringify({ events, left })}`);
    if (unhandled.length > 0) stop(`Rejections that nobody handled: ${unhandled}`);
    if (left.gpu > 0 || left.workers > 0) stop(`Left behind: ${JSON.stringify(left)}`);
  } finally {
    await browser.close();
    server.close();
  }
}
