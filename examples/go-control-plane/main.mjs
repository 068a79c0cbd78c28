// An application whose routes come over xDS. Any control plane that serves the listener "web.local" will do; see README.md.
import { createServer } from 'node:http';
import { createMesh } from 'inmesh';

const listen = (name, port) =>
  new Promise((resolve) => {
    const server = createServer((_request, response) => response.end(name));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
const servers = [await listen('v1', 18081), await listen('v2', 18082)];

// Without GRPC_XDS_BOOTSTRAP the bootstrap beside this file counts. `include` says which hosts are asked of the control plane.
const config = process.env.GRPC_XDS_BOOTSTRAP ?? new URL('bootstrap.json', import.meta.url).pathname;
const mesh = await createMesh({ config, include: ['web.local'], startTimeout: 5000 });
try {
  await mesh.ready();
  const { source } = mesh.describe();
  console.log(`${source.name}: ${source.resources.map(({ typeUrl, name }) => `${typeUrl.split('.').at(-1)} ${name}`).join(', ')}`);

  const seen = { v1: 0, v2: 0 };
  for (let i = 0; i < 200; i++) seen[await (await mesh.fetch('http://web.local/')).text()]++;
  console.log(`200 calls: v1 ${seen.v1}, v2 ${seen.v2}`);
  const pinned = await mesh.fetch('http://web.local/', { headers: { 'x-version': 'v2' } });
  console.log(`x-version: v2 gets ${await pinned.text()}`);
} catch (error) {
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await mesh.close();
  for (const server of servers) server.close();
}
