import { checkLimit, XceptionError } from './errors.js';
import { blobOf, bytesOf, isBytes } from './options.js';
import { formats } from './wasm.js';

/**
 * The pixel values of the file itself, upright.
 * @type {ImageBitmapOptions}
 */
const AS_STORED = { imageOrientation: 'from-image', premultiplyAlpha: 'none', colorSpaceConversion: 'none' };

/**
 * Options of a bitmap made of another. Firefox brings a part of a bitmap to the GPU only where a size is given.
 * @returns {ImageBitmapOptions}
 */
const sized = (width, height) => ({ ...AS_STORED, imageOrientation: 'none', resizeWidth: width, resizeHeight: height });

/** Whether there are bitmaps whose pixels can be had: in browsers, not in Node, and Deno's have none. */
const hasBitmaps = () => Boolean(globalThis.OffscreenCanvas && !globalThis.Deno);

/**
 * Any image as something that another thread can take: a Blob that is still encoded, pixels (`{ data, width, height }`), or a
 * bitmap, which is the taker's own.
 */
export async function toImage(image, signal) {
  const message = 'the image must be a Blob, File, URL, bytes, pixels, or an image, video or canvas element';
  let known;
  try {
    known = toKnown(image);
  } catch (error) {
    throw error instanceof XceptionError ? error : new XceptionError('bad-argument', message, { cause: error });
  }
  if (typeof known === 'string') return download(known, signal);
  if (known) return known;
  if (!hasBitmaps()) throw new XceptionError('bad-argument', message);
  const copy = async () => createImageBitmap(image, image instanceof ImageBitmap ? sized(image.width, image.height) : AS_STORED);
  return copy().catch((error) => {
    if (error instanceof TypeError) throw new XceptionError('bad-argument', message, { cause: error });
    if (error.name !== 'InvalidStateError') throw error;
    throw new XceptionError('decode', 'the image has no pixels: it has not loaded, or was closed', { cause: error });
  });
}

/** A Blob, URL or pixels; undefined for what only the browser may know. A proxy throws where a property of the real object is read. */
function toKnown(image) {
  const blob = blobOf(image);
  if (blob) return blob;
  if (isBytes(image)) return new Blob([bytesOf(image)]);
  if (typeof image === 'string') return image;
  if (image instanceof URL) return image.href;
  return ArrayBuffer.isView(image?.data) ? toPixels(image) : undefined;
}

async function download(url, signal) {
  let response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    // A server that is there answers a request that does not ask to read the answer.
    const there = await fetch(url, { mode: 'no-cors', signal }).then(
      () => true,
      () => false,
    );
    const [code, why] = there
      ? ['cors', 'its server does not allow this page to read it (CORS): save the image and give the file']
      : ['fetch', 'its server is out of reach, or the address is wrong'];
    throw new XceptionError(code, `${url} could not be fetched: ${why}`, { cause: error });
  }
  if (!response.ok) throw new XceptionError('fetch', `${url} answered ${response.status} ${response.statusText}`);
  return response.blob();
}

/** RGBA pixels of RGBA or RGB ones, 8 bits each. */
function toPixels({ data, width, height }) {
  const pixels = width * height;
  // That getter is the array's own, also where the array is another window's.
  const isUnsigned = ['Uint8Array', 'Uint8ClampedArray'].includes(data[Symbol.toStringTag]);
  if (!(isUnsigned && Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0 && [3, 4].includes(data.length / pixels))) {
    throw new XceptionError('bad-argument', 'pixels are { data, width, height } with 3 or 4 bytes for each pixel: RGB or RGBA');
  }
  if (data.length === 4 * pixels) return { data: new Uint8Array(data), width, height };
  const rgba = new Uint8Array(4 * pixels).fill(255);
  for (let i = 0; i < pixels; i++) rgba.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
  return { data: rgba, width, height };
}

/**
 * What `toImage` gave as a bitmap no larger than a GPU takes, or as pixels; of it `roi` alone where that is given. `module` is what
 * looks at files, within the `limits`; the image itself stays open.
 */
export async function decode(image, roi, limits, module, maxSide = Infinity) {
  const photo = image instanceof Blob ? await decodeFile(image, limits, module) : image;
  const { x, y, width, height } = cut(roi, photo);
  const whole = width === photo.width && height === photo.height;
  const side = Math.max(width, height);
  if (photo.data) {
    const data = whole ? photo.data : crop(photo, x, y, width, height);
    if (side <= maxSide || !hasBitmaps()) return { data, width, height };
    const bitmap = await createImageBitmap(new ImageData(new Uint8ClampedArray(data), width), AS_STORED);
    try {
      return await decode(bitmap, undefined, limits, module, maxSide);
    } finally {
      bitmap.close();
    }
  }
  if (whole && side <= maxSide) return photo;
  const scaled = (length) => Math.max(1, Math.floor(length * Math.min(1, maxSide / side)));
  try {
    return await createImageBitmap(photo, x, y, width, height, { ...sized(scaled(width), scaled(height)), resizeQuality: 'high' });
  } finally {
    if (photo !== image) photo.close();
  }
}

/** The region of interest, in whole pixels. */
function cut(roi, { width, height }) {
  if (!roi) return { x: 0, y: 0, width, height };
  if (roi.x + roi.width > width || roi.y + roi.height > height) {
    const message = `roi must be { x, y, width, height } in whole pixels, inside the image of ${width}×${height}`;
    throw new XceptionError('bad-argument', message);
  }
  return roi;
}

function crop({ data, width }, x, y, columns, rows) {
  const out = new Uint8Array(4 * columns * rows);
  for (let row = 0; row < rows; row++) {
    const start = 4 * ((y + row) * width + x);
    out.set(data.subarray(start, start + 4 * columns), 4 * row * columns);
  }
  return out;
}

/** An encoded image; what the browser cannot decode, or would not turn upright, is decoded by the second wasm module, or refused by it. */
async function decodeFile(blob, limits, module) {
  checkLimit('the image is', blob.size, limits, 'imageBytes');
  const bytes = new Uint8Array(await blob.arrayBuffer());
  // Refused by its bytes, before the browser takes memory for the pixels.
  const isTurned = await module.call(({ checkImage }) => checkImage(bytes, limits.pixels));
  // Chromium leaves EXIF data of WebP aside, WebKit that of PNG too.
  if (hasBitmaps() && !isTurned) {
    try {
      return await createImageBitmap(blob, AS_STORED);
    } catch {
      // The other decoder may have it, or say what is wrong.
    }
  }
  const pixels = await formats.call(({ decode }) => decode(bytes, limits.pixels));
  const { width, height } = pixels;
  return { data: pixels.take(), width, height };
}
