// What the page says when something goes wrong, where it knows more than the package's own sentence.

const BROWSERS = 'Chrome and Edge have it since 113, Safari since 26, Firefox since 141 on Windows';
const ENABLE = 'on Linux it may have to be enabled (chrome://flags/#enable-unsafe-webgpu, or dom.webgpu.enabled in Firefox)';

/** A sentence for an error about `name`, and where to read more. */
export function words(error, name = '') {
  const { code, message } = error;
  const subject = name && `${name}: `;
  if (code === 'no-webgpu') {
    const link = ['Which browsers can', 'https://caniuse.com/webgpu'];
    return { text: `${subject}this browser has no WebGPU: ${BROWSERS}; ${ENABLE}. It also needs https, or localhost.`, link };
  }
  if (code === 'no-adapter') {
    const link = ['What the browser finds (Chrome)', 'https://webgpureport.org/'];
    return { text: `${subject}${message}. In Chrome the switch is under Settings, System.`, link };
  }
  if (code === 'fetch' && !navigator.onLine) {
    return { text: `${subject}you are offline, and this has not been kept from an earlier visit. Photos and weights of this device work.` };
  }
  if (code === 'decode' && /\.hei[cf]$/i.test(name)) {
    return { text: `${subject}this browser cannot decode HEIC (Safari can): save the photo as JPEG, or set the camera to "most compatible".` };
  }
  if (code === 'out-of-memory') {
    return { text: `${subject}${message}. Where a model is too large, f16 needs half of what f32 does.` };
  }
  return { text: subject + message };
}

/** Why the camera does not open. */
export function cameraWords({ name, message }) {
  if (name === 'NotAllowedError') return 'the camera was refused: allow it in the address bar';
  if (name === 'NotFoundError') return 'there is no camera here';
  if (name === 'NotReadableError') return 'another program uses the camera';
  return message;
}
