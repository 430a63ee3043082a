// The answer of any model: classes with probabilities, numbers, or features.
import { spoken } from './dom.js';

const number = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 });
const percent = new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** The most rows of an answer. */
export const ROWS = 5;

/** Answers a photo: its predictions and times; numbers are predictions whose score is the number, features are `values`. */
export async function answer(model, photo, options) {
  const { output, labels } = model.info;
  if (model.info.classes) return { output, ...(await model.classify(photo, { topK: ROWS, ...options })) };
  const began = performance.now();
  const values = await model.predict(photo, options);
  const timings = { total: performance.now() - began };
  if (output === 'features') return { output, predictions: [], values, timings };
  const predictions = Array.from(values, (score, index) => ({ index, label: labels[index] ?? `output ${index}`, score }));
  return { output, predictions, timings };
}

/** The text of a score: a probability or a number. */
export const score = ({ score }, output) => (output === 'linear' ? number.format(score) : percent.format(score));

/** An answer in a few words. */
export function summary({ output, predictions, values }) {
  if (values) return `${values.length} features`;
  const [first] = predictions;
  return output === 'linear'
    ? predictions
        .slice(0, ROWS)
        .map((one) => score(one, output))
        .join(', ')
    : spoken(first.label);
}

/** A picture of features: a square for each, row by row, the larger the darker. */
export function strip(values) {
  const width = Math.ceil(Math.sqrt(2 * values.length));
  const height = Math.ceil(values.length / width);
  const canvas = Object.assign(document.createElement('canvas'), { width, height, className: 'strip' });
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const image = new ImageData(width, height);
  // Teal, as the bars; negative ones brown.
  values.forEach((value, index) => {
    const [red, green, blue] = value < 0 ? [150, 90, 30] : [11, 107, 98];
    image.data.set([red, green, blue, 255 * Math.sqrt(Math.abs(value) / largest)], 4 * index);
  });
  canvas.getContext('2d').putImageData(image, 0, 0);
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `${values.length} features, from 0 to ${number.format(largest)}`);
  return canvas;
}
