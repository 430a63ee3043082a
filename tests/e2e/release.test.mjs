// npm run release: a break of the package's interface is found, and must be announced.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { breaks, formula, isAfter, isAnnounced, notes, section } from '../../scripts/release.mjs';

const BEFORE = 'test-results/declarations';

/** The package's declarations as they would have been before, with some text replaced. */
function declarations(replaced = {}) {
  rmSync(BEFORE, { recursive: true, force: true });
  mkdirSync(BEFORE, { recursive: true });
  for (const name of readdirSync('pkg').filter((name) => name.endsWith('.d.ts'))) cpSync(join('pkg', name), join(BEFORE, name));
  for (const [name, pairs] of Object.entries(replaced)) {
    let text = readFileSync(join(BEFORE, name), 'utf8');
    for (const [old, other] of pairs) {
      assert.ok(text.includes(old), `${name} has no ${old}`);
      text = text.replace(old, other);
    }
    writeFileSync(join(BEFORE, name), text);
  }
  return BEFORE;
}

test('what old code could not do any more is found, and nothing else', () => {
  assert.deepEqual(breaks(declarations(), 'pkg'), []);
  const added = {
    'index.d.ts': [
      ['  integrity?: string;', ''],
      ["  withHead(head: Head | LoadOptions['weights']): Promise<Xception>;", ''],
    ],
  };
  assert.deepEqual(breaks(declarations(added), 'pkg'), [], 'an option and a method that are new break nothing');
  const index = (...pairs) => ({ 'index.d.ts': pairs });
  const BROKEN = {
    'a method is gone': [index(['export class Xception extends EventTarget {', 'export class Xception extends EventTarget {\n  forget(): void;']), /forget/],
    'a function is gone': [index(['export function listCached', 'export function listAll(): void;\nexport function listCached']), /listAll/],
    'an option takes less': [index(['  cache?: boolean;', '  cache?: boolean | number;']), /LoadOptions/],
    'an option is needed': [index(['  weights: string | URL', '  weights?: string | URL']), /LoadOptions/],
    'a kind of image is not taken': [index(['export type ImageInput = Blob', 'export type ImageInput = number | Blob']), /ImageInput/],
    'a result lacks something': [index(['export interface Prediction {', 'export interface Prediction {\n  rank: number;']), /rank/],
    'a hook is gone': [{ 'react.d.ts': [['export function useXception', 'export function useModel(): void;\nexport function useXception']] }, /useModel/],
  };
  for (const [what, [replaced, expected]] of Object.entries(BROKEN)) {
    const found = breaks(declarations(replaced), 'pkg').join('\n');
    assert.match(found, expected, what);
  }
  writeFileSync(join(declarations(), 'worker.d.ts'), 'export {};');
  const now = 'test-results/declarations-now';
  rmSync(now, { recursive: true, force: true });
  cpSync(declarations(), now, { recursive: true });
  rmSync(join(now, 'react.d.ts'));
  assert.deepEqual(breaks(BEFORE, now), ['react.d.ts is gone']);
});

test('notes are those of the next version, and tell of breaks', () => {
  const changelog = '# Changelog\n\n## Unreleased\n\n### Added\n\n- One.\n\n## 0.1.0 - 2026-01-01\n\n### Removed\n\n- Two.\n';
  assert.equal(notes(changelog), '### Added\n\n- One.');
  assert.equal(notes('# Changelog\n\n## Unreleased\n\n- Last.\n'), '- Last.');
  assert.equal(notes('# Changelog\n\n## 0.1.0\n'), '');
  assert.equal(section(changelog, '0.1.0'), '### Removed\n\n- Two.');
  assert.deepEqual([notes(changelog), changelog, '- **Breaking**: x'].map(isAnnounced), [false, true, true]);
  assert.ok(notes(readFileSync('CHANGELOG.md', 'utf8')).length > 1000);
  const after = [
    ['0.2.0', '0.1.9'],
    ['1.0.0', '0.9.9'],
    ['0.1.10', '0.1.9'],
    ['0.1.0', '0.1.0'],
    ['0.1.0', '0.2.0'],
    ['0.1', '0.0.1'],
    ['v1.0.0', '0.1.0'],
  ];
  assert.deepEqual(
    after.map(([version, last]) => isAfter(version, last)),
    [true, true, true, false, false, false, false],
  );
});

test("Homebrew's formula names the archives and their hashes", () => {
  const folder = 'test-results/archives';
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const targets = ['aarch64-apple-darwin', 'x86_64-apple-darwin', 'aarch64-unknown-linux-gnu', 'x86_64-unknown-linux-gnu'];
  for (const target of targets) writeFileSync(join(folder, `xception-${target}.tgz`), target);
  formula('https://example.org/xception', '1.2.3', folder);
  const text = readFileSync(join(folder, 'xception.rb'), 'utf8');
  for (const target of targets) {
    const hash = createHash('sha256').update(target).digest('hex');
    assert.ok(text.includes(`url "https://example.org/xception/releases/download/v1.2.3/xception-${target}.tgz"\n      sha256 "${hash}"`), target);
    // The workflow makes them.
    assert.ok(readFileSync('.github/workflows/release.yml', 'utf8').includes(`target: ${target},`), target);
  }
  assert.ok(!text.includes('@'), text);
});
