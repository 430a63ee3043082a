// Answers from the network, and from what the page kept where there is none.
addEventListener('fetch', (event) => {
  const answer = async () => (await caches.match(event.request)) ?? Response.error();
  event.respondWith(fetch(event.request).catch(answer));
});
