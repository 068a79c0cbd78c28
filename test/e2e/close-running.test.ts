import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createMesh } from '../../src/index.ts';

test('close() does not wait for a call that never ends: it fails when the time to drain is over', async () => {
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-close-'));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const file = join(folder, 'mesh.yaml');
  writeFileSync(
    file,
    `version: 1\nservices:\n  slow:\n    hosts: [slow]\n    endpoints: [127.0.0.1:${(server.address() as AddressInfo).port}]\n`,
  );
  const mesh = await createMesh(file);
  const started = once(server, 'request');
  const call = mesh.fetch('http://slow/').then(
    (reply) => reply.status,
    (error: unknown) => String(error),
  );
  await started;
  expect(mesh.describe().callsInFlight).toBe(1);
  await mesh.close({ drainMs: 50 });
  await call;
  expect(mesh.describe().callsInFlight).toBe(0);
});

test('a timeout of mesh.yaml ends an HTTP call with 504 and the flag UT', async () => {
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-timeout-'));
  const file = join(folder, 'mesh.yaml');
  writeFileSync(
    file,
    `version: 1\nservices:\n  slow:\n    hosts: [slow]\n    endpoints: [127.0.0.1:${(server.address() as AddressInfo).port}]\n    timeout: 60ms\n`,
  );
  const mesh = await createMesh(file);
  onTestFinished(async () => {
    await mesh.close();
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const reply = await mesh.fetch('http://slow/');
  expect([reply.status, reply.headers.get('x-inmesh-failure')]).toEqual([504, 'UT response_timeout']);
});
