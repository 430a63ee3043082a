// Firefox and WebKitGTK, each as a page with what the tests take of Playwright's.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import puppeteer from 'puppeteer-core';
import { Builder, By, Capabilities } from 'selenium-webdriver';

/** Milliseconds for a script of a page. */
const PATIENCE = 240_000;

const found = (...paths) => paths.find((path) => path && existsSync(path));

export const findFirefox = () =>
  found(process.env.FIREFOX_PATH, '/usr/bin/firefox-esr', '/usr/bin/firefox', '/Applications/Firefox.app/Contents/MacOS/firefox');

/** lavapipe's entry in the list of Vulkan drivers. */
export const findLavapipe = () => found(...['x86_64.', 'aarch64.', ''].map((machine) => `/usr/share/vulkan/icd.d/lvp_icd.${machine}json`));

/** The paths of WebKitGTK's driver and browser, and of a display for them; undefined for those that are missing. */
export const findWebKit = () => ({
  driver: found('/usr/bin/WebKitWebDriver'),
  browser: found('/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser', '/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser'),
  display: found('/usr/bin/Xvfb'),
});

/** A page of a browser. `run` evaluates an expression and awaits it; `choose` gives files to an input. */
class Page {
  #run;
  #choose;

  /** `on` listens to exceptions that nobody caught. */
  constructor({ goto, run, choose, close, on = () => {} }) {
    this.#run = run;
    this.#choose = choose;
    this.goto = goto;
    this.close = close;
    // The drivers tell requests and the console in other ways.
    this.on = (event, listener) => event === 'pageerror' && on(event, listener);
  }

  /** The value of a function of the page, as JSON has it. */
  async evaluate(work, argument) {
    const json = await this.#run(`(async () => JSON.stringify(await (${work})(${JSON.stringify(argument) ?? ''})))()`);
    return json === undefined || json === null ? undefined : JSON.parse(json);
  }

  async waitForFunction(work, argument, { timeout = 90_000 } = {}) {
    for (const end = Date.now() + timeout; !(await this.evaluate(work, argument)); await pause(50)) {
      if (Date.now() > end) throw new Error(`the page never came to ${work}; it says: ${await this.evaluate(() => document.body.textContent)}`);
    }
  }

  $eval = (selector, work) => this.#run(`JSON.stringify((${work})(document.querySelector(${JSON.stringify(selector)})))`).then(JSON.parse);
  $$eval = (selector, work) => this.#run(`JSON.stringify((${work})([...document.querySelectorAll(${JSON.stringify(selector)})]))`).then(JSON.parse);
  textContent = (selector) => this.$eval(selector, (element) => element.textContent);
  click = (selector) => this.evaluate((selector) => document.querySelector(selector).click(), selector);
  setInputFiles = (selector, paths) =>
    this.#choose(
      selector,
      [paths].flat().map((path) => resolve(path)),
    );

  selectOption(selector, value) {
    const choose = ([selector, value]) => {
      const element = document.querySelector(selector);
      element.value = value;
      element.dispatchEvent(new Event('change', { bubbles: true }));
    };
    return this.evaluate(choose, [selector, value]);
  }
}

/** Headless Firefox by WebDriver BiDi, with WebGPU on lavapipe where that is asked for. */
export async function firefox({ webgpu = false } = {}) {
  const executablePath = findFirefox();
  if (!executablePath) throw new Error('There is no Firefox: install what Debian calls firefox-esr. FIREFOX_PATH may name it.');
  if (webgpu && !findLavapipe()) throw new Error('There is no lavapipe: install what Debian calls mesa-vulkan-drivers and libvulkan1.');
  const prefs = { 'dom.webgpu.enabled': true, 'dom.webgpu.workers.enabled': true, 'gfx.webgpu.ignore-blocklist': true };
  // Another driver's adapter is not the tests'. lavapipe compiles vectors of 128 bits in two thirds of the time.
  const env = { ...process.env, VK_ICD_FILENAMES: findLavapipe(), LP_NATIVE_VECTOR_WIDTH: '128' };
  // Puppeteer ends Firefox when this process exits, which a signal alone is not.
  for (const signal of ['SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath, env, protocolTimeout: PATIENCE, extraPrefsFirefox: webgpu ? prefs : {} });
  const page = await browser.newPage();
  return new Page({
    goto: (url) => page.goto(url, { timeout: PATIENCE }),
    run: (script) => page.evaluate(script),
    choose: async (selector, paths) => (await page.$(selector)).uploadFile(...paths),
    close: () => browser.close(),
    on: (event, listener) => page.on(event, listener),
  });
}

/** A port that was free a moment ago. */
function freePort() {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** WebKitGTK's MiniBrowser on a display of its own. */
export async function webKit() {
  const { driver: path, browser: binary, display } = findWebKit();
  if (!path || !binary || !display) throw new Error('There is no WebKitGTK: install what Debian calls webkit2gtk-driver and xvfb.');
  // They end with this process, however it ends.
  const start = (command, args, options) => spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], options);
  const xvfb = start(display, ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  const number = await new Promise((resolve, reject) => {
    xvfb.stdio[3].once('data', (text) => resolve(String(text).trim()));
    xvfb.once('exit', (code) => reject(new Error(`Xvfb ended with ${code}`)));
  });
  const port = await freePort();
  // Its sandbox does not start as root.
  const env = { ...process.env, DISPLAY: `:${number}`, ...(process.getuid() === 0 && { WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1' }) };
  const server = start(path, [`--port=${port}`], { stdio: 'ignore', env });
  const address = `http://127.0.0.1:${port}`;
  const isThere = () =>
    fetch(`${address}/status`).then(
      ({ ok }) => ok,
      () => false,
    );
  for (const end = Date.now() + 60_000; !(await isThere()); await pause(50)) if (Date.now() > end) throw new Error('WebKitWebDriver does not answer');
  const capabilities = new Capabilities({ browserName: 'MiniBrowser', 'webkitgtk:browserOptions': { binary, args: ['--automation'] } });
  const driver = await new Builder().usingServer(address).withCapabilities(capabilities).build();
  await driver.manage().setTimeouts({ script: PATIENCE, pageLoad: PATIENCE });
  return new Page({
    goto: (url) => driver.get(url),
    run: async (script) => {
      const [value, error] = await driver.executeAsyncScript(
        `const done = arguments[0]; Promise.resolve().then(() => ${script}).then((value) => done([value]), (error) => done([null, error.name + ': ' + error.message]));`,
      );
      if (error) throw new Error(error);
      return value;
    },
    choose: async (selector, paths) => (await driver.findElement(By.css(selector))).sendKeys(paths.join('\n')),
    close: async () => {
      await driver.quit().catch(() => {});
      server.kill();
      xvfb.kill();
    },
  });
}
