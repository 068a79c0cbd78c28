/**
 * `mtls: strict` and `allow` of one `mesh.yaml`, on both sides of a real call: with certificates of the control plane,
 * as files or as secrets, and with files of `identity`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Certificates } from '../../src/control-plane/certificates.ts';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { silentLogger } from '../../src/core/log.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Mesh } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const yaml = (port: number): string => `version: 1
services:
  reviews: { endpoints: ["127.0.0.1:${port}"], mtls: strict, timeout: 5s }
  impostor: { hosts: [impostor], endpoints: ["127.0.0.1:${port}"], mtls: strict, identity: spiffe://dev/impostor, timeout: 5s }
inbound:
  - { port: ${port}, mtls: strict, allow: [{ from: [spiffe://dev/app], paths: [/ok/**] }] }
`;

type Start = (text: string, identity: string) => Promise<Mesh>;

async function overControlPlane(text: string): Promise<Start> {
  const plane = await ControlPlane.start({ text });
  onTestFinished(() => plane.close());
  return (_text, identity) =>
    createMesh({ bootstrap: plane.bootstrap(identity, identity), include: ['reviews', 'impostor'], logger: silentLogger });
}

const bySecrets =
  (protocol: 'sotw' | 'delta') =>
  async (text: string): Promise<Start> => {
    const plane = await ControlPlane.start({ text, certificates: 'sds' });
    onTestFinished(() => plane.close());
    return (_text, identity) =>
      createMesh({ bootstrap: plane.bootstrap(identity, identity), protocol, include: ['reviews', 'impostor'], logger: silentLogger });
  };

function fromFiles(): Promise<Start> {
  const certificates = new Certificates('dev', new RealClock());
  onTestFinished(() => certificates.close());
  return Promise.resolve((text, identity) => {
    const { certificateFile, privateKeyFile, caCertificateFile } = certificates.files(identity);
    const folder = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'mesh.yaml');
    writeFileSync(file, `${text}identity: { certificate: ${certificateFile}, key: ${privateKeyFile}, ca: ${caCertificateFile} }\n`);
    return createMesh({ config: file, logger: silentLogger });
  });
}

test.each([
  ['over a control plane', overControlPlane],
  ['by secrets', bySecrets('sotw')],
  ['by secrets over delta', bySecrets('delta')],
  ['from files', fromFiles],
] as const)('mutual TLS and access rules, %s', async (_name, prepare) => {
  const port = await freePort();
  const text = yaml(port);
  const start = await prepare(text);
  const open = async (identity: string): Promise<Mesh> => {
    const mesh = await start(text, identity);
    onTestFinished(() => mesh.close({ drainMs: 0 }));
    return mesh;
  };
  const server = (await open('reviews')).http.server(createServer((request, response) => response.end(`hello ${request.url}`)));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });

  const app = await open('app');
  const other = await open('other');
  const get = async (mesh: Mesh, url: string): Promise<readonly [number, string]> => {
    const response = await mesh.fetch(url);
    return [response.status, await response.text()];
  };
  expect(await get(app, 'http://reviews/ok/1')).toEqual([200, 'hello /ok/1']);
  expect((await get(app, 'http://reviews/no'))[0]).toBe(403);
  expect((await get(other, 'http://reviews/ok/1'))[0]).toBe(403);
  // The server proves another identity than the one that is expected.
  expect((await get(app, 'http://impostor/ok/1'))[0]).toBe(503);
  await expect(fetch(`http://127.0.0.1:${port}/ok/1`)).rejects.toThrow();
});
