/** `<xception-classifier>`: a place for a photo, and its classes. */

import { Xception } from './index.js';

const STYLE = `
  :host { display: block; font: inherit }
  [part=place] { display: grid; place-items: center; gap: .5em; min-height: 12em; padding: 1em; border: 2px dashed currentColor; border-radius: .75em; cursor: pointer; text-align: center }
  [part=place]:focus-within { outline: 3px solid Highlight; outline-offset: 2px }
  [part=photo] { max-width: 100%; max-height: 20em }
  input { position: absolute; width: 1px; height: 1px; clip-path: inset(50%) }
  [part=status] { min-height: 1.5em; margin: .5em 0 }
  ol { margin: 0; padding: 0; list-style: none }
  li { display: flex; justify-content: space-between; gap: 1em }
`;

/** An element with a part's name, and properties. */
function made(name, part, properties = {}) {
  const element = Object.assign(document.createElement(name), properties);
  if (part) element.setAttribute('part', part);
  return element;
}

// On a server there are no elements: importing this does nothing.
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

export class XceptionClassifierElement extends Base {
  static observedAttributes = ['weights', 'src', 'backend'];
  #photo;
  #status;
  #classes;
  #model;
  #call;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const place = made('label', 'place');
    const input = made('input', '', { type: 'file', accept: 'image/*' });
    input.setAttribute('aria-label', 'Choose a photo');
    const text = made('slot', '', { textContent: 'Drop a photo, or click to choose one' });
    this.#photo = made('img', 'photo', { alt: '', hidden: true });
    this.#status = made('p', 'status');
    this.#status.setAttribute('role', 'status');
    this.#classes = made('ol', 'classes');
    place.append(this.#photo, text, input);
    root.append(place, this.#status, this.#classes);
    input.addEventListener('change', () => {
      this.#take(input.files[0]);
      // Lets the same file be chosen again.
      input.value = '';
    });
    this.addEventListener('dragover', (event) => event.preventDefault());
    this.addEventListener('drop', (event) => {
      event.preventDefault();
      this.#take(event.dataTransfer.files[0]);
    });
    this.addEventListener('paste', (event) => this.#take(event.clipboardData.files[0]));
  }

  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    // Other attributes may be set right behind it.
    if (name === 'src') queueMicrotask(() => this.#take(value));
    else this.#end();
  }

  /** A model that is not used any more is disposed of; moved elsewhere, the element loads it again. */
  disconnectedCallback() {
    this.#end();
  }

  get model() {
    this.#model ??= Xception.load({
      weights: this.getAttribute('weights'),
      backend: this.getAttribute('backend') ?? undefined,
      onProgress: (progress) => {
        this.#say(progress.total ? `Loading: ${Math.round((100 * progress.loaded) / progress.total)} %` : 'Loading…');
        this.#tell('loading', progress);
      },
    });
    return this.#model;
  }

  async classify(image) {
    this.#call?.abort();
    this.#call = new AbortController();
    const { signal } = this.#call;
    const url = typeof image === 'string' ? image : URL.createObjectURL(image);
    Object.assign(this.#photo, { src: url, hidden: false });
    if (url !== image) signal.addEventListener('abort', () => URL.revokeObjectURL(url));
    this.#classes.replaceChildren();
    this.#say('Looking…');
    try {
      const model = await this.model;
      const answer = await model.classify(image, { topK: Number(this.getAttribute('top-k') ?? 5), signal });
      const row = ({ label, score }) => {
        const item = made('li', 'class', { textContent: label.replaceAll('_', ' ') });
        item.append(made('span', 'score', { textContent: `${(100 * score).toFixed(1)} %` }));
        return item;
      };
      this.#classes.replaceChildren(...answer.predictions.map(row));
      this.#say('');
      this.#tell('classified', answer);
      return answer;
    } catch (error) {
      if (!signal.aborted) {
        // The next photo tries to load again.
        if ((await this.#model?.catch(() => error)) === error) this.#model = undefined;
        this.#say(error.message);
        this.#tell('failed', error);
      }
      throw error;
    }
  }

  #take(image) {
    if (image) this.classify(image).catch(() => {});
  }

  #end() {
    this.#call?.abort();
    this.#model?.then((model) => model.dispose()).catch(() => {});
    this.#model = undefined;
  }

  #say(text) {
    this.#status.textContent = text;
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

globalThis.customElements?.define('xception-classifier', XceptionClassifierElement);
