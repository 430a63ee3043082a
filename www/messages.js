// The page's own error messages, where it knows more than the package.

const BROWSERS = 'Chrome and Edge have it since 113, Safari since 26, Firefox since 141 on Windows';
const ENABLE = 'on Linux it may have to be enabled (chrome://flags/#enable-unsafe-webgpu, or dom.webgpu.enabled in Firefox)';

const NO_WEBGPU = {
  text: `${BROWSERS}; ${ENABLE}. It also needs https, or localhost.`,
  link: ['Browser support', 'https://caniuse.com/webgpu'],
};
const NO_ADAPTER = {
  text: 'In Chrome the switch is under Settings, System.',
  link: ['WebGPU report', 'https://webgpureport.org/'],
};

/** A hint for a model that runs on the CPU because there is no GPU. */
export function hint() {
  const { text, link } = navigator.gpu ? NO_ADAPTER : NO_WEBGPU;
  const how = navigator.gpu ? 'with hardware acceleration switched on.' : 'in a browser with WebGPU:';
  return { text: `On a GPU it would be faster, ${how} ${text}`, link };
}

/** The message for an error about `name`, with a link if there is more to read. */
export function words({ code, message }, name) {
  const subject = `${name}: `;
  if (code === 'no-webgpu') return { text: `${subject}this browser has no WebGPU: ${NO_WEBGPU.text}`, link: NO_WEBGPU.link };
  if (code === 'no-adapter') return { text: `${subject}${message}. ${NO_ADAPTER.text}`, link: NO_ADAPTER.link };
  if (code === 'fetch' && !navigator.onLine) {
    return { text: `${subject}you are offline, and this file is not in the cache. Photos and weights of this device work.` };
  }
  if (code === 'decode' && /\.hei[cf]$/i.test(name)) {
    return { text: `${subject}this browser cannot decode HEIC (Safari can): save the photo as JPEG, or set the camera to "most compatible".` };
  }
  return { text: subject + message };
}

/** The message for a camera that does not open. */
export function cameraWords({ name, message }) {
  if (name === 'NotAllowedError') return 'access to the camera was denied: allow it in the address bar';
  if (name === 'NotFoundError') return 'there is no camera here';
  if (name === 'NotReadableError') return 'another program uses the camera';
  return message;
}
