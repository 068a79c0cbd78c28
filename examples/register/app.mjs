// An application that knows nothing of inmesh: `--import inmesh/register` meshes its global fetch.
import { createServer } from 'node:http';

const server = createServer((request, response) => response.end(`users server: ${request.method} ${request.url}`));
await new Promise((resolve) => server.listen(18841, '127.0.0.1', resolve));

const outside = await fetch('http://127.0.0.1:18841/direct');
console.log(`a host outside the mesh: ${await outside.text()}`);

try {
  const reply = await fetch('http://users/old/7');
  console.log(`http://users/old/7: ${reply.status} ${await reply.text()}`);
} catch (error) {
  console.log(`http://users/old/7: ${error.message} (no mesh, so nobody knows where "users" is)`);
}
server.close();
