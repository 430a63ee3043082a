// Answers from the network and keeps what it gives, but for weights; where there is no network, from what was kept.
addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('fetch', (event) => {
  const { request } = event;
  const answer = async () => {
    const cache = await caches.open('example');
    try {
      const response = await fetch(request);
      if (response.ok && !request.url.endsWith('.safetensors')) await cache.put(request, response.clone());
      return response;
    } catch {
      return (await cache.match(request)) ?? Response.error();
    }
  };
  event.respondWith(answer());
});
