// Photos by the camera, one after the other, for a class that is taught.
import { $ } from './dom.js';

const COUNT = 10;
/** Milliseconds between photos. */
const APART = 200;

export class Camera {
  /** Shows the camera's picture in `place`; resolves with photos, `{ blob, name }`, when ten are taken, or with none when it is closed. */
  async burst(label, place) {
    if (!navigator.mediaDevices) throw new Error('this page may not use a camera: it needs https, or localhost');
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
    const video = $('burst-video');
    const shot = new AbortController();
    try {
      const pressed = new Promise((resolve) => {
        const { signal } = shot;
        $('take').addEventListener('click', () => resolve(true), { signal });
        $('close-burst').addEventListener('click', () => resolve(false), { signal });
      });
      video.srcObject = stream;
      $('take').textContent = `Take ${COUNT} photos of ${label}`;
      place.hidden = false;
      $('take').focus();
      await video.play();
      const wanted = await pressed;
      const photos = [];
      while (wanted && photos.length < COUNT) {
        photos.push({ blob: await picture(video), name: `camera ${new Date().toISOString()}.jpg` });
        $('take').textContent = `${photos.length} of ${COUNT}…`;
        await new Promise((resolve) => setTimeout(resolve, APART));
      }
      return photos;
    } finally {
      shot.abort();
      for (const track of stream.getTracks()) track.stop();
      video.srcObject = null;
      place.hidden = true;
    }
  }
}

/** What the video shows now, as JPEG. */
function picture(video) {
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.95));
}
