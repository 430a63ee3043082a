let thrown = () => {};

/** Tells `callback` what the compiled code throws, whoever called it: a trap in a microtask has no caller who would know. */
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
  // Objects that a defect left in use cannot be freed, which harms nobody.
  const isCall = (name, value) => typeof value === 'function' && !/^__wbg_.*_free$/.test(name);
  return Object.fromEntries(Object.entries(exports).map(([name, value]) => [name, isCall(name, value) ? watch(value) : value]));
}
