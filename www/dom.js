export const $ = (id) => document.getElementById(id);

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Says what is going on. */
export function status(text) {
  $('status').textContent = text;
}

/** A class's name as people write it: Keras has underscores in place of spaces. */
export const spoken = (label) => label.replaceAll('_', ' ');
