/** React: a model that components share, and the classes of an image. React is the caller's. */

import { useEffect, useState } from 'react';
import { Xception } from './index.js';

/** Milliseconds for which a model stays that no component uses: React mounts components twice in StrictMode. */
const LINGER = 1000;

/** Shared models by their options. */
const models = new Map();
/** A number for each object among options. */
const numbers = new WeakMap();
let last = 0;

/** A key that is equal for equal options; functions and signals are no part of it. */
function keyOf(options) {
  const plain = (_, value) => {
    if (typeof value === 'function' || value instanceof AbortSignal) return undefined;
    if (Object(value) !== value || Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype) return value;
    if (!numbers.has(value)) numbers.set(value, ++last);
    return `object ${numbers.get(value)}`;
  };
  return JSON.stringify(options, plain);
}

/** The shared model of these options, which begins to load. */
function shared(options) {
  const key = keyOf(options);
  const known = models.get(key);
  if (known) return known;
  const ended = new AbortController();
  const listeners = new Set();
  const onProgress = (progress) => {
    for (const listener of listeners) listener(progress);
  };
  const promise = Xception.load({ ...options, onProgress, signal: ended.signal });
  const forget = () => models.get(key) === entry && models.delete(key);
  const end = () => {
    forget();
    ended.abort();
    promise.then((model) => model.dispose()).catch(() => {});
  };
  const entry = { users: 0, listeners, promise, end };
  promise.then(
    (model) => {
      entry.model = model;
      // A component that waited for it may be gone.
      if (!entry.users) entry.timer = setTimeout(end, LINGER);
    },
    (error) => {
      entry.error = error;
      // Those that wait get it; who comes later tries again.
      setTimeout(forget, LINGER);
    },
  );
  models.set(key, entry);
  return entry;
}

/** Counts a component as user of a model; the function that ends that. */
function use(entry) {
  entry.users++;
  clearTimeout(entry.timer);
  return () => {
    if (--entry.users === 0) entry.timer = setTimeout(entry.end, LINGER);
  };
}

export function useXception(options) {
  const key = options ? keyOf(options) : undefined;
  const [state, setState] = useState(/** @type {Record<string, unknown>} */ ({}));
  // The options of the first render with this key are used: others are equal.
  useEffect(() => {
    if (!options) return undefined;
    const entry = shared(options);
    let isCurrent = true;
    const tell = (change) => isCurrent && setState((state) => ({ ...(state.key === key ? state : { key }), ...change }));
    const listener = (progress) => tell({ progress });
    entry.listeners.add(listener);
    entry.promise.then(
      (model) => tell({ model, error: undefined }),
      (error) => tell({ error }),
    );
    const leave = use(entry);
    return () => {
      isCurrent = false;
      entry.listeners.delete(listener);
      leave();
    };
  }, [key]);
  // Other options' state is not shown.
  const { model, error, progress } = state.key === key ? state : {};
  return { model, error, progress };
}

export function useSuspendedXception(options) {
  const entry = shared(options);
  useEffect(() => use(entry), [entry]);
  if (entry.error) throw entry.error;
  if (!entry.model) throw entry.promise;
  return entry.model;
}

export function useClassification(model, image, options) {
  const key = options ? keyOf(options) : '';
  const [state, setState] = useState(/** @type {Record<string, unknown>} */ ({}));
  useEffect(() => {
    if (!model || !image) return undefined;
    const ended = new AbortController();
    const tell = (change) => ended.signal.aborted || setState({ model, image, key, ...change });
    model.classify(image, { ...options, signal: ended.signal }).then(tell, (error) => tell({ error }));
    return () => ended.abort();
  }, [model, image, key]);
  const isCurrent = state.model === model && state.image === image && state.key === key;
  const { predictions, timings, error } = isCurrent ? state : {};
  return { predictions, timings, error, isPending: Boolean(model && image && !predictions && !error) };
}
