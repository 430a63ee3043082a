// The photos of taught classes, in the browser's own database: they are there again when the page is opened again.

const DATABASE = 'xception-lesson';
/** Photos are written once, their features when a model has looked at them. */
const STORES = ['photos', 'features'];

let opened;

/** The database, or a rejection where the browser has none for this page. */
function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      for (const name of STORES) request.result.createObjectStore(name, { keyPath: 'id' });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Does `work` with the two stores, all of it or nothing; resolves with its requests' results when it is written. */
async function change(work) {
  const transaction = (await database()).transaction(STORES, 'readwrite');
  return new Promise((resolve, reject) => {
    const requests = work(...STORES.map((name) => transaction.objectStore(name)));
    transaction.oncomplete = () => resolve(requests.map(({ result }) => result));
    transaction.onabort = () => reject(transaction.error);
  });
}

/** All photos: `{ id, label, name, blob, features }`. */
export async function all() {
  const [kept, looked] = await change((photos, features) => [photos.getAll(), features.getAll()]);
  const features = new Map(looked.map((photo) => [photo.id, photo.features]));
  return kept.map((photo) => ({ ...photo, features: features.get(photo.id) ?? {} }));
}

/** Keeps new photos. */
export const keep = (added) => change((photos) => added.map(({ id, label, name, blob }) => photos.put({ id, label, name, blob })));

/** Keeps the features of photos. */
export const keepFeatures = (looked) => change((_, features) => looked.map((photo) => features.put({ id: photo.id, features: photo.features })));

export const remove = (gone) => change((...stores) => gone.flatMap(({ id }) => stores.map((store) => store.delete(id))));

export const clear = () => change((...stores) => stores.map((store) => store.clear()));
