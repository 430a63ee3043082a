// Answers from the cache, and keeps what was fetched: all but the weights, which the package keeps itself.
addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim().then(keep)));

/** The page that registered this was fetched before it. */
async function keep() {
  const cache = await caches.open('example');
  for (const client of await clients.matchAll()) await cache.add(client.url);
}

addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || request.url.endsWith('.safetensors')) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open('example');
      try {
        const response = await fetch(request);
        if (response.ok) await cache.put(request, response.clone());
        return response;
      } catch {
        return (await cache.match(request)) ?? Response.error();
      }
    })(),
  );
});
