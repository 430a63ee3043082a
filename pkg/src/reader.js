/** Reads pieces of bytes, of which the first can be looked at before they are taken. */
export class ByteReader {
  #pieces;
  #ahead = new Uint8Array(0);

  /** Takes any iterator, synchronous or not. */
  constructor(pieces) {
    this.#pieces = pieces;
  }

  /** At least `count` bytes from the start; fewer if the stream ends. */
  async atLeast(length) {
    const pieces = [this.#ahead];
    for (let have = this.#ahead.length; have < length; have += pieces.at(-1).length) {
      const { value, done } = await this.#pieces.next();
      if (done) break;
      pieces.push(value);
    }
    this.#ahead = join(pieces);
    return this.#ahead;
  }

  /** The pieces of everything behind the first `skip` bytes, which were looked at. */
  async *rest(skip = 0) {
    const ahead = this.#ahead.subarray(skip);
    this.#ahead = undefined;
    if (ahead.length > 0) yield ahead;
    yield* this.#pieces;
  }
}

/** The pieces of what lies in memory: anything with a `length` and `slice`. */
export function* slices(bytes) {
  const size = 2 ** 22;
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

function join(pieces) {
  if (pieces.length === 1) return pieces[0];
  const joined = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
