/**
 * A real Envoy Gateway 1.9.0 as the control plane, with the bootstrap that it would start Envoy with: mutual TLS to it, splits by locality,
 * rewrites, gRPC routes, TLS to backends by SDS, and outages under calls.
 */
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ChannelCredentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { TestCa } from '../../../src/control-plane/ca/ca.ts';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import type { Mesh, MeshOptions } from '../../../src/index.ts';
import { echoStub, startEcho, unary } from '../../support/echo-grpc.ts';
import { edit, expectShare, known, pause, peers, scratch, startBackend, startLoad, startMesh, tally, until } from '../harness.ts';
import type { EnvoyGateway } from './envoy-gateway.ts';
import { startEnvoyGateway } from './envoy-gateway.ts';

const GATEWAY = 'gateway.networking.k8s.io/v1';
const EXTENSION = 'gateway.envoyproxy.io/v1alpha1';
const meta = (name: string): object => ({ name, namespace: 'default' });
const backend = (name: string, ...ports: readonly number[]): object => ({
  apiVersion: EXTENSION,
  kind: 'Backend',
  metadata: meta(name),
  spec: { endpoints: ports.map((port) => ({ ip: { address: '127.0.0.1', port } })) },
});
const to = (name: string, weight = 1): object => ({ group: 'gateway.envoyproxy.io', kind: 'Backend', name, weight });

interface Ports {
  readonly v1: number;
  readonly v2: number;
  readonly echo: number;
}

const CLASS = {
  apiVersion: GATEWAY,
  kind: 'GatewayClass',
  metadata: { name: 'eg' },
  spec: { controllerName: 'gateway.envoyproxy.io/gatewayclass-controller' },
};
const GATEWAY_RESOURCE = {
  apiVersion: GATEWAY,
  kind: 'Gateway',
  metadata: meta('eg'),
  spec: {
    gatewayClassName: 'eg',
    listeners: [{ name: 'http', protocol: 'HTTP', port: 10_080, allowedRoutes: { namespaces: { from: 'All' } } }],
  },
};

/** `weight`: of v1 in hundred. */
function resources({ v1, v2, echo }: Ports, weight: number, ...more: readonly object[]): readonly object[] {
  return [
    CLASS,
    GATEWAY_RESOURCE,
    backend('api-v1', v1),
    backend('api-v2', v2),
    backend('echo', echo),
    {
      apiVersion: GATEWAY,
      kind: 'HTTPRoute',
      metadata: meta('api'),
      spec: {
        parentRefs: [{ name: 'eg' }],
        hostnames: ['api.example.test'],
        rules: [
          {
            matches: [{ path: { type: 'PathPrefix', value: '/v2' }, headers: [{ name: 'x-canary', value: 'yes' }] }],
            filters: [
              { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } },
              { type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'x-set', value: '1' }], remove: ['x-removed'] } },
            ],
            backendRefs: [to('api-v2')],
          },
          {
            matches: [{ path: { type: 'PathPrefix', value: '/' } }],
            backendRefs: [to('api-v1', weight), to('api-v2', 100 - weight)],
          },
        ],
      },
    },
    {
      apiVersion: GATEWAY,
      kind: 'GRPCRoute',
      metadata: meta('echo'),
      spec: {
        parentRefs: [{ name: 'eg' }],
        hostnames: ['grpc.example.test'],
        rules: [{ backendRefs: [to('echo')] }],
      },
    },
    ...more,
  ];
}

const HOSTS = ['api.example.test:10080', 'grpc.example.test:10080', 'secure.example.test:10080'];

async function scene(): Promise<{ readonly gateway: EnvoyGateway; readonly ports: Ports }> {
  const echo = await startEcho();
  onTestFinished(() => echo.close());
  const ports = { v1: await startBackend('v1'), v2: await startBackend('v2'), echo: echo.port };
  return { gateway: await startEnvoyGateway(resources(ports, 90)), ports };
}

/** `sotw`: the same bootstrap in the other dialect, which Envoy Gateway speaks as well. */
async function meshTo(gateway: EnvoyGateway, dialect: 'sotw' | 'delta' = 'delta', options: MeshOptions = {}): Promise<Mesh> {
  const text = JSON.stringify(gateway.bootstrap);
  const bootstrap = JSON.parse(dialect === 'sotw' ? edit(text, ['DELTA_GRPC', 'GRPC']) : text) as object;
  const mesh = await startMesh({ bootstrap, include: HOSTS, ...options });
  return mesh;
}

interface Seen {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function ask(mesh: Mesh, path = '/', headers: Record<string, string> = {}): Promise<Seen> {
  const response = await mesh.fetch(`http://api.example.test:10080${path}`, { headers });
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${response.headers.get('x-inmesh-failure') ?? ''}`);
  return JSON.parse(text) as Seen;
}

const caller = (mesh: Mesh) => (): Promise<string> =>
  ask(mesh).then(
    ({ name }) => name,
    (error: Error) => error.message,
  );

const good = (answers: readonly string[]): string[] => [...new Set(answers)].sort();

describe.skipIf(peers.envoyGateway === undefined)('Envoy Gateway', () => {
  test.each(['delta', 'sotw'] as const)(
    '%s: split by localities, header route with rewrite, gRPC; a change under calls',
    async (dialect) => {
      const { gateway, ports } = await scene();
      const mesh = await meshTo(gateway, dialect);
      await until('a first answer', () => ask(mesh).catch(() => undefined), 20_000);
      expectShare((await tally(1000, caller(mesh)))['v1'], 1000, 0.9, 'v1');
      const canary = await ask(mesh, '/v2/x', { 'x-canary': 'yes', 'x-removed': 'here' });
      expect([canary.name, canary.headers['x-set'], canary.headers['x-removed']]).toEqual(['v2', '1', undefined]);
      const stub = echoStub('xds:///grpc.example.test:10080', mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
      onTestFinished(() => stub.close());
      expect(await unary(stub, 'hello')).toMatchObject({ code: 0, value: 'hello' });
      expect(known(mesh).filter((line) => line.endsWith(' NACKED'))).toEqual([]);

      const load = startLoad(caller(mesh));
      gateway.put(resources(ports, 20));
      await until('the new split', async () => ((await tally(50, caller(mesh)))['v2'] ?? 0) > 25, 20_000);
      gateway.putText('this: [is no: YAML');
      await pause(1000);
      expect(good(await load.stop())).toEqual(['v1', 'v2']);
    },
  );

  test('TLS to a backend, with the CA over SDS; negative control: a server that another CA vouches for', async () => {
    const { gateway, ports } = await scene();
    const [ca, other] = [0, 1].map(() => createTestCa({ trustDomain: 'example.test', clock: new RealClock() })) as [TestCa, TestCa];
    const secure = async (by: TestCa): Promise<number> => {
      const own = by.issue({ dnsNames: ['backend.example.test'] });
      const server = createHttpsServer({ cert: own.certificateChainPem, key: own.privateKeyPem }, (_request, response) => {
        response.end(JSON.stringify({ name: 'secure', headers: {} }));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      onTestFinished(() => {
        server.closeAllConnections();
        server.close();
      });
      return (server.address() as AddressInfo).port;
    };
    const policy = (port: number): readonly object[] => [
      backend('secure', port),
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: meta('ca1'), data: { 'ca.crt': ca.certificatePem } },
      {
        apiVersion: GATEWAY,
        kind: 'BackendTLSPolicy',
        metadata: meta('btls'),
        spec: {
          targetRefs: [{ group: 'gateway.envoyproxy.io', kind: 'Backend', name: 'secure' }],
          validation: { hostname: 'backend.example.test', caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'ca1' }] },
        },
      },
      {
        apiVersion: GATEWAY,
        kind: 'HTTPRoute',
        metadata: meta('sec'),
        spec: { parentRefs: [{ name: 'eg' }], hostnames: ['secure.example.test'], rules: [{ backendRefs: [to('secure')] }] },
      },
    ];
    gateway.put(resources(ports, 90, ...policy(await secure(ca))));
    const mesh = await meshTo(gateway);
    const get = async (): Promise<string> => {
      const response = await mesh.fetch('http://secure.example.test:10080/');
      await response.text();
      return `${response.status} ${response.headers.get('x-inmesh-failure') ?? ''}`.trim();
    };
    await until('the secure backend answers', async () => (await get()) === '200', 20_000);
    gateway.put(resources(ports, 90, ...policy(await secure(other))));
    await until('the other is refused', async () => (await get()) === '503 UF upstream_tls_failure', 20_000);
  });

  test('killed under calls, and back: no call fails, and what changes then counts', async () => {
    const { gateway, ports } = await scene();
    const mesh = await meshTo(gateway);
    await until('a first answer', () => ask(mesh).catch(() => undefined), 20_000);
    const load = startLoad(caller(mesh));
    await gateway.kill();
    await until('the mesh knows', () => mesh.describe().source?.connected === false);
    await pause(1500);
    gateway.put(resources(ports, 20));
    await gateway.restart();
    await until('the new split', async () => ((await tally(50, caller(mesh)))['v2'] ?? 0) > 25, 40_000);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
  });

  test('away at the start: served from the last good file, and connected once it is there', async () => {
    const { gateway } = await scene();
    const lastGood = join(scratch(), 'last-good');
    const first = await meshTo(gateway, 'delta', { lastGood });
    await until('a first answer', () => ask(first).catch(() => undefined), 20_000);
    await first.close();
    await gateway.kill();
    const later = await meshTo(gateway, 'delta', { lastGood });
    expect(good(Object.keys(await tally(100, caller(later))))).toEqual(['v1', 'v2']);
    await gateway.restart();
    await until('connected', () => later.describe().source?.connected === true, 40_000);
    expect(good(Object.keys(await tally(100, caller(later))))).toEqual(['v1', 'v2']);
  });

  test('one bad resource, which its operator patched in: refused by name, the others count', async () => {
    const { gateway, ports } = await scene();
    const mesh = await meshTo(gateway);
    await until('a first answer', () => ask(mesh).catch(() => undefined), 20_000);
    const load = startLoad(caller(mesh));
    const patch = {
      apiVersion: EXTENSION,
      kind: 'EnvoyPatchPolicy',
      metadata: meta('patch'),
      spec: {
        targetRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'eg' },
        type: 'JSONPatch',
        jsonPatches: [
          {
            type: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
            name: 'grpcroute/default/echo/rule/0',
            operation: { op: 'remove', path: '/eds_cluster_config' },
          },
        ],
      },
    };
    gateway.put(resources(ports, 20, patch));
    const refused = await until('a NACK', () => mesh.describe().source?.resources.find(({ status }) => status === 'NACKED'), 20_000);
    expect([refused.name, refused.error]).toEqual(['grpcroute/default/echo/rule/0', expect.stringContaining('eds')]);
    await until('the new split all the same', async () => ((await tally(50, caller(mesh)))['v2'] ?? 0) > 25, 20_000);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
  });

  test('the gateway taken away: what was configured stays in use', async () => {
    const { gateway } = await scene();
    const mesh = await meshTo(gateway);
    await until('a first answer', () => ask(mesh).catch(() => undefined), 20_000);
    const load = startLoad(caller(mesh));
    gateway.put([CLASS]);
    await pause(3000);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
  });
});
