// An Express application behind the mesh: only what mesh.yaml allows reaches it, and its own calls carry the trace of the request they serve.
import { createServer } from 'node:http';
import express from 'express';
import { createMesh } from 'inmesh';

const mesh = await createMesh(new URL('mesh.yaml', import.meta.url).pathname);
await mesh.ready();

const listen = (server, port) => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));

// The upstream: shows the trace header that it got.
const greetings = createServer((request, response) => response.end(`hello, trace ${request.headers.traceparent ?? 'none'}`));
await listen(greetings, 18822);

const app = express();
app.get('/hello/:name', async (request, response) => {
  const upstream = await mesh.fetch('http://greetings/');
  response.send(`${request.params.name}: ${await upstream.text()}`);
});
app.get('/admin', (_request, response) => response.send('never seen from outside'));

// The one line that puts Express behind the mesh; before `listen`, so that no request gets past it.
const server = mesh.http.server(createServer(app));
await listen(server, 18821);

const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
for (const [method, path] of [
  ['GET', '/hello/ana'],
  ['GET', '/hello/nobody'],
  ['GET', '/admin'],
  ['POST', '/hello/ana'],
]) {
  const response = await fetch(`http://127.0.0.1:18821${path}`, { method, headers: { traceparent: trace } });
  console.log(`${method} ${path}: ${response.status} ${await response.text()}`);
}

server.close();
greetings.close();
await mesh.close({ drainMs: 1000 });
