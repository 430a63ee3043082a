// npm run lighthouse: the built page's marks, as a host with compression serves it; ends with 1 where one is below the least.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sirv from 'sirv';
import { findChromium } from '../tests/e2e/browser.mjs';
import { build } from './build.mjs';
import { runBeside, say, stop } from './shell.mjs';

const FOLDER = 'test-results/lighthouse';
const LEAST = 98;
const VERSION = '12.8.2';

await build();
rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
cpSync('site', join(FOLDER, 'site'), { recursive: true });
for (const name of readdirSync(join(FOLDER, 'site'), { recursive: true }).filter((name) => /\.(html|js|css|json|svg|wasm|webmanifest)$/.test(name))) {
  writeFileSync(join(FOLDER, 'site', `${name}.gz`), gzipSync(readFileSync(join(FOLDER, 'site', name))));
}
const server = createServer(sirv(join(FOLDER, 'site'), { gzip: true, etag: true }));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://localhost:${server.address().port}/`;
const marks = {};
for (const form of ['mobile', 'desktop']) {
  const output = join(FOLDER, `${form}.json`);
  const more = form === 'desktop' ? ['--preset=desktop'] : [];
  const args = ['--yes', `lighthouse@${VERSION}`, url, '--quiet', '--chrome-flags=--headless=new --no-sandbox', '--output=json', `--output-path=${output}`];
  await runBeside('npx', [...args, ...more], { env: { ...process.env, CHROME_PATH: findChromium() } }).ended;
  const { categories, audits } = JSON.parse(readFileSync(output, 'utf8'));
  marks[form] = Object.fromEntries(Object.values(categories).map(({ title, score }) => [title, Math.round(100 * score)]));
  const weak = Object.values(audits).filter(({ score, scoreDisplayMode }) => score !== null && score < 0.9 && scoreDisplayMode !== 'informative');
  for (const { title, displayValue = '' } of weak) console.log(`  ${form}: ${title} ${displayValue}`);
}
server.close();
console.table(marks);
const low = Object.values(marks)
  .flatMap(Object.values)
  .filter((mark) => mark < LEAST);
if (low.length) stop(`${low.length} marks are below ${LEAST}.`);
say(`All marks are ${LEAST} or better.`);
