// The page: a photo that is chosen or dropped, and its classes.
import { Xception } from './xception-webgpu/index.js';

const [status, image, list, input] = ['#status', 'img', 'ol', 'input'].map((selector) => document.querySelector(selector));

// The weights are a file of the application: a second copy in the browser's cache would gain nothing.
const loading = Xception.load({ weights: 'model.safetensors', cache: false });

async function classify(photo) {
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(photo);
  list.replaceChildren();
  status.textContent = 'Looking…';
  try {
    const model = await loading;
    const { predictions } = await model.classify(photo, { topK: 5 });
    const rows = predictions.map(({ label, score }) => Object.assign(document.createElement('li'), { textContent: `${label} ${(100 * score).toFixed(1)} %` }));
    list.replaceChildren(...rows);
    status.textContent = model.info.adapter || model.info.backend;
  } catch ({ message }) {
    status.textContent = message;
  }
}

input.addEventListener('change', () => classify(input.files[0]));
addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) classify(event.dataTransfer.files[0]);
});

loading.then(
  () => {
    status.textContent = 'Choose a photo, or drop one here.';
    input.disabled = false;
  },
  ({ message }) => (status.textContent = message),
);
