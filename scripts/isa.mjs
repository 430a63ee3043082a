// npm run isa: registers, spills and inner loops of the shaders on AMD GPUs that are not here; options go on to `cargo xtask isa`. Mesa's driver, whose
// hardware may be missing, is unpacked from Debian's packages into target/isa; the system stays as it is.
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { has, run, stop } from './shell.mjs';

const FOLDER = 'target/isa';
const SUITE = 'bookworm';

/** Packages of the driver and its libraries, but for C's, by suite. */
const PACKAGES = {
  [SUITE]:
    'libvulkan1 libllvm15 libxcb-dri3-0 libxcb-present0 libxcb-randr0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxcb1 libxau6 libxdmcp6 libx11-xcb1 libxshmfence1 libwayland-client0 libelf1 libz3-4 libedit2 libbsd0 libmd0 libxml2 libicu72 libx11-6 libzstd1',
  [`${SUITE}-backports`]: 'mesa-vulkan-drivers libdrm2 libdrm-amdgpu1 libdrm-intel1 libdrm-radeon1',
};

/** The mirror that this machine's Debian uses. */
function mirror() {
  for (const file of ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']) {
    const found = existsSync(file) && /^(?:URIs:|deb)\s+(?:\[[^\]]*\]\s+)?(\S+)/m.exec(readFileSync(file, 'utf8'));
    if (found) return found[1];
  }
  stop('No mirror of Debian is in /etc/apt: unpack Mesa 24 or newer by hand, and choose its driver by VK_ICD_FILENAMES.');
}

function fetchDriver() {
  if (!has('apt-get') || !has('dpkg')) {
    stop('AMD’s driver is fetched from Debian’s packages, which takes apt-get and dpkg. Elsewhere choose Mesa 24 or newer by VK_ICD_FILENAMES.');
  }
  const folder = resolve(FOLDER);
  const at = (name) => join(folder, name);
  for (const name of ['lists/partial', 'cache/archives/partial', 'packages', 'root']) mkdirSync(at(name), { recursive: true });
  const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const from = mirror();
  writeFileSync(
    at('sources.list'),
    Object.keys(PACKAGES)
      .map((suite) => `deb [signed-by=${key}] ${from} ${suite} main\n`)
      .join(''),
  );
  const settings = {
    'Dir::Etc::sourcelist': at('sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::Lists': at('lists'),
    'Dir::Cache': at('cache'),
    'APT::Sandbox::User': 'root',
  };
  const options = ['-qq', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  run('apt-get', [...options, 'update']);
  const named = Object.entries(PACKAGES).flatMap(([suite, names]) => names.split(' ').map((name) => `${name}/${suite}`));
  run('apt-get', [...options, 'download', ...named], { cwd: at('packages') });
  for (const name of readdirSync(at('packages'))) run('dpkg', ['-x', join(at('packages'), name), at('root')]);
  symlinkSync(at('root/usr/lib/x86_64-linux-gnu'), at('lib'));
  const library = at('lib/libvulkan_radeon.so');
  writeFileSync(at('amd.json'), JSON.stringify({ file_format_version: '1.0.0', ICD: { library_path: library, api_version: '1.4.0' } }));
}

if (!process.env.VK_ICD_FILENAMES && !existsSync(`${FOLDER}/amd.json`)) fetchDriver();
run('cargo', ['xtask', 'isa', ...process.argv.slice(2)]);
