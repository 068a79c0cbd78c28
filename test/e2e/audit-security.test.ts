/**
 * Mutual TLS over xDS as a whole (issue 3 §5): certificates inside the resources, and certificates on disk that change under load, for
 * fetch and gRPC at once.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { expect, onTestFinished, test } from 'vitest';
import type { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { Mesh } from '../../src/index.ts';
import type { EchoStub } from '../support/echo-grpc.ts';
import { echoStub, startEcho, unary } from '../support/echo-grpc.ts';
import { track, until } from '../support/http-servers.ts';
import { expectIdle, freePort, meshOver, planeOf, rawGet } from '../support/mesh-app.ts';

interface World {
  readonly plane: ControlPlane;
  readonly web: number;
  readonly mesh: Mesh;
  readonly stub: EchoStub;
  /** Serial numbers of the certificates that HTTP callers have shown. */
  readonly shown: ReadonlySet<string>;
}

async function world(certificates: 'provider' | 'inline'): Promise<World> {
  const [web, rpc] = [await freePort(), await freePort()];
  const strict = 'mtls: strict, identity: spiffe://dev/server';
  const inbound = (port: number): string => `{ port: ${port}, mtls: strict, allow: [{ from: [spiffe://dev/app] }] }`;
  const plane = await planeOf(
    `version: 1
services:
  shop: { endpoints: ["127.0.0.1:${web}"], ${strict} }
  echo: { endpoints: ["127.0.0.1:${rpc}"], protocol: grpc, ${strict} }
inbound: [${inbound(web)}, ${inbound(rpc)}]
`,
    { certificates },
  );
  const serving = await meshOver(plane, [], 'server');
  const shown = new Set<string>();
  const server = createServer((request, response) => {
    shown.add((request.socket as TLSSocket).getPeerCertificate().serialNumber);
    response.end(serving.http.peerOf(request)?.tls?.uriSans.join());
  });
  // Many connections, so that new certificates are needed.
  server.maxRequestsPerSocket = 5;
  track(server);
  serving.http.server(server);
  await new Promise<void>((resolve) => server.listen(web, '127.0.0.1', resolve));
  const echo = await startEcho({ interceptors: serving.grpc.serverInterceptors() }, serving.grpc.serverCredentials(), rpc);
  onTestFinished(() => echo.close());
  const mesh = await meshOver(plane, ['shop', 'echo'], 'app');
  await mesh.ready();
  const stub = echoStub('xds:///echo', mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
  onTestFinished(() => stub.close());
  return { plane, web, mesh, stub, shown };
}

async function both(mesh: Mesh, stub: EchoStub): Promise<string> {
  const [response, reply] = await Promise.all([mesh.fetch('http://shop/'), unary(stub, 'hi')]);
  return `${response.status} ${await response.text()} ${reply.code} ${reply.code === 0 ? reply.value : reply.details}`;
}

test('inline certificates, on both sides of fetch and gRPC', async () => {
  const { plane, web, mesh, stub } = await world('inline');
  expect(await both(mesh, stub)).toBe('200 spiffe://dev/app 0 hi');
  // Negative controls: another identity is let in by TLS and refused by the rules; nobody is served without TLS.
  const other = await meshOver(plane, ['shop'], 'other');
  expect((await other.fetch('http://shop/')).status).toBe(403);
  await expect(rawGet(web)).rejects.toThrow();
  expect(plane.nacks).toEqual([]);
});

test.each(['provider', 'inline'] as const)(
  '%s: certificates change on both sides under load: the new ones are used, and no call fails',
  async (from) => {
    const { plane, mesh, stub, shown } = await world(from);
    const failed: string[] = [];
    let [running, calls] = [true, 0];
    onTestFinished(() => void (running = false));
    const caller = async (): Promise<void> => {
      while (running) {
        const got = await both(mesh, stub).catch((error: unknown) => String(error));
        calls++;
        if (got !== '200 spiffe://dev/app 0 hi') failed.push(got);
      }
    };
    const callers = [caller(), caller()];
    for (let round = 1; round <= 3; round++) {
      plane.rotate('app');
      plane.rotate('server');
      const pem =
        from === 'inline'
          ? plane.certificates.inline('app').certificateChainPem
          : readFileSync(plane.certificates.files('app').certificateFile, 'utf8');
      const { serialNumber } = new X509Certificate(pem);
      await until(() => shown.has(serialNumber), 8000);
      const before = calls;
      await until(() => calls > before + 10);
    }
    running = false;
    await Promise.all(callers);
    expect(failed).toEqual([]);
    expect(shown.size).toBeGreaterThanOrEqual(4);
    expectIdle(mesh);
  },
);
