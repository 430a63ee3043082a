// A headless Chromium with WebGPU on its software adapter.
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

export const executablePath = PATHS.find((path) => path && existsSync(path));

const FLAGS = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** Starts it; `webgpu: 'off'` takes navigator.gpu away, `'no-adapter'` the adapter. */
export function launch({ webgpu = 'on' } = {}) {
  const args = { on: WEBGPU, off: ['--disable-features=WebGPU', '--disable-blink-features=WebGPU'], 'no-adapter': ['--disable-gpu', '--disable-software-rasterizer', '--enable-unsafe-webgpu'] };
  return chromium.launch({ executablePath, args: [...FLAGS, ...args[webgpu]] });
}
