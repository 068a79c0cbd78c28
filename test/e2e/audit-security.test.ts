/**
 * Mutual TLS over xDS as a whole (issue 3 §5): certificates inside the resources, and certificates on disk that change under load, for
 * fetch and gRPC at once.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { BothSides } from '../support/both-sides.ts';
import { bothSides, freePorts, underLoad } from '../support/both-sides.ts';
import { until } from '../support/http-servers.ts';
import { expectIdle, meshOver, planeOf, rawGet } from '../support/mesh-app.ts';

const OK = '200 spiffe://dev/app 0 hi';

async function world(certificates: 'provider' | 'inline'): Promise<BothSides & { readonly web: number }> {
  const ports = await freePorts();
  const strict = 'mtls: strict, identity: spiffe://dev/server';
  const inbound = (port: number): string => `{ port: ${port}, mtls: strict, allow: [{ from: [spiffe://dev/app] }] }`;
  const plane = await planeOf(
    `version: 1
services:
  shop: { endpoints: ["127.0.0.1:${ports.web}"], ${strict} }
  echo: { endpoints: ["127.0.0.1:${ports.rpc}"], protocol: grpc, ${strict} }
inbound: [${inbound(ports.web)}, ${inbound(ports.rpc)}]
`,
    { certificates },
  );
  const sides = await bothSides(plane, ports);
  await sides.mesh.ready();
  return { ...sides, web: ports.web };
}

test('inline certificates, on both sides of fetch and gRPC', async () => {
  const { plane, web, both } = await world('inline');
  expect(await both()).toBe(OK);
  // Negative controls: another identity is let in by TLS and refused by the rules; nobody is served without TLS.
  const other = await meshOver(plane, ['shop'], 'other');
  expect((await other.fetch('http://shop/')).status).toBe(403);
  await expect(rawGet(web)).rejects.toThrow();
  expect(plane.nacks).toEqual([]);
});

test.each(['provider', 'inline'] as const)(
  '%s: certificates change on both sides under load: the new ones are used, and no call fails',
  async (from) => {
    const { plane, mesh, both, shown } = await world(from);
    const load = underLoad(both, OK);
    for (let round = 1; round <= 3; round++) {
      plane.rotate('app');
      plane.rotate('server');
      const pem =
        from === 'inline'
          ? plane.certificates.inline('app').certificateChainPem
          : readFileSync(plane.certificates.files('app').certificateFile, 'utf8');
      const { serialNumber } = new X509Certificate(pem);
      await until(() => shown.has(serialNumber), 8000);
      await load.tenMore();
    }
    expect(await load.stop()).toEqual([]);
    expect(shown.size).toBeGreaterThanOrEqual(4);
    expectIdle(mesh);
  },
);
