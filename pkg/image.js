import { XceptionError } from './errors.js';
import { core, formats } from './wasm.js';

/** Any image as an upright bitmap with the file's own pixel values, no larger than the GPU takes. */
export async function decode(image, maxSide) {
  const encoded = image instanceof Blob || image instanceof ArrayBuffer || ArrayBuffer.isView(image);
  const bitmap = encoded ? await decodeFile(image) : await createImageBitmap(image, AS_STORED).catch(refuse);
  const side = Math.max(bitmap.width, bitmap.height);
  if (side <= maxSide) return bitmap;
  const scaled = (length) => Math.max(1, Math.floor((length * maxSide) / side));
  const resize = { resizeWidth: scaled(bitmap.width), resizeHeight: scaled(bitmap.height), resizeQuality: 'high' };
  try {
    return await createImageBitmap(bitmap, { ...AS_STORED, imageOrientation: 'none', ...resize });
  } finally {
    bitmap.close();
  }
}

const AS_STORED = { imageOrientation: 'from-image', premultiplyAlpha: 'none', colorSpaceConversion: 'none' };

function refuse(error) {
  if (!(error instanceof TypeError)) throw error;
  const message = 'the image must be a Blob, File, bytes, or an image, video or canvas element';
  throw new XceptionError('bad-argument', message, { cause: error });
}

/** The largest encoded image that is read at all: 256 MiB. */
const MAX_IMAGE_BYTES = 2 ** 28;

/** An encoded image; what the browser has no decoder for is decoded by the second wasm module, or refused by it. */
async function decodeFile(file) {
  const blob = file instanceof Blob ? file : new Blob([file]);
  if (blob.size > MAX_IMAGE_BYTES) {
    throw new XceptionError('too-large', `a file of ${blob.size} bytes is more than an image has: give a smaller one`);
  }
  const bytes = new Uint8Array(await blob.arrayBuffer());
  // Refused by its bytes, before the browser takes memory for the pixels.
  await core.call(({ checkImage }) => checkImage(bytes));
  try {
    return await createImageBitmap(blob, AS_STORED);
  } catch {
    const pixels = await formats.call(({ decode }) => decode(bytes));
    const { width, height } = pixels;
    return createImageBitmap(new ImageData(new Uint8ClampedArray(pixels.take()), width, height), AS_STORED);
  }
}
