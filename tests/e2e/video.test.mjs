// Videos and cameras, by the package.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAKE_CAMERA, packagePage } from './browser.mjs';
import { browser, serveAndLaunch, url } from './served.mjs';

await serveAndLaunch(...FAKE_CAMERA);

const open = () => packagePage(browser, url);

test('a camera is classified frame by frame, and no frame waits', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const model = await Xception.load({ weights, worker: true });
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240, frameRate: 20 } });
    const [track] = stream.getVideoTracks();
    const frames = [];
    for await (const { predictions, time } of model.video(track, { topK: 1, maxFps: 2 })) {
      frames.push({ at: performance.now(), time, label: predictions[0].label });
      if (frames.length === 3) break;
    }
    const aborter = new AbortController();
    let more = 0;
    for await (const frame of model.video(track, { signal: aborter.signal })) if (++more === 2) aborter.abort(frame);
    const video = document.createElement('video');
    const ended = model.video(track);
    const next = ended.next();
    await next;
    const last = ended.next();
    track.stop();
    track.dispatchEvent(new Event('ended'));
    const { done } = await last;
    const wrong = await refusal(model.video(video.src).next());
    return { frames, more, done, wrong };
  });
  const { frames } = result;
  assert.equal(frames.length, 3);
  assert.ok(frames[2].at - frames[0].at >= 800, 'twice a second is asked for');
  assert.ok(frames[1].time > frames[0].time && frames[2].time > frames[1].time);
  assert.deepEqual([result.more, result.done, result.wrong], [2, true, 'bad-argument']);
  await page.close();
});

test('a video that ends, breaks or is none settles', async () => {
  const page = await open();
  const result = await page.evaluate(async () => {
    const model = await Xception.load({ weights, backend: 'cpu' });
    const camera = async () => (await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240, frameRate: 20 } })).getVideoTracks()[0];
    const done = async (frames) => (await settled(frames.next())).done ?? 'unsettled';
    const stopped = await camera();
    stopped.stop();
    const result = { stopped: await done(model.video(stopped)) };
    const waiting = await camera();
    const few = model.video(waiting, { maxFps: 1e-9 });
    result.first = await done(few);
    const second = done(few);
    setTimeout(() => waiting.stop(), 100);
    result.second = await second;
    const busy = await camera();
    const many = model.video(busy);
    result.many = await done(many);
    busy.stop();
    result.over = await done(many);
    const video = Object.assign(document.createElement('video'), { src: '/none.mp4' });
    result.broken = await refusal(model.video(video).next());
    result.later = await refusal(model.video(video).next());
    const track = await camera();
    const wrong = [new Proxy(video, {}), new Proxy(track, {}), null, undefined, 7, 'x', Symbol('s'), {}, video.src];
    result.wrong = [];
    for (const source of wrong) result.wrong.push(await refusal(model.video(source).next()));
    for (const maxFps of [0, -1, NaN, '1', Symbol('s'), 1n, {}, () => 1]) result.wrong.push(await refusal(model.video(track, { maxFps }).next()));
    track.stop();
    return { ...result, after: (await model.classify(cup)).predictions[0].label, disposed: await refusal(model.dispose()) };
  });
  assert.deepEqual(result, {
    stopped: true,
    first: false,
    second: true,
    many: false,
    over: true,
    broken: 'decode',
    later: 'decode',
    wrong: Array(17).fill('bad-argument'),
    after: 'cup',
    disposed: 'none',
  });
  await page.close();
});
