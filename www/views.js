// Views: parts of the page, each with an address of its own, as `#/teach`.
const views = [...document.querySelectorAll('[data-view]')];
const links = [...document.querySelectorAll('nav a')];
const { title } = document;

/** The view that the address names; the first for any other address. */
const named = () => views.find(({ dataset }) => location.hash === `#/${dataset.view}`) ?? views[0];

/** Shows the view of the address, now and whenever it changes; `onShow` is called with its name. */
export function start(onShow) {
  const show = () => {
    const view = named();
    for (const other of views) other.hidden = other !== view;
    for (const link of links) link.setAttribute('aria-current', link.hash === `#/${view.dataset.view}` ? 'page' : 'false');
    document.title = view === views[0] ? title : `${view.querySelector('h2').textContent} – ${title}`;
    onShow(view.dataset.view);
  };
  show();
  addEventListener('hashchange', async () => {
    // The same view under another address.
    if (!named().hidden) return;
    const still = !document.startViewTransition || matchMedia('(prefers-reduced-motion: reduce)').matches;
    await (still ? show() : document.startViewTransition(show).updateCallbackDone);
    scrollTo(0, 0);
    named().querySelector('h2').focus({ preventScroll: true });
  });
}

/** The name of the view that the address names. */
export const name = () => named().dataset.view;

/** Goes to a view. */
export function go(view) {
  if (name() !== view) location.hash = `#/${view}`;
}
