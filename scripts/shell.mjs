// Running commands, and installing what the machine lacks.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// All paths are from the repository's root.
process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

/** Ends with a sentence instead of a stack. */
export function stop(message) {
  console.error(`\n${message}`);
  process.exit(1);
}

function failureOf(command, error, status, signal) {
  if (error) return `${command} could not be started: ${error.message}`;
  return status === 0 ? undefined : `${command} failed with ${signal ?? `exit code ${status}`}; the lines above tell why.`;
}

/** Prints a line with the seconds since the start. */
export function say(text) {
  console.log(`[${(performance.now() / 1000).toFixed(0).padStart(3)} s] ${text}`);
}

/** Commands that `run` has ended, and the seconds that each took. */
export const steps = [];

/** Runs a command in the foreground; ends where it fails. */
export function run(command, args, options = {}) {
  const line = [command, ...args].join(' ');
  say(`> ${line}`);
  const start = performance.now();
  const { status, error, signal } = spawnSync(command, args, { stdio: 'inherit', ...options });
  const failure = failureOf(command, error, status, signal);
  if (failure) stop(failure);
  steps.push({ line, seconds: (performance.now() - start) / 1000 });
}

/** Runs a command beside this script; rejects where it fails. */
export function runBeside(command, args, options = {}) {
  const child = spawn(command, args, { stdio: 'inherit', ...options });
  const ended = new Promise((resolve, reject) => {
    const end = (error, status, signal) => {
      const failure = failureOf(command, error, status, signal);
      return failure ? reject(new Error(failure)) : resolve();
    };
    child.on('error', end);
    child.on('exit', (status, signal) => end(undefined, status, signal));
  });
  return { child, ended };
}

export function has(command) {
  const names = process.platform === 'win32' ? [`${command}.exe`, `${command}.cmd`] : [command];
  return process.env.PATH.split(delimiter).some((folder) => names.some((name) => existsSync(join(folder, name))));
}

/** Whether Debian packages can be installed without asking. */
const mayInstall = has('apt-get') && process.getuid() === 0;

/** Installs Debian packages where this may; returns what a person has to do where it may not. */
export function debian(...packages) {
  if (!mayInstall) return `install what Debian calls ${packages.join(' and ')}, then try again`;
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  run('apt-get', ['update', '-qq'], options);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], options);
  return undefined;
}

/** A folder's npm packages, installed where they are not those of its lock file. */
export function npmPackages(folder = '.') {
  const lock = readFileSync(join(folder, 'package-lock.json'), 'utf8');
  const stamp = join(folder, 'node_modules/.setup');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  // Install scripts would download browsers.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder, shell: process.platform === 'win32' });
  writeFileSync(stamp, lock);
}
