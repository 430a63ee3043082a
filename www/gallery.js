// Several photos at once: a row of thumbnails, each with its top class; one photo is shown large.
import { summary } from './answer.js';
import { $ } from './dom.js';

export class Gallery {
  photos = [];
  #abort = new AbortController();
  #onChoose;

  constructor(onChoose) {
    this.#onChoose = onChoose;
  }

  /** Replaces the photos. Work on the previous ones is aborted. */
  replace(photos) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.photos.forEach(({ url }) => URL.revokeObjectURL(url));
    this.photos = photos.map((photo) => ({ ...photo, url: URL.createObjectURL(photo.blob), signal: this.#abort.signal }));
    $('gallery').hidden = photos.length < 2;
    $('gallery').replaceChildren(...(photos.length < 2 ? [] : this.photos.map((photo) => this.#item(photo))));
    return this.photos;
  }

  /** Shows the result of a photo. */
  update(photo) {
    if (!photo.item) return;
    photo.item.querySelector('span').textContent = photo.failed ? 'no answer' : summary(photo);
  }

  #item(photo) {
    photo.item = document.createElement('li');
    const button = Object.assign(document.createElement('button'), { type: 'button' });
    const image = Object.assign(new Image(88, 88), { src: photo.url, alt: photo.name });
    button.append(image, Object.assign(document.createElement('span'), { textContent: '…' }));
    button.addEventListener('click', () => this.#onChoose(photo));
    photo.item.append(button);
    return photo.item;
  }
}
