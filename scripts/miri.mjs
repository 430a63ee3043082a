// npm run miri: the unsafe code of the CPU's kernels and threads by Miri, which knows what is undefined: the tests of threads, and the smallest cases of each
// operation. Five minutes.
import { has, run, stop } from './shell.mjs';

if (!has('rustup')) stop('Miri is a part of nightly Rust, which rustup installs: get it from https://rustup.rs, then try again.');
run('rustup', ['toolchain', 'install', 'nightly', '--profile', 'minimal', '--component', 'miri', '--component', 'rust-src']);
// Buffers of a lost thread are leaked.
const env = { ...process.env, CARGO_TARGET_DIR: 'target/miri', MIRIFLAGS: '-Zmiri-ignore-leaks' };
const miri = (...args) => run('cargo', ['+nightly', 'miri', 'test', '--no-default-features', '--features', 'cpu,formats', ...args], { env });
miri('--lib', 'threads::');
miri('--test', 'cpu', 'operations_agree');
