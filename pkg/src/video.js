import { XceptionError } from './errors.js';

/** Frames of a video. A slow consumer gets the latest frame next and misses those between. */
export async function* frames(source, maxFps = Infinity, signal) {
  const { video, ended, release } = open(source);
  let last = -Infinity;
  try {
    while (!signal?.aborted && !ended()) {
      const time = await next(video, ended, last + 1000 / maxFps, signal);
      if (time === undefined) return;
      const [shown, frame] = [video.currentTime, await createImageBitmap(video).catch(() => undefined)];
      // Before a stream plays, it may have a frame that is not there yet.
      if (!frame) continue;
      last = time;
      try {
        yield { frame, time: shown };
      } finally {
        frame.close();
      }
    }
  } finally {
    release();
  }
}

/** Whether this is a `type` of the browser: a proxy of one throws where the real object's property is read. */
function is(type, property, source) {
  try {
    return source instanceof globalThis[type] && source[property] !== undefined;
  } catch {
    return false;
  }
}

/** A video element, also for a track of a camera. */
function open(source) {
  if (is('HTMLVideoElement', 'ended', source)) return { video: source, ended: () => source.ended || source.srcObject?.active === false, release() {} };
  if (!is('MediaStreamTrack', 'kind', source) || source.kind !== 'video') {
    throw new XceptionError('bad-argument', 'video takes a <video> element or a video track of a MediaStream');
  }
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([source]);
  const end = () => video.dispatchEvent(new Event('ended'));
  source.addEventListener('ended', end);
  // That of a track which ends before it begins is never settled.
  video.play().catch((error) => video.dispatchEvent(new ErrorEvent('error', { error })));
  return {
    video,
    ended: () => source.readyState === 'ended',
    release() {
      source.removeEventListener('ended', end);
      video.pause();
      video.srcObject = null;
    },
  };
}

/** When the video shows a new frame, not before `earliest`; undefined where there will be none. */
function next(video, ended, earliest, signal) {
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    const finish = (abortable, value) => {
      done.abort();
      clearInterval(timer);
      video.cancelVideoFrameCallback(request);
      abortable(value);
    };
    const shown = (now) => {
      if (now < earliest) request = video.requestVideoFrameCallback(shown);
      else finish(resolve, now);
    };
    const fail = ({ error }) => {
      const cause = error ?? video.error;
      finish(reject, new XceptionError('decode', `the video cannot be played: ${cause.message}`, { cause }));
    };
    let request = video.requestVideoFrameCallback(shown);
    // A track that its page stops has no event.
    const timer = setInterval(() => ended() && finish(resolve), 500);
    const listen = (target, type, listener) => target?.addEventListener(type, listener, { signal: done.signal });
    for (const [target, type] of [
      [video, 'ended'],
      [video, 'emptied'],
      [signal, 'abort'],
    ])
      listen(target, type, () => finish(resolve));
    listen(video, 'error', fail);
    if (video.error) fail(video);
  });
}
