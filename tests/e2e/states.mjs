// Every state of the page: how to reach it, and the words it must show. Tests assert them; `npm run screenshots` takes pictures.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const photo = (name) => `models/kitchenware/photos/${name}.jpg`;
const jpeg = readFileSync(photo('0009'));
const entry = {
  name: 'Kitchenware',
  url: 'models/kitchenware.safetensors',
  bytes: 42_000_000,
  license: 'names no licence',
  samples: [photo('0009'), photo('0412')],
};
const remote = { name: 'ImageNet, from Hugging Face', url: 'https://huggingface.co/model.safetensors', bytes: 91_700_000, license: 'Apache 2.0, by timm' };

/** Waits for text on the page. */
async function says(page, id, pattern) {
  const found = ([id, source]) => new RegExp(source).test(document.getElementById(id).textContent) && !document.getElementById(id).closest('[hidden]');
  await page.waitForFunction(found, [id, pattern.source]).catch(async (cause) => {
    const [status, error] = [await page.textContent('#status'), await page.textContent('#error')];
    throw new Error(`#${id} never said ${pattern}; status: ${status}; error: ${error}`, { cause });
  });
}

const models = (page, list) => page.route('**/models/index.json', (route) => route.fulfill({ json: list }));

/** `query` sets the backend: a software adapter is used only on request. */
async function ready(demo, page, query = '') {
  await models(page, [entry, remote]);
  await page.goto(demo.url + query);
  await says(page, 'status', /^Ready for a photo/);
}

async function answered(demo, page, query) {
  await ready(demo, page, query);
  await page.setInputFiles('#file', photo('0009'));
  await says(page, 'status', /^0009\.jpg: cup$/);
}

/** Three classes that are taught by some photos. */
async function teaching(demo, page) {
  await ready(demo, page);
  await demo.view('teach');
  const classes = { cutlery: ['0207', '0412'], drink: ['0009', '0020', '0299', '0403'], plate: ['0004', '0026'] };
  for (const [index, [name, photos]] of Object.entries(classes).entries()) {
    await page.fill('#class-name', name);
    await page.press('#class-name', 'Enter');
    await page.locator('#classes input').nth(index).setInputFiles(photos.map(photo));
  }
  await says(page, 'kept', /^8 photos/);
  await says(page, 'lesson-status', /^$/);
}

/** Lets a worker's models take small photos: software adapters take seconds for those of the model's own size. */
export const smallInput = (page) =>
  page.addInitScript(() => {
    const original = MessagePort.prototype.postMessage;
    MessagePort.prototype.postMessage = function (message, ...rest) {
      if (message?.call === 'load') message.values[0].inputSize = [71, 71];
      original.call(this, message, ...rest);
    };
  });

/** A photo, answered by a worker with a GPU, whose port `lose` finds. */
async function answeredByWorker(demo, page) {
  await smallInput(page);
  await page.addInitScript(() => {
    const original = MessagePort.prototype.postMessage;
    MessagePort.prototype.postMessage = function (...message) {
      globalThis.port = this;
      original.apply(this, message);
    };
  });
  await answered(demo, page, '?backend=webgpu');
}

/** A loss, as the worker that has the device reports it. */
async function lose(page) {
  await page.evaluate(() => port.dispatchEvent(new MessageEvent('message', { data: { lost: 'the driver was updated' } })));
  await says(page, 'status', /^The GPU was lost \(the driver was updated\): loading the model again…$/);
}

/** A file that fails while an answer is shown. */
const refused = (name, bytes, words) => async (demo, page) => {
  await ready(demo, page);
  await demo.drop(name, bytes);
  await says(page, 'error', words);
};

/** Removes a part of WebGPU before scripts run, from the page and from the model's worker. */
async function without(page, missing) {
  await page.addInitScript(missing);
  await page.route('**/worker.js', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `(${missing})();\n${await response.text()}` });
  });
}

export const withoutWebGPU = (page) => without(page, () => Object.defineProperty(navigator.constructor.prototype, 'gpu', { get: () => undefined }));
export const withoutAdapter = (page) => without(page, () => (GPU.prototype.requestAdapter = async () => null));

/** A PNG that claims a size, without pixels. */
export function pngHeader(width, height) {
  const png = Buffer.alloc(33);
  png.write('\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'latin1');
  png.writeUInt32BE(width, 16);
  png.writeUInt32BE(height, 20);
  png.set([8, 2], 24);
  return png;
}

/** Photos that are refused, and the sentences. */
export const BAD_PHOTOS = {
  'text.jpg': [Buffer.from('this is no image'), /not a readable image/],
  'empty.png': [Buffer.alloc(0), /empty/],
  'cut.jpg': [jpeg.subarray(0, jpeg.length / 2), /cut short/],
  'huge.png': [pngHeader(30_000, 30_000), /30000×30000 pixels.*scale it down/],
  'cut.png': [pngHeader(64, 64), /cut short/],
  'broken.png': [Buffer.concat([pngHeader(64, 64), Buffer.from('IEND')]), /not a readable image/],
};

export const states = {
  /** A server that stops halfway. */
  async loading(demo, page) {
    await models(page, [entry]);
    await page.addInitScript(() => {
      const original = MessagePort.prototype.postMessage;
      MessagePort.prototype.postMessage = function (message, ...rest) {
        if (message?.call !== 'load') return original.call(this, message, ...rest);
        // Half of the file comes, at a rate that leaves some seconds.
        const progress = { phase: 'weights', total: 42e6, fromCache: false };
        const come = (loaded) => this.dispatchEvent(new MessageEvent('message', { data: { progress: { ...progress, loaded } } }));
        come(1);
        setTimeout(() => come(21e6), 3000);
      };
    });
    await page.goto(demo.url);
    await says(page, 'rest', /^21\.0 MB of 42\.0 MB, \d s left$/);
    await says(page, 'status', /^Loading Kitchenware…$/);
  },
  ready,
  async model(demo, page) {
    await ready(demo, page);
    await demo.view('model');
    const line = /^Kitchenware: 6 classes, input 150×150, 42\.0 MB of weights, [\d.]+ MB in memory as f\d\d, loaded in [\d.]+ s, computed on the CPU/;
    await says(page, 'model', line);
    // The file was converted with the filter and the labels.
    await says(page, 'assumed', /^Assumed, as the file does not tell: pixel values −1 to 1, fit squash\.$/);
    // The tests' adapter is software.
    await says(page, 'model', /CPU \((relaxed )?SIMD, \d+ threads?\): .*swiftshader.* is a software adapter$/);
    await says(page, 'hint', /^On a GPU it would be faster, with hardware acceleration .*Settings, System\. WebGPU report/);
  },
  async onGPU(demo, page) {
    await ready(demo, page, '?backend=webgpu');
    await demo.view('model');
    await says(page, 'model', /[\d.]+ MB in memory as f32, loaded in [\d.]+ s, computed on the GPU \(.*swiftshader.*\)$/i);
  },
  /** Nothing large is fetched from elsewhere before somebody wants an answer. */
  async offered(demo, page) {
    await models(page, [remote]);
    await page.goto(demo.url);
    await says(page, 'status', /^Ready for a photo\. ImageNet.* \(91\.7 MB\) is fetched from huggingface\.co then\.$/);
  },
  answered,
  async heat(demo, page) {
    await answered(demo, page);
    await page.click('#predictions button');
    await page.waitForFunction(() => !document.getElementById('heat').hidden);
    await says(page, 'why', /^Class activation map of cup$/);
  },
  /** The published facts of each network; timing them needs a photo. */
  async comparing(demo, page) {
    await ready(demo, page);
    await demo.view('compare');
    await says(page, 'compared', /xception65/);
    await page.waitForSelector('#compare:disabled + span:text-is("Give it a photo first.")');
  },
  async profiled(demo, page) {
    await smallInput(page);
    await answered(demo, page, '?backend=webgpu');
    await demo.view('profile');
    await page.click('#time');
    await says(page, 'profile-summary', /^78 passes on .*: [\d.]+ ms in one compute pass, [\d.]+ ms one by one, by the /);
    await says(page, 'passes', /block1_conv1conv35×35×32/);
  },
  async gallery(demo, page) {
    await ready(demo, page);
    await page.setInputFiles('#file', ['0009', '0412', '0013', '0004'].map(photo));
    await says(page, 'gallery', /^cupforkknifeplate$/);
  },
  async camera(demo, page) {
    await ready(demo, page);
    await page.click('#camera');
    await says(page, 'status', /^\w+, [\d.]+ photos a second$/);
  },
  async noWebGPU(demo, page) {
    await withoutWebGPU(page);
    await answered(demo, page);
    await demo.view('model');
    await says(page, 'model', /computed on the CPU \(.*\): there is no WebGPU here: use a current Chrome/);
    await says(page, 'hint', /browser with WebGPU: Chrome and Edge have it since 113.*flags.*Browser support$/);
  },
  async noAdapter(demo, page) {
    await withoutAdapter(page);
    await answered(demo, page);
    await demo.view('model');
    await says(page, 'model', /computed on the CPU \(.*\): WebGPU finds no GPU here: enable hardware acceleration/);
    await says(page, 'hint', /Settings, System\. WebGPU report/);
  },
  /** The address asks for a GPU, and there is none. */
  async needsWebGPU(demo, page) {
    await withoutWebGPU(page);
    await models(page, [entry]);
    await page.goto(`${demo.url}?backend=webgpu`);
    await says(page, 'error', /^Kitchenware: this browser has no WebGPU: Chrome and Edge have it since 113.*flags.*Browser support/);
    await says(page, 'status', /^No model: there is no GPU for it\. Choose the CPU under Model\.$/);
  },
  /** The page's control asks for a GPU, and there is none. */
  async needsAdapter(demo, page) {
    await withoutAdapter(page);
    await answered(demo, page);
    await demo.view('model');
    await page.selectOption('#backend', 'webgpu');
    await says(page, 'error', /^Kitchenware: .*enable hardware acceleration.*Settings, System/);
    await says(page, 'status', /^Ready for a photo\.$/);
  },
  noModel: async (demo, page) => {
    await page.route('**/models/index.json', (route) => route.fulfill({ status: 404 }));
    await page.goto(demo.url);
    await says(page, 'status', /^No model: drop a weights file on this page\.$/);
  },
  async lost(demo, page) {
    await answeredByWorker(demo, page);
    await lose(page);
    await says(page, 'status', /^The GPU is back\. Ready for a photo\.$/);
    await page.setInputFiles('#file', photo('0412'));
    await says(page, 'status', /^0412\.jpg: fork$/);
  },
  /** Three times within a minute, which does not pass. */
  async lostOften(demo, page) {
    await page.addInitScript(() => (performance.now = () => 0));
    await answeredByWorker(demo, page);
    for (const outcome of [/^The GPU is back/, /^The GPU is back/, /^The GPU was lost too often: the CPU computes now\. Ready for a photo\.$/]) {
      await lose(page);
      await says(page, 'status', outcome);
    }
    await demo.view('model');
    await says(page, 'model', /CPU.*: the GPU was lost 3 times within a minute \(the driver was updated\)$/);
    assert.equal(await page.isVisible('#hint'), false, 'there is a GPU');
    await demo.view('profile');
    await page.waitForSelector('#time:disabled');
  },
  /** Classes with photos, and one without. */
  async teaching(demo, page) {
    await teaching(demo, page);
    await page.fill('#class-name', 'a class with a rather long name');
    await page.press('#class-name', 'Enter');
    await page.click('#lesson summary');
  },
  async taught(demo, page) {
    await teaching(demo, page);
    await page.click('#learn');
    await says(page, 'lesson-status', /^Learned/);
    await page.setInputFiles('#file', photo('0422'));
    await says(page, 'status', /^0422\.jpg: drink$/);
  },
  noImage: refused('text.jpg', Buffer.from('this is no image'), /^text\.jpg: .*not a readable image/),
  heic: refused('photo.heic', Buffer.from('\0\0\0\x18ftypheic\0\0\0\0heicmif1'), /^photo\.heic: this browser cannot decode HEIC/),
  huge: refused('huge.png', pngHeader(30_000, 30_000), /^huge\.png: .*30000×30000 pixels.*scale it down/),
  damaged: refused('cut.jpg', jpeg.subarray(0, 5000), /^cut\.jpg: .*cut short/),
  badWeights: refused('text.h5', Buffer.from('<!doctype html><title>Not found</title>'), /^text\.h5: .*not a weights file/),
  async otherSite(demo, page) {
    await ready(demo, page);
    await page.fill('#url', 'https://example.org/photo.jpg');
    await page.route('https://example.org/**', (route) => route.abort());
    await page.press('#url', 'Enter');
    await says(page, 'error', /^photo\.jpg: .*does not let this page read it \(CORS\): save the photo/);
  },
  async tooLarge(demo, page) {
    await page.addInitScript(() => {
      const original = MessagePort.prototype.postMessage;
      MessagePort.prototype.postMessage = function (message, ...rest) {
        const what = '83953048 bytes of weights: take f16, which needs half, or compute on the CPU (backend cpu)';
        const sentence = `the GPU has no memory left for ${what}; close other pages or programs that use it`;
        const error = { code: 'out-of-memory', message: sentence };
        if (message?.call === 'load') setTimeout(() => this.dispatchEvent(new MessageEvent('message', { data: { id: message.id, error } })));
        else original.call(this, message, ...rest);
      };
    });
    await models(page, [entry]);
    await page.goto(demo.url);
    await says(page, 'error', /^Kitchenware: the GPU has no memory left for 83953048 bytes of weights: take f16/);
  },
  async offline(demo, page) {
    await models(page, [remote]);
    await page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'onLine', { get: () => false }));
    await page.route('https://huggingface.co/**', (route) => route.abort());
    await page.goto(demo.url);
    await says(page, 'status', /^Ready for a photo/);
    await demo.drop('0009.jpg', jpeg);
    await says(page, 'error', /^ImageNet.*: you are offline, and this file is not in the cache/);
  },
};

export { says };
