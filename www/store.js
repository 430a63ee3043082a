// The photos of taught classes, in the browser's own database: they are there again when the page is opened again.

const [DATABASE, STORE] = ['xception-lesson', 'photos'];

let opened;

/** The database, or a rejection where the browser has none for this page. */
function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'id' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Does `work` with the photos; resolves with its request's result when all is written. */
async function change(work) {
  const transaction = (await database()).transaction(STORE, 'readwrite');
  return new Promise((resolve, reject) => {
    const request = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** All photos: `{ id, label, name, blob, features }`. */
export const all = () => change((photos) => photos.getAll());

/** Keeps a photo, or what has changed of it. */
export const keep = ({ id, label, name, blob, features }) => change((photos) => photos.put({ id, label, name, blob, features }));

export const remove = (id) => change((photos) => photos.delete(id));

export const clear = () => change((photos) => photos.clear());
