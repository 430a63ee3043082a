// npm test: set up, install the browsers and the Vulkan driver that tests need, then run everything; `npm test -- native` or `-- web` a part.
import { existsSync, readdirSync } from 'node:fs';
import { docs } from './docs.mjs';
import { lint } from './lint.mjs';
import { rustPart, setup } from './setup.mjs';
import { debian, run, say, steps, stop } from './shell.mjs';

/** Native tests run on lavapipe where there is no GPU. */
function vulkan() {
  const folders = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'];
  const drivers = folders.some((folder) => existsSync(folder) && readdirSync(folder).length > 0);
  const libraries = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];
  const loader = libraries.some((folder) => existsSync(`${folder}/libvulkan.so.1`));
  if (process.platform !== 'linux' || (drivers && loader)) return;
  const advice = debian('mesa-vulkan-drivers', 'libvulkan1');
  if (advice) stop(`The native tests need a Vulkan driver: ${advice}.`);
}

async function chromium() {
  const { findChromium } = await import('../tests/e2e/browser.mjs');
  const advice = findChromium() ? undefined : debian('chromium');
  if (advice) stop(`The page tests need Chrome or Chromium: ${advice}. CHROME_PATH may name it.`);
}

/** Firefox with lavapipe, and WebKitGTK with a display; only Linux has those two. */
async function engines() {
  if (process.platform !== 'linux') return;
  const { findFirefox, findLavapipe, findWebKit } = await import('../tests/e2e/engines.mjs');
  const { driver, browser, display } = findWebKit();
  const needed = [
    [findFirefox(), 'firefox-esr'],
    [driver && browser, 'webkit2gtk-driver'],
    [display, 'xvfb'],
    [findLavapipe(), 'mesa-vulkan-drivers', 'libvulkan1'],
  ];
  const missing = needed.filter(([path]) => !path).flatMap(([, ...packages]) => packages);
  const advice = missing.length > 0 ? debian(...missing) : undefined;
  if (advice) stop(`The page tests need Firefox, WebKitGTK and lavapipe: ${advice}. FIREFOX_PATH may name Firefox.`);
}

/** The library, its documentation and the command line tool. */
function native() {
  vulkan();
  run('cargo', ['check', '--release', '--lib', '--no-default-features']);
  run('cargo', ['doc', '--release', '--no-deps', '--lib'], { env: { ...process.env, RUSTDOCFLAGS: '-D warnings' } });
  // lavapipe compiles vectors of 128 bits in two thirds of the time, which is most of what its tests take; others don't know the variable.
  run('cargo', ['test', '--release', '--package', 'xception-webgpu', '--package', 'isa'], { env: { ...process.env, LP_NATIVE_VECTOR_WIDTH: '128' } });
  // The readers of files again with 32 bits, as browsers run them: sizes wrap round there.
  rustPart('target', 'wasm32-wasip1');
  const wasi = ['--profile', 'checked', '--target', 'wasm32-wasip1', '--no-default-features', '--features', 'formats,learn'];
  run('cargo', ['test', ...wasi, '--test', 'mutations', '--', '--nocapture']);
}

/** The package and the page in browsers. */
async function web() {
  const { build } = await import('./build.mjs');
  await build();
  await chromium();
  await engines();
  docs();
  const pages = readdirSync('tests/e2e').filter((name) => name.endsWith('.test.mjs'));
  // Node 20 counts the limit for a file.
  run('node', ['--test', '--test-timeout=1200000', '--test-concurrency=2', ...pages.map((name) => `tests/e2e/${name}`)]);
}

const [part, ...more] = process.argv.slice(2);
if (![undefined, 'native', 'web'].includes(part) || more.length > 0) stop('npm test takes the name of a part, native or web, or nothing for all.');
await setup();
lint();
if (part !== 'web') native();
if (part !== 'native') await web();

for (const { line, seconds } of steps.filter(({ seconds }) => seconds >= 5)) console.log(`${seconds.toFixed(0).padStart(5)} s  ${line.slice(0, 120)}`);
say('All tests passed.');
