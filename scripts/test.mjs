// npm test: set up, install the browser and the Vulkan driver that tests need, then run everything.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { setup } from './setup.mjs';
import { debian, run, stop } from './shell.mjs';

const release = '--release';
const wasm = ['--target', 'wasm32-unknown-unknown', '--no-default-features', '--features', 'gpu,formats'];

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

/** Bundlers, runtimes and checkers of packages, which nothing but their tests needs. */
function consumers() {
  const folder = 'tests/consumers';
  const lock = readFileSync(`${folder}/package-lock.json`, 'utf8');
  const stamp = `${folder}/node_modules/.setup`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder, shell: process.platform === 'win32' });
  writeFileSync(stamp, lock);
}

await setup({ kitchenware: true });
consumers();
vulkan();
await chromium();
run('cargo', ['fmt', '--check']);
run('cargo', ['clippy', release, '--workspace', '--all-targets', '--', '-D', 'warnings']);
run('cargo', ['clippy', '--profile', 'wasm', '--lib', ...wasm, '--', '-D', 'warnings']);
run('cargo', ['check', release, '--lib', '--no-default-features']);
run('cargo', ['doc', release, '--no-deps', '--lib'], { env: { ...process.env, RUSTDOCFLAGS: '-D warnings' } });
run('cargo', ['test', release]);
const pages = readdirSync('tests/e2e').filter((name) => name.endsWith('.test.mjs'));
run('node', ['--test', '--test-timeout=300000', '--test-concurrency=1', ...pages.map((name) => `tests/e2e/${name}`)]);
