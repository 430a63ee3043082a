// npm run deny: licences, versions, sources and known faults of all crates, and known faults of npm packages. Needs a network.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { run, stop } from './shell.mjs';

const tool = resolve('target/tools/bin/cargo-deny');
if (!existsSync(tool)) run('cargo', ['install', '--locked', 'cargo-deny', '--root', 'target/tools']);
run(tool, ['check', 'licenses', 'bans', 'sources']);

/** Runs a check whose data is elsewhere; the sentence of its failure, which may be that the data is out of reach. */
function check(what, command, args, cwd = '.') {
  console.log(`> ${[command, ...args].join(' ')}${cwd === '.' ? '' : ` (${cwd})`}`);
  const { status } = spawnSync(command, args, { stdio: 'inherit', cwd, shell: process.platform === 'win32' });
  return status === 0 ? [] : `${what} (${cwd})`;
}

const failed = [
  check('crates', tool, ['check', 'advisories']),
  ...['.', 'bench', 'tests/consumers', 'tests/nsfwjs'].map((folder) => check('npm packages', 'npm', ['audit'], folder)),
].flat();
if (failed.length > 0) {
  stop(`Known faults were found, or could not be looked up: ${failed.join(', ')}. The lines above tell which: without the databases nothing is known.`);
}
