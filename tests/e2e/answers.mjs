// Node's answers, for other engines to be compared with, and a server for their pages.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Xception } from '../../pkg/dist/index.js';
import { serveWithModel } from './models.mjs';

export const WEIGHTS = 'models/kitchenware.safetensors';
export const LABELS = { '0009': 'cup', '0013': 'knife', '0207': 'spoon', '0412': 'fork' };
export const photo = (name) => `models/kitchenware/photos/${name}.jpg`;
export const jpeg = readFileSync(photo('0009'));

/** The photo as a camera stores it that was held upright: turned, with a note. */
export function turned() {
  const exif = Buffer.from('ffe1002245786966000049492a00080000000100120103000100000006000000000000000000', 'hex');
  exif.writeUInt16BE(exif.length - 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), exif, jpeg.subarray(2)]);
}

/** Lossless photos in forms that browsers may take otherwise. */
const forms = 'exif2.png exif6.png exif6.webp exif8.webp profile.png profile.webp gray16.png gray_alpha16.png rgba16.png palette.png still.gif animated.png';
export const FORMS = Object.fromEntries(forms.split(' ').map((name) => [name, readFileSync(`tests/data/photos/${name}`)]));

/** Scores by label. */
const scoresOf = (predictions) => Object.fromEntries(predictions.map(({ label, score }) => [label, score]));

/** Asserts that scores are those expected, but for `atol` + `rtol` of each. */
export function near(found, expected, [atol, rtol], what) {
  assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort(), what);
  for (const [label, score] of Object.entries(expected))
    assert.ok(Math.abs(found[label] - score) <= atol + rtol * score, `${what}: ${label} is ${found[label]}, not ${score}`);
}

/** Decoders of JPEG are each within the standard's tolerance. */
export const DECODED = [2e-3, 1e-2];
/** The same pixels: sums in another order. */
export const COMPUTED = [1e-5, 1e-3];

/** Pixels that are alike everywhere, of which each part has another answer. */
export function pattern(width, height) {
  const data = new Uint8ClampedArray(4 * width * height);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    data.set([(x * 3) % 256, (y * 2) % 256, Math.min(255, Math.floor((x * y) / 60)), 255], 4 * i);
  }
  return { data, width, height };
}
export const [WIDTH, HEIGHT] = [180, 120];
export const ROI = { x: 60, y: 30, width: 80, height: 70 };
/** A part of the photo. */
export const BOX = { x: 300, y: 200, width: 400, height: 500 };

/** Paths that were asked of all servers since this was emptied. */
export const asked = [];
/** Starts a server of two more pages: `isolated` is cross-origin isolated, `empty` is not. */
export async function start() {
  const served = await serveWithModel({}, true);
  const [sendList, sendFile] = served.server.listeners('request');
  served.server.removeAllListeners('request');
  served.server.on('request', (request, response) => {
    asked.push(request.url.slice(1));
    // Workers of an isolated page need it too. Another site's images are taken by pages that do not ask for leave.
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    if (request.url === '/isolated') response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    if (['/isolated', '/empty'].includes(request.url)) return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><body>');
    sendList(request, response);
    sendFile(request, response);
  });
  return served;
}

/** The size of the input where many images are classified that differ in their form alone: software adapters are slow. */
export const SMALL = 71;

/** Scores by label: of each photo by its name, of the turned one and of the pattern; `small` has those of forms and parts from a small input. */
export async function answers() {
  const load = (options) => Xception.load({ weights: readFileSync(WEIGHTS), backend: 'cpu', ...options });
  const scores = async (model, image, options) => scoresOf((await model.classify(image, { topK: 6, ...options })).predictions);
  const model = await load();
  const expected = {};
  for (const name of Object.keys(LABELS)) expected[name] = await scores(model, readFileSync(photo(name)));
  expected.turned = await scores(model, turned());
  expected.pattern = await scores(model, pattern(WIDTH, HEIGHT));
  await model.dispose();
  const small = await load({ inputSize: SMALL });
  const forms = {};
  for (const [name, file] of Object.entries(FORMS)) forms[name] = await scores(small, file);
  const whole = await scores(small, pattern(WIDTH, HEIGHT));
  const part = await scores(small, pattern(WIDTH, HEIGHT), { roi: ROI });
  expected.small = { forms, whole, part, photoPart: await scores(small, jpeg, { roi: BOX }) };
  await small.dispose();
  return expected;
}
