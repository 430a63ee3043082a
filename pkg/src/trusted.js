/** Workers of the package's own scripts, on pages with Trusted Types and from other origins too. */

let policy;

/**
 * Calls `make`, which must be `() => new Worker(new URL('…', import.meta.url), …)`: bundlers find a worker's script by just that. `Worker` is a proxy
 * meanwhile: a script of another origin, such as a CDN's, is imported by one of this origin; under Trusted Types the address comes from a policy.
 */
export function startWorker(make) {
  const scope = /** @type {any} */ (globalThis);
  const { trustedTypes, Worker, origin } = scope;
  try {
    // Nothing but this function has it, and `make` is for scripts of the package alone.
    policy ??= trustedTypes?.createPolicy('xception-webgpu', { createScriptURL: String });
  } catch {
    // The page does not list it. It need not, where it does not enforce Trusted Types.
  }
  const construct = (_, [url, options]) => {
    let address = url;
    const { href, origin: its } = new URL(url, scope.location?.href);
    if (/^http/.test(href) && its !== origin) address = URL.createObjectURL(new Blob([`import ${JSON.stringify(href)}`], { type: 'text/javascript' }));
    try {
      return new Worker(policy ? policy.createScriptURL(address) : address, options);
    } catch (cause) {
      if (!(trustedTypes && !policy && cause instanceof TypeError)) throw cause;
      throw new Error("the page's Content-Security-Policy must list xception-webgpu under trusted-types", { cause });
    }
  };
  try {
    scope.Worker = new Proxy(Worker, { construct });
    return make();
  } finally {
    scope.Worker = Worker;
  }
}
