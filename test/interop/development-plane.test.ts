/** The development control plane under clients that this project did not write: Envoy in both dialects, with secrets and load reports; grpc-go, also in istiod's dialect. */
import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { DeltaRequest } from '../../src/control-plane/messages.ts';
import {
  edit,
  expectShare,
  freePort,
  peers,
  runGo,
  scratch,
  snapshotText,
  startBackend,
  startEchoServer,
  startEnvoy,
  tally,
  until,
} from './harness.ts';

async function start(options: ControlPlaneOptions): Promise<ControlPlane> {
  const plane = await ControlPlane.start(options);
  onTestFinished(() => plane.close());
  return plane;
}

async function nameOf(url: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(url, { headers });
  const text = await response.text();
  return response.status === 200 ? (JSON.parse(text) as { name: string }).name : String(response.status);
}

describe.skipIf(peers.envoy === undefined)('Envoy', () => {
  test.each(['sotw', 'delta'] as const)('a snapshot, an update, streams that are dropped, load reports: %s', async (mode) => {
    const [v1, v2, port] = [await startBackend('v1'), await startBackend('v2'), await freePort()];
    const text = snapshotText('a-http-sidecar', { 18081: v1, 18082: v2, 15080: port });
    const first: Readonly<Record<string, string>>[] = [];
    const plane = await start({
      text,
      loadReporting: { intervalMs: 200 },
      onRequest(request) {
        if (mode === 'delta') first.push((request as DeltaRequest).initialResourceVersions);
      },
    });
    await startEnvoy(plane, mode, 'envoy', ['--lrs']);
    const ask = (headers?: Record<string, string>): Promise<string> => nameOf(`http://127.0.0.1:${port}/x`, headers);
    await until('Envoy serves', async () => (await ask().catch(() => '')).startsWith('v'));
    expectShare((await tally(1000, () => ask()))['v1'], 1000, 0.9, 'before');
    expect(await tally(20, () => ask({ 'x-version': 'v2' }))).toEqual({ v2: 20 });

    const moved = edit(text, ['weight: 90', 'weight: 20'], ['weight: 10', 'weight: 80'], ['version: "a1"', 'version: "a2"']);
    expect(plane.update(moved)).toMatchObject({ ok: true });
    await until('the new weights', async () => ((await tally(100, () => ask()))['v1'] ?? 0) < 60);

    first.length = 0;
    plane.dropStreams();
    await until('Envoy comes back', () => plane.nodes.includes('envoy'));
    expect(await tally(50, () => ask({ 'x-version': 'v2' }))).toEqual({ v2: 50 });
    // It tells what it has, and is not sent it again.
    if (mode === 'delta') await until('what it has', () => first.some((versions) => Object.keys(versions).length > 0));
    expect(plane.nacks).toEqual([]);

    await until('load reports', () => plane.loadReports.length > 2);
    const successes = plane.loadReports
      .flatMap(({ clusters }) => clusters)
      .flatMap(({ localities }) => localities)
      .reduce((sum, { successful }) => sum + successful, 0);
    expect(successes).toBeGreaterThan(500);
  });

  test.each(['sotw', 'delta'] as const)('certificates and trust by secrets, and a new one: %s', async (mode) => {
    const [port, backend] = [await freePort(), await freePort()];
    const listener = {
      '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
      name: 'out',
      address: { socket_address: { address: '127.0.0.1', port_value: port } },
      filter_chains: [
        {
          filters: [
            {
              name: 'hcm',
              typed_config: {
                '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                stat_prefix: 'out',
                rds: { route_config_name: 'shop', config_source: { ads: {}, resource_api_version: 'V3' } },
                http_filters: [
                  { name: 'router', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' } },
                ],
              },
            },
          ],
        },
      ],
    };
    const services = `services: { shop: { endpoints: ["127.0.0.1:${backend}"], mtls: strict } }\n`;
    const plane = await start({ text: `version: 1\n${services}resources: [${JSON.stringify(listener)}]\n`, certificates: 'sds' });
    plane.bootstrap('envoy', 'web');
    const { certificateChainPem: cert, privateKeyPem: key, rootsPem: ca } = plane.certificates.inline('shop');
    const serials = new Set<string>();
    const server = createServer({ cert, key, ca, requestCert: true }, (request, response) => {
      const peer = (request.socket as TLSSocket).getPeerCertificate();
      serials.add(peer.serialNumber);
      response.setHeader('connection', 'close');
      response.end(JSON.stringify({ name: peer.subjectaltname }));
    });
    await new Promise<void>((resolve) => server.listen(backend, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    expect((server.address() as AddressInfo).port).toBe(backend);
    await startEnvoy(plane, mode, 'envoy');
    const ask = (): Promise<string> => nameOf(`http://127.0.0.1:${port}/`).catch(() => '');
    await until('mutual TLS', async () => (await ask()) === 'URI:spiffe://dev/web');
    plane.rotate('web');
    await until('the new certificate', async () => {
      await ask();
      return serials.size === 2;
    });
    expect(plane.nacks).toEqual([]);
  });

  test('refuses junk, keeps what it has, and takes the right response that follows', async () => {
    const [v1, v2, port] = [await startBackend('v1'), await startBackend('v2'), await freePort()];
    const text = snapshotText('a-http-sidecar', { 18081: v1, 18082: v2, 15080: port });
    const plane = await start({ text, misbehave: [] });
    await startEnvoy(plane, 'sotw', 'envoy');
    const ask = (): Promise<string> => nameOf(`http://127.0.0.1:${port}/x`).catch(() => '');
    await until('Envoy serves', async () => (await ask()).startsWith('v'));
    plane.misbehave([{ do: 'junk', on: 'routes', repairMs: 300 }]);
    plane.update(edit(text, ['weight: 90', 'weight: 0'], ['weight: 10', 'weight: 100'], ['version: "a1"', 'version: "a2"']));
    await until('the refusal', () => plane.nacks.length > 0);
    expect((await tally(50, ask))['v1']).toBeGreaterThan(25);
    await until('the repair', async () => (await tally(20, ask))['v2'] === 20);
  });
});

interface GoResult {
  readonly calls: number;
  readonly servers: Readonly<Record<string, number>>;
  readonly codes: Readonly<Record<string, number>>;
  readonly peer_id?: string;
}

describe.skipIf(peers.go === undefined)('grpc-go', () => {
  const client = async (target: string, ...more: readonly string[]): Promise<GoResult> => {
    const output = await runGo('grpcgo', ['client', '--target', target, ...more]);
    return JSON.parse(output.slice(output.indexOf('{\n'))) as GoResult;
  };

  test('a snapshot with load reports whose totals are those of the calls', async () => {
    const [v1, v2] = [await startEchoServer('v1'), await startEchoServer('v2')];
    const text = snapshotText('b-grpc-client', { 50051: v1.port, 50052: v2.port });
    const plane = await start({ text, loadReporting: { intervalMs: 100 } });
    const result = await client('xds:///echo.local', '--xds-server', plane.address, '--n', '500', '--qps', '250');
    expect(result.codes).toEqual({ OK: 500 });
    expectShare(result.servers['v1'], 500, 0.8, 'grpc-go');
    const issued = plane.loadReports
      .flatMap(({ clusters }) => clusters)
      .flatMap(({ localities }) => localities)
      .reduce((sum, locality) => sum + locality.issued, 0);
    // What came after the last report is not told any more.
    expect(issued).toBeGreaterThan(300);
    expect(issued).toBeLessThanOrEqual(500);
    expect(plane.nacks).toEqual([]);
  });

  test.each(['off', 'strict'] as const)("istiod's dialect by the agent's bootstrap, client and server, mtls %s", async (mtls) => {
    const port = await freePort();
    const host = 'echo.default.svc.cluster.local';
    const text = `version: 1
services:
  echo: { hosts: ["${host}:7070"], endpoints: ["127.0.0.1:${port}"], protocol: grpc, mtls: ${mtls}, timeout: 5s }
inbound: [{ port: ${port}, mtls: ${mtls} }]
`;
    const plane = await start({ text, dialect: 'istio' });
    const bootstrap = (name: string): string => {
      const file = join(scratch(), 'bootstrap.json');
      writeFileSync(file, JSON.stringify(plane.bootstrap(name, name)));
      return file;
    };
    const { running } = await startEchoServer('echo', ['--xds', '--bootstrap', bootstrap('echo')], port);
    await until('grpc-go serves', () => /serving mode of .*: serving/i.test(running.output()));
    for (const target of [`xds:///${host}:7070`, 'xds:///echo:7070']) {
      const result = await client(target, '--bootstrap', bootstrap('web'), '--n', '50');
      expect(result.codes).toEqual({ OK: 50 });
      expect(result.peer_id ?? '').toBe(mtls === 'strict' ? 'spiffe://dev/web' : '');
    }
    expect(plane.nacks).toEqual([]);
  });
});
