// npm run fuzz [target] [seconds] [runs=N]: fuzzes each reader of files for ten minutes, or one of them, or for `seconds`, at most N times.
// Finds are kept in tests/data/crashes, which `npm test` runs. libFuzzer prints the coverage (`cov`), and executions at the end.
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { debian, has, run, stop } from './shell.mjs';

const targets = readdirSync('fuzz/fuzz_targets').map((name) => name.replace('.rs', ''));
const words = process.argv.slice(2);
const seconds = words.find((word) => /^\d+$/.test(word)) ?? '600';
const runs = words.find((word) => /^runs=\d+$/.test(word)) ?? 'runs=-1';
const named = words.filter((word) => ![seconds, runs].includes(word));
const unknown = named.find((name) => !targets.includes(name));
if (unknown) stop(`There is no fuzz target ${unknown}: give one of ${targets.join(', ')}, and a number of seconds.`);

const advice = has('c++') ? undefined : debian('g++');
if (advice) stop(`libFuzzer needs a C++ compiler: ${advice}.`);
const tool = resolve('target/tools/bin/cargo-fuzz');
if (!existsSync(tool)) run('cargo', ['install', '--locked', 'cargo-fuzz', '--root', 'target/tools']);

const corpus = resolve('target/fuzz-corpus');
run('cargo', ['run', '--release', '--example', 'fuzz_corpus', corpus]);
for (const target of named.length > 0 ? named : targets) {
  const finds = resolve('tests/data/crashes', target);
  mkdirSync(finds, { recursive: true });
  const build = ['-O', '--sanitizer', 'none', '--target-dir', 'target/fuzz', target, `${corpus}/${target}`];
  // The targets watch their memory themselves.
  const limits = ['-timeout=10', '-rss_limit_mb=3072', '-max_len=100000'];
  // Stable Rust instruments code, but has no sanitizers; safe Rust needs none.
  run(tool, ['fuzz', 'run', ...build, '--', `-max_total_time=${seconds}`, `-${runs}`, '-print_final_stats=1', ...limits, `-artifact_prefix=${finds}/`]);
}
