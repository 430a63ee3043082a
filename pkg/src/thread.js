/** A thread of the CPU; `team.js` leads it. */

import { cpu } from './cpu.js';
import { exchanger } from './exchange.js';

let loader, model, place;

const calls = {
  async load({ header, dtype, wasm, ...rest }) {
    place = rest;
    cpu.source ??= wasm;
    loader = await cpu.call(({ Loader }) => new Loader(header, dtype));
  },
  push: (bytes) => loader.push(bytes),
  finish(shared) {
    model = loader.finish();
    model.join(place.index, place.count, exchanger(shared, place.count));
    postMessage('ready');
  },
  follow: (pixels, end) => model.follow(pixels, end),
};

let turn = Promise.resolve();

addEventListener('message', ({ data: { call, values } }) => {
  turn = turn.then(() => calls[call](...values)).catch((error) => postMessage(error.message));
});
