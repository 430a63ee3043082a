// The photos of classes that are taught: kept in the browser, and looked at by the model as they come.
import * as store from './store.js';

/** How many photos go through the network at a time. */
const TOGETHER = 8;

export class Lesson {
  /** Photos: `{ id, label, name, blob, features }`, where `features` has those of each model that looked at them. */
  photos = [];
  /** Classes that have no photo yet. */
  #empty = new Set();
  /** Why photos are not kept, if they are not. */
  problem;
  #looking = Promise.resolve();

  /** The lesson that was kept. */
  static async open() {
    const lesson = new Lesson();
    await lesson.#kept(async () => (lesson.photos = await store.all()));
    return lesson;
  }

  /** The names of classes, in order. */
  get labels() {
    return [...new Set([...this.#empty, ...this.photos.map(({ label }) => label)])].sort();
  }

  /** The photos of a class, in the order of their names, which is that of `xception learn`. */
  of(label) {
    return this.photos.filter((photo) => photo.label === label).sort((one, other) => (one.name < other.name ? -1 : Number(one.name > other.name)));
  }

  /** All photos, class by class. */
  get inOrder() {
    return this.labels.flatMap((label) => this.of(label));
  }

  /** What photos and their features take, in bytes. */
  get bytes() {
    const length = ({ features }) => Object.values(features).reduce((sum, values) => sum + values.byteLength, 0);
    return this.photos.reduce((sum, photo) => sum + photo.blob.size + length(photo), 0);
  }

  addClass(label) {
    this.#empty.add(label);
  }

  /** Adds photos, each `{ label, blob, name }`: they are there at once, and kept when this resolves. */
  async add(photos) {
    const added = photos.map((photo) => ({ id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, ...photo, features: {} }));
    this.photos.push(...added);
    await this.#kept(() => store.keep(added));
  }

  async remove(...gone) {
    this.photos = this.photos.filter((photo) => !gone.includes(photo));
    await this.#kept(() => store.remove(gone));
  }

  async removeClass(label) {
    this.#empty.delete(label);
    await this.remove(...this.of(label));
  }

  async clear() {
    this.#empty.clear();
    this.photos = [];
    await this.#kept(store.clear);
  }

  /** Photos that a model has not looked at. */
  unseen(info) {
    return this.inOrder.filter((photo) => !photo.features[keyOf(info)]);
  }

  /**
   * Lets a model look at photos that it has not seen, after those that it looks at already. `told` gets each photo that is none, with the error;
   * it is removed.
   */
  look(model, told, onProgress) {
    const key = keyOf(model.info);
    const see = async (photos) => {
      try {
        const features = await model.embedBatch(photos.map(({ blob }) => blob));
        for (const [index, photo] of photos.entries()) photo.features[key] = features[index];
        const there = photos.filter((photo) => this.photos.includes(photo));
        await this.#kept(() => store.keepFeatures(there));
      } catch (error) {
        if (!['decode', 'too-large'].includes(error.code)) throw error;
        if (photos.length > 1) {
          for (const photo of photos) await see([photo]);
          return;
        }
        await this.remove(photos[0]);
        told(photos[0], error);
      }
    };
    const all = async () => {
      for (;;) {
        const unseen = this.unseen(model.info);
        onProgress(unseen.length);
        if (!unseen.length) return;
        await see(unseen.slice(0, TOGETHER));
      }
    };
    const looked = this.#looking.then(all);
    this.#looking = looked.catch(() => {});
    return looked;
  }

  /** Examples for a model's `learn`; with `flip` it looks at them again, and at their mirror images. */
  examples(info, flip) {
    const key = keyOf(info);
    return this.inOrder.map(({ label, name, blob, features }) => {
      const image = blob instanceof File ? blob : new File([blob], name);
      return { label, image, features: flip ? undefined : features[key] };
    });
  }

  /** The browser may keep nothing: the lesson goes on without. */
  async #kept(work) {
    try {
      await work();
    } catch (error) {
      this.problem = error?.message || 'this browser keeps nothing of this page';
    }
  }
}

/** What features depend on. */
const keyOf = ({ source, backend, dtype, inputSize }) => [source.sha256, backend, dtype, ...inputSize].join();
