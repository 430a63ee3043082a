// Error messages of the page, where it knows more than the package's own sentence.

const BROWSERS = 'Chrome and Edge have it since 113, Safari since 26, Firefox since 141 on Windows';
const ENABLE = 'on Linux it may have to be enabled (chrome://flags/#enable-unsafe-webgpu, or dom.webgpu.enabled in Firefox)';

const NO_WEBGPU = {
  text: `${BROWSERS}; ${ENABLE}. It also needs https, or localhost.`,
  link: ['Which browsers can', 'https://caniuse.com/webgpu'],
};
const NO_ADAPTER = {
  text: 'In Chrome the switch is under Settings, System.',
  link: ['What the browser finds (Chrome)', 'https://webgpureport.org/'],
};

/** Advice for a model that is on the CPU because there is no GPU. */
export function hint() {
  const { text, link } = navigator.gpu ? NO_ADAPTER : NO_WEBGPU;
  const how = navigator.gpu ? 'with hardware acceleration switched on.' : 'in a browser with WebGPU:';
  return { text: `On a GPU it would be faster, ${how} ${text}`, link };
}

/** A sentence for an error about `name`, and where to read more. */
export function words({ code, message }, name) {
  const subject = `${name}: `;
  if (code === 'no-webgpu') return { text: `${subject}this browser has no WebGPU: ${NO_WEBGPU.text}`, link: NO_WEBGPU.link };
  if (code === 'no-adapter') return { text: `${subject}${message}. ${NO_ADAPTER.text}`, link: NO_ADAPTER.link };
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
