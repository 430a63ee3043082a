// The package as npm packs it, in an application of a test.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** The tools of tests/consumers. */
export const tools = resolve('tests/consumers/node_modules');
export const tool = (name) => import(pathToFileURL(join(tools, name)));

/** Packs it, and puts it into the folder's `node_modules`; the folder is made anew. */
export function pack(folder) {
  rmSync(folder, { recursive: true, force: true });
  const packed = join(folder, 'node_modules/xception-webgpu');
  mkdirSync(packed, { recursive: true });
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: 'pkg', encoding: 'utf8' }));
  const tarball = join(folder, filename);
  execFileSync('tar', ['xzf', tarball, '--strip-components=1', '-C', packed]);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', dependencies: { 'xception-webgpu': '*' } }));
  return { packed, tarball };
}
