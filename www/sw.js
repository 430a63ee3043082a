// Service worker: caches the page and the package for offline use; the package caches weights itself. The build fills in
// FILES: the page's files by their hashed names, and VERSION.
const PAGE = `page-${VERSION}`;
/** Files of this version that are fetched on demand, such as the second wasm module. */
const MORE = `more-${VERSION}`;

addEventListener('install', (event) => {
  skipWaiting();
  // The HTTP cache may hold an older page.
  const fresh = FILES.map((file) => new Request(file, { cache: 'no-cache' }));
  // The model list that this visit read before there was a service worker; a host may have none.
  const list = async () => (await caches.open(MORE)).add('models/index.json').catch(() => {});
  event.waitUntil(Promise.all([caches.open(PAGE).then((cache) => cache.addAll(fresh)), list()]));
});

addEventListener('activate', (event) => {
  const old = async () => {
    const names = await caches.keys();
    // The first versions had one cache for all, called `more`.
    const ours = names.filter((name) => /^(page-|more-|more$)/.test(name) && ![PAGE, MORE].includes(name));
    await Promise.all(ours.map((name) => caches.delete(name)));
    await clients.claim();
  };
  event.waitUntil(old());
});

/** Network first, cached without the query; from the cache if the network fails. */
async function online(request) {
  try {
    const response = await fetch(request);
    const key = new Request(request.url.replace(/[?#].*/, ''), { headers: request.headers });
    if (response.ok) await (await caches.open(MORE)).put(key, response.clone());
    return response;
  } catch {
    return (await caches.match(request, { ignoreSearch: true })) ?? Response.error();
  }
}

addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  // Weights and other sites' photos are not handled here.
  if (request.method !== 'GET' || origin !== location.origin || pathname.endsWith('.safetensors')) return;
  const isPage = request.mode === 'navigate' || pathname.endsWith('/index.json');
  const kept = caches.match(request, { ignoreSearch: true });
  event.respondWith(isPage ? online(request) : kept.then((response) => response ?? online(request)));
});
