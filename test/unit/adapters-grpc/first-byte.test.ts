/** Connections to a port that takes both TLS and plaintext: who says nothing does not stay. */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { firstByteIsTls } from '../../../src/adapters/grpc/server-tls.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';

async function connection(): Promise<{ client: Socket; server: Socket; clock: FakeClock; said: boolean[] }> {
  // As Node's HTTP/2 servers are.
  const listening = createServer({ allowHalfOpen: true, pauseOnConnect: false });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Socket>((resolve) => listening.once('connection', resolve));
  const client = connect((listening.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined);
  const [server, clock, said]: [Socket, FakeClock, boolean[]] = [await accepted, new FakeClock(), []];
  firstByteIsTls(server, clock, (tls) => void said.push(tls));
  onTestFinished(() => {
    client.destroy();
    server.destroy();
    listening.close();
  });
  return { client, server, clock, said };
}

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()));

test('one that sends nothing is closed after 15 s, not before', async () => {
  const { server, clock, said } = await connection();
  await clock.advance(14_999);
  expect(server.destroyed).toBe(false);
  await clock.advance(1);
  expect([server.destroyed, said]).toEqual([true, []]);
});

test('one that ends without a byte is closed', async () => {
  const { client, server, clock } = await connection();
  const gone = closed(server);
  client.end();
  await gone;
  expect(clock.pending).toBe(0);
});

test('one that has said what it is stays', async () => {
  const { client, server, clock, said } = await connection();
  client.write('P');
  await expect.poll(() => said).toEqual([false]);
  await clock.advance(20_000);
  expect([server.destroyed, clock.pending]).toEqual([false, 0]);
});
