// The result view: five bars, the heat map of a class, times, and copy buttons.
import { ROWS, score, strip } from './answer.js';
import { $, spoken } from './dom.js';

/**
 * Shows an answer: predictions as rows, or a picture of features. `explain` is called with the prediction of the row that is pressed, or with
 * nothing when it is released.
 */
export function showAnswer({ output, predictions = [], values }, explain) {
  const rows = predictions.slice(0, ROWS).map((prediction) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('aria-pressed', 'false');
    const [label, amount, bar] = ['label', 'score', 'bar'].map((name) => {
      const span = document.createElement('span');
      span.className = name;
      return span;
    });
    label.textContent = spoken(prediction.label);
    amount.textContent = score(prediction, output);
    button.append(label, amount);
    // A number has no whole that it would be a share of.
    if (output !== 'linear') {
      bar.style.backgroundSize = `${100 * prediction.score}% 100%`;
      button.append(bar);
    }
    button.disabled = !explain;
    button.addEventListener('click', () => {
      const pressed = button.getAttribute('aria-pressed') === 'true';
      press(pressed ? undefined : button);
      explain(pressed ? undefined : prediction);
    });
    item.append(button);
    return item;
  });
  if (values) {
    const item = document.createElement('li');
    item.append(`${values.length} features`, strip(values));
    rows.push(item);
  }
  $('predictions').replaceChildren(...rows);
}

function press(button) {
  for (const other of $('predictions').querySelectorAll('button')) other.setAttribute('aria-pressed', String(other === button));
}

/** Overlays a class activation map on the photo, or removes it. */
export function showHeat(map) {
  const canvas = $('heat');
  canvas.hidden = !map;
  $('opacity').disabled = !map;
  if (!map) {
    press();
    $('why').textContent = 'Choose a class to see its activation map';
    return;
  }
  const { image, region, prediction } = map;
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext('2d').putImageData(new ImageData(image.data, image.width), 0, 0);
  for (const [side, share] of Object.entries({ left: region.x, top: region.y, width: region.width, height: region.height })) {
    canvas.style[side] = `${100 * share}%`;
  }
  $('why').textContent = `Class activation map of ${spoken(prediction.label)}`;
}

/** Milliseconds of each step of a photo, and of the first photo. */
export function showTimings(timings, first) {
  const { decode, preprocess, inference, total } = timings ?? {};
  const cells = $('timings').querySelectorAll('td');
  [decode, preprocess, inference, total, first].forEach((time, i) => (cells[i].textContent = time === undefined ? '–' : `${Math.round(time)} ms`));
}

const CLASSIFY = `const { predictions } = await model.classify(photo, { topK: ${ROWS} });
console.log(predictions[0].label, predictions[0].score);
`;
const PREDICT = `console.log(await model.predict(photo));
`;

/** The copy buttons: the answer as JSON, and the code that computes it. */
export function copyable({ name, output, predictions, values, timings }, { source, info, choices, head }) {
  const { backend, adapter, dtype, inputSize } = info;
  const answer = values ? { features: Array.from(values) } : output === 'linear' ? { values: predictions.map(({ score }) => score) } : { predictions };
  const json = { image: name, model: source.name, ...answer, timings, backend, adapter, dtype, inputSize };
  const weights = source.url ? JSON.stringify(new URL(source.url, location.href).href) : 'file';
  const integrity = source.integrity ? `, integrity: '${source.integrity}'` : '';
  const device = choices.backend === 'auto' ? '' : `, backend: '${choices.backend}'`;
  const [own, taught] = head ? ['backbone', "const model = await backbone.withHead('head.safetensors');\n"] : ['model', ''];
  const code = `import { Xception } from 'xception-webgpu';

const ${own} = await Xception.load({ weights: ${weights}${integrity}${device} });
${taught}${info.classes ? CLASSIFY : PREDICT}`;
  return { json: JSON.stringify(json, null, 2), code };
}

/** Copies text when a button is pressed, and confirms on the button. */
export function copies(id, text) {
  const button = $(id);
  const title = button.textContent;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Copying is not allowed';
    }
    setTimeout(() => (button.textContent = title), 1500);
  });
}
