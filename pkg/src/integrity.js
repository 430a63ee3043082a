import { sha256 } from '@noble/hashes/sha2.js';
import { XceptionError } from './errors.js';

/** The SHA-256 that a file must have: `sha256-` and base64, as in HTML's `integrity`, or 64 hex digits. */
export class Integrity {
  #text;
  /** The same as lower-case hex digits. */
  hex;

  constructor(text) {
    const [, base64, hex] = /^(?:sha256-([A-Za-z0-9+/]{43}=)|([0-9A-Fa-f]{64}))$/.exec(text) ?? [];
    if (!base64 && !hex) {
      const message = 'integrity must be "sha256-" and 44 characters of base64, or the 64 hex digits that sha256sum prints';
      throw new XceptionError('bad-argument', message);
    }
    this.#text = String(text);
    this.hex = hex?.toLowerCase() ?? toHex(Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)));
  }

  /** The hash of nothing yet, which takes bytes as they come. */
  hash() {
    return sha256.create();
  }

  /** Throws where a file's digest is another one. */
  check(digest) {
    const hex = toHex(digest);
    if (hex === this.hex) return;
    const actual = this.#text.startsWith('sha256-') ? `sha256-${btoa(String.fromCharCode(...digest))}` : hex;
    throw new XceptionError('integrity', `the weights are not the expected ones: their hash is ${actual}, not ${this.#text}`);
  }
}

function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
