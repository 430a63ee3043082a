export const $ = (id) => document.getElementById(id);

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Says what is going on. */
export function status(text) {
  $('status').textContent = text;
}

/** Writes a sentence, and behind it where to read more. */
export function write(element, { text, link }) {
  element.replaceChildren(text);
  if (link) element.append(' ', Object.assign(document.createElement('a'), { textContent: link[0], href: link[1] }));
}

/** A class's name as people write it: Keras has underscores in place of spaces. */
export const spoken = (label) => label.replaceAll('_', ' ');
