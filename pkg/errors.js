/** What goes wrong is one of these; `code` is for programs, `message` for people. */
export class XceptionError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = 'XceptionError';
    this.code = code;
  }

  /** Anything thrown, as an XceptionError. */
  static from(thrown) {
    if (thrown instanceof XceptionError) return thrown;
    if (thrown?.name === 'SecurityError') {
      const message = 'the image comes from another site that does not allow reading it (CORS): save it and open the file';
      return new XceptionError('cors', message, { cause: thrown });
    }
    // A DOMException's code is a number, and not one of ours.
    const own = typeof thrown?.code === 'string' ? thrown.code : 'internal';
    return new XceptionError(own, thrown?.message ?? String(thrown), { cause: thrown });
  }
}
