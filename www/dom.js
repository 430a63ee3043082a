export const $ = (id) => document.getElementById(id);

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Says what is going on. */
export function status(text) {
  $('status').textContent = text;
}
