export const $ = (id) => document.getElementById(id);

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Shows a status message. */
export function status(text) {
  $('status').textContent = text;
}

/** Writes a sentence, followed by its link, if any. */
export function write(element, { text, link }) {
  element.replaceChildren(text);
  if (link) element.append(' ', Object.assign(document.createElement('a'), { textContent: link[0], href: link[1] }));
}

/** The display name of a class: Keras writes underscores for spaces. */
export const spoken = (label) => label.replaceAll('_', ' ');
