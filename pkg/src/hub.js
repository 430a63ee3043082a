/** Weights in a repository of the Hugging Face hub; fetched only for addresses of the hub. */

import { TUNING } from './cache.js';
import { XceptionError } from './errors.js';

const HUB = 'https://huggingface.co';

/** Files of weights, the kinds that are wanted first in front. */
const KINDS = [/\.safetensors$/i, /\.keras$/i, /\.h5$/i, /\.(pth|pt|bin)$/i, /(^|\/)model\.json$/i];

/** `hf:owner/name`, then `@revision` and `/file` where they are given, as huggingface_hub writes them. */
const ADDRESS = /^hf:(?:\/\/)?([\w.-]+\/[\w.-]+)(?:@([^/]+))?(?:\/(.+))?$/;

/** The URL of the weights at an address, in the commit that its revision names now, and their SHA-256 where the hub tells it. */
export async function resolve(address, signal) {
  const [, repository, revision = 'main', path] = ADDRESS.exec(address) ?? [];
  if (!repository) {
    throw new XceptionError('bad-argument', `${address} is no address of the hub: it must be hf:owner/name, hf:owner/name@revision or hf:owner/name/file`);
  }
  const about = `hf:${repository}`;
  const { sha, gated, siblings = [] } = await ask(repository, revision, signal);
  if (gated) refuse('fetch', `${about} is given only to those who accepted its terms: accept them, download the file, and give that`);
  const names = siblings.map(({ rfilename }) => rfilename);
  const name = path ?? choose(about, names);
  const file = siblings.find(({ rfilename }) => rfilename === name);
  if (!file) refuse('fetch', `${about} has no file ${name} at ${revision}: it has ${some(names)}`);
  const weights = `${HUB}/${repository}/resolve/${sha}/${name.split('/').map(encodeURIComponent).join('/')}`;
  // A TensorFlow.js model is several files.
  return { weights, integrity: KINDS.at(-1).test(name) ? undefined : file.lfs?.sha256 };
}

/** A repository's listing; the last one that was kept, if the hub is out of reach. */
async function ask(repository, revision, signal) {
  const url = `${HUB}/api/models/${repository}/revision/${encodeURIComponent(decoded(revision))}?blobs=true`;
  // Beside the measurements, which are no weights either.
  const kept = await globalThis.caches?.open(TUNING).catch(() => undefined);
  let response;
  try {
    response = await fetch(url, { signal });
  } catch (cause) {
    signal.throwIfAborted();
    response = await kept?.match(url).catch(() => undefined);
    if (!response) throw new XceptionError('fetch', `hf:${repository}: the Hugging Face hub is out of reach`, { cause });
  }
  if (!response.ok) refuse('fetch', `hf:${repository}: ${why(response, revision)}`);
  const told = response.clone();
  try {
    const listing = await response.json();
    await kept?.put(url, told).catch(() => {});
    return listing;
  } catch (cause) {
    signal.throwIfAborted();
    throw new XceptionError('fetch', `hf:${repository}: the hub's answer could not be read`, { cause });
  }
}

/** A revision with a slash, such as a pull request's, is percent-encoded in an address. */
function decoded(revision) {
  try {
    return decodeURIComponent(revision);
  } catch {
    return revision;
  }
}

/** The reason for a refused listing: the hub answers 401 for a private one and for none, and 404 for a revision. */
function why({ status, statusText, headers }, revision) {
  const isRepository = [401, 403].includes(status) || headers.get('x-error-code') === 'RepoNotFound';
  if (isRepository) return 'there is no such repository, or it is private: check the name, or download the file and give that';
  if (status === 404) return `it has no revision ${revision} (any more): give a branch, a tag or a commit that is there`;
  return `the hub answered ${status} ${statusText}`.trim();
}

/** The default file of weights. */
function choose(about, names) {
  const found = KINDS.map((kind) => names.filter((name) => !name.includes('/') && kind.test(name))).find(({ length }) => length) ?? [];
  const name = found.length === 1 ? found[0] : found.find((name) => /^(pytorch_)?model\.\w+$/.test(name));
  if (name) return name;
  if (found.length) refuse('bad-argument', `${about} has several files of weights, ${some(found)}: name one, as in ${about}/${found[0]}`);
  refuse('unsupported-format', `${about} has no file of weights that this project reads: it has ${some(names)}`);
}

function some(names) {
  if (!names.length) return 'no files';
  return names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', ');
}

/** @returns {never} */
function refuse(code, message) {
  throw new XceptionError(code, message);
}
