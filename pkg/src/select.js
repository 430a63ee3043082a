import { XceptionError } from './errors.js';

/** How many classes the GPU has to tell for what a caller chooses, and the choice among them. */
export function select({ topK = 5, threshold = 0, allow, deny }, { classes, labels }) {
  const allowed = allow && indices('allow', allow, classes, labels);
  const denied = deny && indices('deny', deny, classes, labels);
  const choose = (predictions) =>
    predictions.filter(({ index, score }) => score >= threshold && (allowed?.has(index) ?? true) && !denied?.has(index)).slice(0, topK);
  return { count: allow || deny ? classes : Math.min(topK, classes), choose };
}

/** Classes by number or label. */
function indices(option, names, classes, labels) {
  return new Set(
    names.flatMap((name) => {
      if (Number.isInteger(name) && name >= 0 && name < classes) return name;
      // ImageNet has two classes of one name.
      const found = labels.flatMap((label, index) => (label === name ? index : []));
      if (found.length === 0) throw new XceptionError('bad-argument', `${option} names a class that the model has not: ${name}`);
      return found;
    }),
  );
}
