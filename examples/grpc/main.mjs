// grpc-js client and servers through the mesh: two servers are balanced, a failing one is retried around, a method is refused by the servers.
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { createMesh } from 'inmesh';

const file = (name) => new URL(name, import.meta.url).pathname;
const { Greeter } = grpc.loadPackageDefinition(loadSync(file('greeter.proto'))).example;

const mesh = await createMesh(file('mesh.yaml'));
await mesh.ready();

/** A server of its own port. Its first call fails, as if it had just started. */
async function serve(port) {
  let calls = 0;
  const server = new grpc.Server();
  server.addService(Greeter.service, {
    hello: (call, callback) => {
      calls++;
      if (calls === 1) callback({ code: grpc.status.UNAVAILABLE, details: 'not ready' });
      else callback(null, { text: `hello ${call.request.name}, from ${port}` });
    },
    count: (call) => {
      for (let number = 1; number <= call.request.to; number++) call.write({ number });
      call.end();
    },
    reset: (_call, callback) => callback(null, { text: 'the mesh does not let this happen' }),
  });
  // The mesh's credentials bring the inbound stack of the port with them, and TLS if the listener asks for it.
  await new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, mesh.grpc.serverCredentials(), (error) => (error ? reject(error) : resolve()));
  });
  return server;
}

const servers = [await serve(18831), await serve(18832)];

const client = new Greeter('greeter:50051', grpc.credentials.createInsecure(), mesh.grpc.channelOptions());
const hello = (name) =>
  new Promise((resolve, reject) => client.hello({ name }, (error, reply) => (error ? reject(error) : resolve(reply.text))));

const from = new Map();
for (let i = 0; i < 20; i++) {
  const port = (await hello('ana')).slice(-5);
  from.set(port, (from.get(port) ?? 0) + 1);
}
console.log(`20 calls, all answered: ${from.get('18831')} by 18831, ${from.get('18832')} by 18832`);

const numbers = [];
for await (const { number } of client.count({ to: 3 })) numbers.push(number);
console.log(`stream: ${numbers.join(' ')}`);

client.reset({}, async (error) => {
  console.log(`reset: ${grpc.status[error.code]}`);
  client.close();
  for (const server of servers) server.forceShutdown();
  await mesh.close();
});
