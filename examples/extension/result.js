// The window of an answer: the photo and its classes.
const image = new URLSearchParams(location.search).get('image');
const status = document.getElementById('status');
document.querySelector('img').src = image;

const { predictions, computedBy, error } = await chrome.runtime.sendMessage({ to: 'service-worker', image });
status.textContent = error ?? computedBy;
for (const { label, score } of predictions ?? []) {
  const item = document.createElement('li');
  item.textContent = `${label} ${(100 * score).toFixed(1)} %`;
  document.querySelector('ol').append(item);
}
