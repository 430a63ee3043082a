// Arbitrary values, and a page that has them.
import { packagePage } from './browser.mjs';
import { browser, url } from './served.mjs';

export const PLACES = { 'on the page': { worker: false }, 'in a worker': { worker: true } };

/** The page of the package with one photo as `blob`, `bytes` and `pixels`, `outcome` and `weird`. */
export async function open() {
  const page = await packagePage(browser, url);
  await page.evaluate(async () => {
    const blob = await (await fetch(cup)).blob();
    const bitmap = await createImageBitmap(blob);
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    Object.assign(globalThis, { blob, bytes: await blob.arrayBuffer(), pixels: { data, width, height } });
    /** The labels of an answer, or the code with which it was refused. */
    globalThis.outcome = (work) => {
      const labels = async () => {
        const answer = await work();
        const predictions = answer.predictions ?? answer.prediction ?? answer.value?.predictions;
        return predictions
          ? [predictions]
              .flat(2)
              .map(({ label }) => label)
              .join(' ')
          : 'right';
      };
      return settled(labels().catch((error) => (error instanceof XceptionError ? error.code : String(error))));
    };
    const throwing = {
      get: () => {
        throw new RangeError('no');
      },
    };
    /** Values as people and frameworks pass them, by a name. */
    globalThis.weird = () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return {
        undefined,
        null: null,
        nan: NaN,
        infinity: Infinity,
        minus: -1,
        zero: 0,
        half: 1.5,
        wrapped: 2 ** 32,
        wrappedOne: 2 ** 32 + 1,
        most: Number.MAX_VALUE,
        empty: '',
        text: 'x',
        digit: '1',
        yes: true,
        no: false,
        symbol: Symbol('s'),
        big: 1n,
        function: () => 1,
        object: {},
        array: [],
        holes: Array(2),
        numbers: [1e9],
        map: new Map([[1, 2]]),
        date: new Date(),
        pattern: /x/,
        promise: Promise.resolve(1),
        element: document.createElement('p'),
        port: new MessageChannel().port1,
        revoked: proxy,
        throwing: new Proxy({}, throwing),
        functionProxy: new Proxy(() => 1, {}),
        textObject: new String('crop'),
        numberObject: new Number(1),
        nothing: Object.create(null),
        buffer: new ArrayBuffer(4),
        weak: new WeakMap(),
      };
    };
  });
  return page;
}
