// npm run screenshots [state…]: every state of the page at three widths, light and dark, in test-results/screenshots; without a state
// also the pictures in docs/ that the README and its neighbours show.
import { mkdirSync } from 'node:fs';
import { Demo, launch } from '../tests/e2e/browser.mjs';
import { says, states } from '../tests/e2e/states.mjs';
import { build } from './build.mjs';
import { devtools } from './devtools.mjs';
import { serve } from './serve.mjs';
import { has, run } from './shell.mjs';

const WIDTHS = { phone: [390, 844], tablet: [820, 1180], desktop: [1280, 900] };
const folder = 'test-results/screenshots';
const wanted = process.argv.slice(2);

await build();
mkdirSync(folder, { recursive: true });
const { server, url } = await serve(0);
const browser = await launch('--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream');

/** A state at one size after another: once there, it stays. */
async function shoot(name, enter) {
  const page = await browser.newPage({ serviceWorkers: 'block' });
  await enter(new Demo(page, url), page);
  for (const [size, [width, height]] of Object.entries(WIDTHS)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${folder}/${name}-${size}-${colorScheme}.png`, fullPage: true });
    }
  }
  await page.close();
}

/** A photo that may be passed on, explained. */
async function forReadme() {
  const page = await browser.newPage({ serviceWorkers: 'block', viewport: { width: 1120, height: 820 } });
  await states.onGPU(new Demo(page, url), page);
  await page.setInputFiles('#file', 'www/samples/coffee.jpg');
  await says(page, 'status', /^coffee\.jpg: cup$/);
  await page.click('#predictions button');
  await page.waitForFunction(() => !document.getElementById('heat').hidden);
  await page.screenshot({ path: 'docs/page.png' });
  await page.click('nav a[href="#/profile"]');
  await page.click('#time');
  await says(page, 'profile-summary', /passes on/);
  await page.locator('[data-view="profile"]').screenshot({ path: 'docs/profile.png' });
  await page.close();
}

try {
  if (!wanted.length) {
    await forReadme();
    await devtools(browser, url, 'docs/devtools.png');
  }
  for (const [name, enter] of Object.entries(states)) {
    if (wanted.length && !wanted.includes(name)) continue;
    console.log(name);
    await shoot(name, enter);
  }
} finally {
  await browser.close();
  server.close();
}

// Last, as it ends the program where it finds no GPU and no Vulkan driver.
if (!wanted.length && has('cargo')) {
  const roofline = ['--model', 'models/kitchenware.safetensors', '--svg', 'docs/roofline.svg'];
  run('cargo', ['run', '--release', '--', 'profile', 'www/samples/coffee.jpg', ...roofline]);
}
