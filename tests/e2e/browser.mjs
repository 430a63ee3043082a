// Headless Chromium with WebGPU on its software adapter, and the demo page in it.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PATHS = [
  process.env.CHROME_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

export const findChromium = () => PATHS.find((path) => path && existsSync(path));

/** Chromium's options for a camera that shows a pattern, and needs no leave. */
export const FAKE_CAMERA = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

export async function launch(...more) {
  const browser = await chromium.launch({
    executablePath: findChromium(),
    args: [
      '--no-sandbox',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--enable-unsafe-webgpu',
      '--use-webgpu-adapter=swiftshader',
      ...more,
    ],
  });
  // Busy machines are slow; Playwright's own limit is half a minute. New pages have a context of their own, made here too.
  const newContext = browser.newContext.bind(browser);
  browser.newContext = async (options) => {
    const context = await newContext(options);
    context.setDefaultTimeout(90_000);
    return context;
  };
  return browser;
}

/** A page of the server's origin with nothing on it. */
export async function emptyPage(browser, url) {
  const page = await browser.newPage();
  await page.route('**/empty', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }));
  await page.goto(`${url}empty`);
  return page;
}

/**
 * An empty page with the package's exports, the kitchenware model's address as `weights`, a photo's as `cup`, and `refusal`, the code with
 * which a promise rejects: `unsettled` where it has not after a minute.
 */
export async function packagePage(browser, url) {
  const page = await emptyPage(browser, url);
  await page.evaluate(async () => {
    Object.assign(globalThis, await import('/pkg/dist/index.js'));
    globalThis.weights = '/models/kitchenware.safetensors';
    globalThis.cup = '/models/kitchenware/photos/0009.jpg';
    globalThis.settled = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 60_000, 'unsettled'))]);
    globalThis.refusal = (promise) =>
      settled(
        promise.then(
          () => 'none',
          (error) => (error instanceof XceptionError ? error.code : String(error)),
        ),
      );
  });
  return page;
}

/** The demo page: drops files on it and reads it. */
export class Demo {
  constructor(page, url) {
    this.page = page;
    this.url = url;
    /** Paths of everything the page fetched. */
    this.requests = [];
    /** Errors and warnings on the console, and exceptions that nobody caught. */
    this.complaints = [];
    page.on('request', (request) => this.requests.push(new URL(request.url()).pathname));
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('console', (message) => {
      // Missing files and blocked service workers are intended by tests.
      const expected = /^(Failed to load resource|Service Worker registration blocked)/.test(message.text());
      if (['error', 'warning'].includes(message.type()) && !expected) this.complaints.push(message.text());
    });
  }

  /** Opens the page and waits until its model has loaded or failed. */
  async open() {
    await this.page.goto(this.url);
    await this.settled();
  }

  /** Goes to a view of the page. */
  async view(name) {
    await this.page.click(`nav a[href="#/${name}"]`);
    await this.page.waitForFunction((name) => !document.querySelector(`[data-view="${name}"]`).hidden, name);
  }

  async settled() {
    const done = () => /^(Ready|No model|This browser)/.test(document.getElementById('status').textContent);
    await this.page.waitForFunction(done);
  }

  /** Drops a file on the page: its bytes, or the path on the server that has them. */
  async drop(name, content) {
    await this.dropAll([[name, content]]);
  }

  /** Drops files together, each with its name. */
  async dropAll(files) {
    // Numbers one by one would take 20 µs each.
    const plain = files.map(([name, content]) => (typeof content === 'string' ? [name, content] : [name, undefined, Buffer.from(content).toString('base64')]));
    await this.page.evaluate(async (files) => {
      const transfer = new DataTransfer();
      for (const [name, path, base64] of files) {
        const data = path ? await (await fetch(path)).blob() : Uint8Array.from(atob(base64), (letter) => letter.charCodeAt());
        transfer.items.add(new File([data], name));
      }
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }, plain);
  }

  /** Drops a photo and reads the rows of its answer, or what went wrong. */
  async classify(name, content) {
    await this.drop(name, content);
    const done = (name) => {
      const error = document.getElementById('error');
      const answered = document.getElementById('status').textContent.startsWith(`${name}: `);
      return answered || (!error.hidden && error.textContent.startsWith(name));
    };
    await this.page.waitForFunction(done, name);
    return { rows: await this.rows(), error: await this.error() };
  }

  rows() {
    const read = (items) =>
      items.map((item) => ({
        label: item.querySelector('.label').textContent,
        percent: parseFloat(item.querySelector('.score').textContent),
      }));
    return this.page.$$eval('#predictions li', read);
  }

  /** The sentence that says what went wrong; empty where nothing did. */
  error() {
    return this.page.$eval('#error', (element) => (element.hidden ? '' : element.firstElementChild.textContent));
  }
}
