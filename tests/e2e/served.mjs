// A server of the project's files and a browser, for the tests of one file.
import { after } from 'node:test';
import { serve } from '../../scripts/serve.mjs';
import { launch } from './browser.mjs';

export let server, browser, url;

/** Starts both, Chromium with more options, and stops them behind the file's tests. */
export async function serveAndLaunch(...options) {
  ({ server, url } = await serve(0));
  browser = await launch(...options);
  after(async () => {
    await browser.close();
    server.close();
  });
}
