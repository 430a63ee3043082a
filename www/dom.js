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

/** An element of SVG. */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
