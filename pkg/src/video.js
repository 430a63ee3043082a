import { XceptionError } from './errors.js';

/** Frames of a video as they come: whoever is busy meanwhile gets the latest one next, and misses those between. */
export async function* frames(source, maxFps = Infinity, signal) {
  if (!(maxFps > 0)) throw new XceptionError('bad-argument', 'maxFps must be more than 0');
  const { video, release } = await open(source);
  let last = -Infinity;
  try {
    while (!signal?.aborted && !video.ended) {
      const time = await next(video, last + 1000 / maxFps, signal);
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

/** A video element, also for a track of a camera. */
async function open(source) {
  if (globalThis.HTMLVideoElement && source instanceof HTMLVideoElement) return { video: source, release() {} };
  if (!(globalThis.MediaStreamTrack && source instanceof MediaStreamTrack && source.kind === 'video')) {
    throw new XceptionError('bad-argument', 'video takes a <video> element or a video track of a MediaStream');
  }
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([source]);
  const ended = () => video.dispatchEvent(new Event('ended'));
  source.addEventListener('ended', ended);
  await video.play();
  return {
    video,
    release() {
      source.removeEventListener('ended', ended);
      video.pause();
      video.srcObject = null;
    },
  };
}

/** When the video shows a new frame, not before `earliest`; undefined where there will be none. */
function next(video, earliest, signal) {
  return new Promise((resolve) => {
    const done = new AbortController();
    const finish = (time) => {
      done.abort();
      video.cancelVideoFrameCallback(request);
      resolve(time);
    };
    const shown = (now) => {
      if (now < earliest) request = video.requestVideoFrameCallback(shown);
      else finish(now);
    };
    let request = video.requestVideoFrameCallback(shown);
    for (const [target, type] of [[video, 'ended'], [video, 'emptied'], [signal, 'abort']]) {
      target?.addEventListener(type, () => finish(undefined), { signal: done.signal });
    }
  });
}
