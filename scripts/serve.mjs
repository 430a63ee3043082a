// Serves the demo on localhost: site/ at /, the package at /pkg/, and models/ at /models/.
import { createServer } from 'node:http';
import sirv from 'sirv';

const folders = { '/pkg': 'pkg', '/models': 'models', '': 'site' };

/** Serves the project's folders, and `more` by their paths. */
export const serve = (port, more = {}) => listen(port, { ...more, ...folders });

/** Starts a server of folders by their paths on the first free port from `port` on (0: any) and returns it with its address. */
export function listen(port, folders) {
  const mounts = Object.entries(folders).map(([prefix, folder]) => [prefix, sirv(folder, { dev: true, etag: true })]);
  const server = createServer((request, response) => {
    const missing = () => response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
    const mount = mounts.find(([prefix]) => request.url.startsWith(`${prefix}/`));
    if (!mount) return missing();
    const [prefix, files] = mount;
    request.url = request.url.slice(prefix.length);
    files(request, response, missing);
  });
  return new Promise((resolve, reject) => {
    server.on('error', (error) => {
      if (error.code === 'EADDRINUSE' && port !== 0) server.listen(++port, '127.0.0.1');
      else reject(error);
    });
    server.on('listening', () => resolve({ server, url: `http://localhost:${server.address().port}/` }));
    server.listen(port, '127.0.0.1');
  });
}
