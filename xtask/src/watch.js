let thrown = () => {};

/** Reports all exceptions of the compiled code to `callback`: a trap in a microtask has no caller that could catch it. */
export function onThrow(callback) {
  thrown = callback;
}

function watched(exports) {
  const watch =
    (call) =>
    (...values) => {
      try {
        return call(...values);
      } catch (error) {
        thrown(error);
        throw error;
      }
    };
  // Objects in use by a call that trapped cannot be freed.
  const isCall = (name, value) => typeof value === 'function' && !/^__wbg_.*_free$/.test(name);
  return Object.fromEntries(Object.entries(exports).map(([name, value]) => [name, isCall(name, value) ? watch(value) : value]));
}
