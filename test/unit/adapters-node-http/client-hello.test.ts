/** ClientHello: read from what real clients send; never a throw on anything else. */
import { createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { helloLength, readClientHello } from '../../../src/adapters/node-http/client-hello.ts';
import { listen, track } from '../../support/http-servers.ts';

async function hello(options: object): Promise<Buffer> {
  const server = createServer();
  const received = new Promise<Buffer>((resolve) => server.on('connection', (one) => one.once('data', resolve)));
  track(server);
  const socket = connectTls({ port: await listen(server), host: '127.0.0.1', ...options });
  socket.on('error', () => undefined);
  const bytes = await received;
  socket.destroy();
  return bytes;
}

test.each([
  [{ servername: 'shop.example' }, { serverName: 'shop.example', applicationProtocols: [] }],
  [
    { servername: 'shop', ALPNProtocols: ['h2', 'http/1.1'] },
    { serverName: 'shop', applicationProtocols: ['h2', 'http/1.1'] },
  ],
  [{ maxVersion: 'TLSv1.2' }, { serverName: undefined, applicationProtocols: [] }],
])('%j', async (options, expected) => {
  const bytes = await hello(options);
  expect(helloLength(bytes)).toBe(bytes.length);
  expect(readClientHello(bytes)).toEqual(expected);
});

test('cut or changed anywhere it gives a value, never a throw', async () => {
  const whole = await hello({ servername: 'shop', ALPNProtocols: ['h2'] });
  fc.assert(
    fc.property(fc.nat(whole.length), fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 5 }), (length, changes) => {
      const bytes = Buffer.from(whole.subarray(0, length));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      const read = readClientHello(bytes);
      expect(Array.isArray(read.applicationProtocols)).toBe(true);
      expect(helloLength(bytes)).toBeLessThanOrEqual(16_389);
    }),
  );
});
