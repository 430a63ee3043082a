// The camera's picture, answered frame by frame.
import { answer, ROWS } from './answer.js';
import { $ } from './dom.js';

let camera;

/** The answers to a video's frames, as `answer` gives them. */
async function* answers(model, video, signal) {
  const { classes, output } = model.info;
  if (classes) {
    for await (const frame of model.video(video, { topK: ROWS, signal })) yield { output, ...frame };
    return;
  }
  while (!signal.aborted) {
    yield answer(model, video, { signal });
    await new Promise(requestAnimationFrame);
  }
}

/** Opens the camera. `tell` receives each answer and the number of answers per second. */
export async function startCamera(model, tell) {
  if (!navigator.mediaDevices) throw new Error('this page may not use a camera: it needs https, or localhost');
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
  const abort = new AbortController();
  camera = { stream, abort };
  const video = $('video');
  video.srcObject = stream;
  video.hidden = false;
  $('photo').hidden = true;
  $('frame').hidden = false;
  $('invite').hidden = true;
  $('camera').setAttribute('aria-pressed', 'true');
  await video.play();
  let last = performance.now();
  let interval;
  for await (const answer of answers(model, video, abort.signal)) {
    if (abort.signal.aborted) return;
    const now = performance.now();
    interval = interval === undefined ? now - last : 0.8 * interval + 0.2 * (now - last);
    last = now;
    tell(answer, 1000 / interval);
  }
}

/** Stops the camera; false if it was not on. */
export function stopCamera() {
  if (!camera) return false;
  camera.abort.abort();
  for (const track of camera.stream.getTracks()) track.stop();
  camera = undefined;
  const video = $('video');
  video.srcObject = null;
  video.hidden = true;
  $('photo').hidden = false;
  $('frame').hidden = true;
  $('invite').hidden = false;
  $('camera').setAttribute('aria-pressed', 'false');
  return true;
}
