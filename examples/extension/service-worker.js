// The menu entry of images. The offscreen document computes; this worker may end at any time, and keeps nothing.
const MENU = 'classify';

chrome.runtime.onInstalled.addListener(() => {
  chrome.contextMenus.create({ id: MENU, title: 'What is this?', contexts: ['image'] });
});

chrome.contextMenus.onClicked.addListener(({ srcUrl }) => {
  chrome.windows.create({ url: `result.html?${new URLSearchParams({ image: srcUrl })}`, type: 'popup', width: 400, height: 560 });
});

/** The check under way: an extension may have one offscreen document, and two clicks must not create two. */
let check;

async function createOffscreen() {
  if (await chrome.offscreen.hasDocument()) return;
  await chrome.offscreen.createDocument({ url: 'offscreen.html', reasons: ['WORKERS'], justification: 'Classifies photos in a worker.' });
}

async function classify(image) {
  check ??= createOffscreen().finally(() => (check = undefined));
  await check;
  return chrome.runtime.sendMessage({ to: 'offscreen', image });
}

chrome.runtime.onMessage.addListener(({ to, image }, _, respond) => {
  if (to !== 'service-worker') return false;
  classify(image).then(respond, ({ message }) => respond({ error: message }));
  return true;
});
