/** Workers of the package's own scripts, on pages with Trusted Types too. */

let policy;

/**
 * Calls `make`, which must be `() => new Worker(new URL('…', import.meta.url), …)`: bundlers find a worker's script by just that. Under Trusted
 * Types its address comes from a policy, so `Worker` is a proxy meanwhile.
 */
export function startWorker(make) {
  const scope = /** @type {any} */ (globalThis);
  const { trustedTypes, Worker } = scope;
  try {
    // Nothing but this function has it, and `make` is for scripts of the package alone.
    policy ??= trustedTypes?.createPolicy('xception-webgpu', { createScriptURL: String });
  } catch {
    // The page does not list it. It need not, where it does not enforce Trusted Types.
  }
  if (!policy) return trustedTypes ? unlisted(make) : make();
  try {
    scope.Worker = new Proxy(Worker, { construct: (_, [url, options]) => new Worker(policy.createScriptURL(url), options) });
    return make();
  } finally {
    scope.Worker = Worker;
  }
}

function unlisted(make) {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new Error("the page's Content-Security-Policy must list xception-webgpu under trusted-types", { cause });
  }
}
