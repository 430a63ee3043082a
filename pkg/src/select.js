import { XceptionError } from './errors.js';

/** How many classes the GPU has to tell for what a caller chooses, and the choice among them. */
export function select({ topK = 5, threshold = 0, allow, deny }, { classes, labels }) {
  if (!Number.isInteger(topK) || topK < 1) throw new XceptionError('bad-argument', 'topK must be an integer of at least 1');
  if (!(threshold >= 0 && threshold <= 1)) throw new XceptionError('bad-argument', 'threshold must be a probability, 0 to 1');
  const allowed = allow && indices('allow', allow, classes, labels);
  const denied = deny && indices('deny', deny, classes, labels);
  const choose = (predictions) =>
    predictions
      .filter(({ index, score }) => score >= threshold && (allowed?.has(index) ?? true) && !denied?.has(index))
      .slice(0, topK);
  return { count: allow || deny ? classes : topK, choose };
}

/** Classes by number or label. */
function indices(option, names, classes, labels) {
  if (!names[Symbol.iterator] || typeof names === 'string') throw new XceptionError('bad-argument', `${option} must be an array of labels or numbers`);
  return new Set(
    [...names].flatMap((name) => {
      if (Number.isInteger(name) && name >= 0 && name < classes) return name;
      // ImageNet has two classes of one name.
      const found = labels.flatMap((label, index) => (label === name ? index : []));
      if (found.length === 0) throw new XceptionError('bad-argument', `${option} names a class that the model has not: ${name}`);
      return found;
    }),
  );
}
