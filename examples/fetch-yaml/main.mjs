// fetch through the mesh, configured by mesh.yaml: a header route, a 90/10 split, and retries around a server that fails now and then.
import { createServer } from 'node:http';
import { createMesh } from 'inmesh';

/** A version of the service `reviews`. Every `failEvery`-th request gets a 503. */
async function reviews(version, port, failEvery) {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests++;
    response.statusCode = requests % failEvery === 0 ? 503 : 200;
    response.end(version);
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { server, count: () => requests };
}

const v1 = await reviews('v1', 18811, 5);
const v2 = await reviews('v2', 18812, Infinity);

const mesh = await createMesh(new URL('mesh.yaml', import.meta.url).pathname);
await mesh.ready();

const calls = 200;
const seen = { v1: 0, v2: 0 };
let failed = 0;
for (let i = 0; i < calls; i++) {
  const response = await mesh.fetch('http://reviews/reviews/7');
  const version = await response.text();
  if (response.ok) seen[version]++;
  else failed++;
}
const requests = v1.count() + v2.count();
console.log(
  `${calls} calls: v1 ${seen.v1}, v2 ${seen.v2}, failed ${failed}; the servers saw ${requests} requests, ${requests - calls} of them retries`,
);

const ana = await mesh.fetch('http://reviews/reviews/7', { headers: { 'x-user': 'ana' } });
console.log(`ana gets ${await ana.text()}`);

const lost = await mesh.fetch('http://reviews/elsewhere');
console.log(`/elsewhere: ${lost.status}, ${lost.headers.get('x-inmesh-failure')}: ${await lost.text()}`);

await mesh.close();
v1.server.close();
v2.server.close();
