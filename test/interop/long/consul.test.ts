/**
 * A real Consul 1.22.7 as the control plane: the bootstrap that it writes, splits, routes, mutual TLS and intentions between meshes on both
 * sides, changes and outages under calls, ACL tokens. What it sends is Consul's business; what is asserted is what its operator asked for.
 */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Mesh, MeshOptions } from '../../../src/index.ts';
import { expectShare, freePort, known, pause, peers, scratch, startLoad, startMesh, tally, until } from '../harness.ts';
import type { Consul, ConsulOptions, ConsulService } from './consul.ts';
import { startConsul } from './consul.ts';

const HTTP = ['api', 'web', 'other'].map((Name) => ({ Kind: 'service-defaults', Name, Protocol: 'http' }));
const SUBSETS = {
  Kind: 'service-resolver',
  Name: 'api',
  DefaultSubset: 'v1',
  Subsets: { v1: { Filter: 'Service.Meta.version == v1' }, v2: { Filter: 'Service.Meta.version == v2' } },
};
const splitter = (v1: number): object => ({
  Kind: 'service-splitter',
  Name: 'api',
  Splits: [
    { Weight: v1, ServiceSubset: 'v1' },
    { Weight: 100 - v1, ServiceSubset: 'v2' },
  ],
});
const ROUTER = {
  Kind: 'service-router',
  Name: 'api',
  Routes: [
    {
      Match: { HTTP: { PathPrefix: '/v2/', Header: [{ Name: 'x-canary', Exact: 'yes' }] } },
      Destination: { Service: 'api', ServiceSubset: 'v2', PrefixRewrite: '/' },
    },
  ],
};
const INTENTIONS = {
  Kind: 'service-intentions',
  Name: 'api',
  Sources: [
    {
      Name: 'web',
      Permissions: [
        { Action: 'deny', HTTP: { PathPrefix: '/admin' } },
        { Action: 'allow', HTTP: { PathPrefix: '/', Methods: ['GET', 'POST'] } },
      ],
    },
    { Name: '*', Action: 'deny' },
  ],
};

interface Instance {
  readonly id: string;
  readonly version: 'v1' | 'v2';
  readonly port: number;
}

interface Scene {
  readonly consul: Consul;
  readonly instances: readonly Instance[];
  /** Port of the upstream `api` at `web`. */
  readonly upstream: number;
  /** Port of `web` itself. */
  readonly web: number;
  options(): ConsulOptions;
}

/** `web` and `other` call `api`, of which there are two instances of v1 and one of v2. */
async function scene(more: Partial<ConsulOptions> = {}): Promise<Scene> {
  const instances: readonly Instance[] = [
    { id: 'api1', version: 'v1', port: await freePort() },
    { id: 'api2', version: 'v1', port: await freePort() },
    { id: 'api3', version: 'v2', port: await freePort() },
  ];
  const [upstream, web] = [await freePort(), await freePort()];
  const upstreams = { api: upstream };
  const services: ConsulService[] = [
    { name: 'web', port: web, upstreams },
    { name: 'other', port: await freePort(), upstreams },
    ...instances.map(({ id, version, port }) => ({ name: 'api', id, port, meta: { version } })),
  ];
  const options = { services, entries: [...HTTP, SUBSETS, splitter(90), ROUTER, INTENTIONS], ...more };
  return { consul: await startConsul(options), instances, upstream, web, options: () => options };
}

const meshOf = async (consul: Consul, service: string, options: MeshOptions = {}): Promise<Mesh> =>
  startMesh({ bootstrap: await consul.bootstrap(service), ...options });

/** `web` again, with other settings of its proxy, and upstreams beside `api`. */
const register = (of: Scene, Config: object, more: Readonly<Record<string, number>> = {}): Promise<unknown> =>
  of.consul.api('PUT', 'agent/service/register', {
    Name: 'web',
    Port: of.web,
    Address: '127.0.0.1',
    Connect: {
      SidecarService: {
        Port: of.web,
        Checks: [{ Name: 'alias', AliasService: 'web' }],
        Proxy: {
          Config: { protocol: 'http', ...Config },
          Upstreams: Object.entries({ api: of.upstream, ...more }).map(([DestinationName, LocalBindPort]) => ({
            DestinationName,
            LocalBindPort,
          })),
        },
      },
    },
  });

interface Served {
  readonly mesh: Mesh;
  /** Serial numbers of the certificates of callers. */
  readonly shown: ReadonlySet<string>;
}

/** The application behind an instance, where its sidecar would listen. */
async function serve({ consul }: Scene, { id, version, port }: Instance): Promise<Served> {
  const mesh = await meshOf(consul, id, { include: ['none.test'] });
  const shown = new Set<string>();
  const server = createServer((request, response) => {
    shown.add((request.socket as TLSSocket).getPeerCertificate().serialNumber);
    const peer = mesh.http.peerOf(request)?.tls?.uriSans.join();
    response.end(JSON.stringify({ id, version, url: request.url, peer }));
  });
  // Many connections, so that new certificates are needed.
  server.maxRequestsPerSocket = 5;
  mesh.http.server(server);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { mesh, shown };
}

interface Answer {
  readonly id: string;
  readonly version: string;
  readonly url: string;
  readonly peer: string;
}

async function callerOf(of: Scene, service = 'web', options: MeshOptions = {}): Promise<Mesh> {
  return meshOf(of.consul, service, { include: [`api.test:${of.upstream}`], ...options });
}

async function ask(mesh: Mesh, { upstream }: Scene, path = '/', init: RequestInit = {}): Promise<Answer> {
  const response = await mesh.fetch(`http://api.test:${upstream}${path}`, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${response.headers.get('x-inmesh-failure') ?? ''} ${text}`);
  return JSON.parse(text) as Answer;
}

/** What calls are answered, as one word: a version, an instance, or why not. */
const caller =
  (mesh: Mesh, of: Scene, what: 'version' | 'id' = 'version') =>
  async (): Promise<string> =>
    ask(mesh, of).then(
      (answer) => answer[what],
      (error: Error) => error.message,
    );

/** Everything runs: the instances serve and `web` reaches them. */
async function running(of: Scene, options: MeshOptions = {}): Promise<{ readonly mesh: Mesh; readonly served: readonly Served[] }> {
  const served = await Promise.all(of.instances.map((instance) => serve(of, instance)));
  const mesh = await callerOf(of, 'web', options);
  // Consul may send its first list before it has worked out the upstreams; `ready` goes by the list.
  await mesh.ready().catch(() => undefined);
  // At first it sends listeners for TCP, until it has read its own configuration entries.
  await until(
    'all instances answer',
    async () =>
      Object.keys(await tally(60, caller(mesh, of, 'id')))
        .sort()
        .join() === 'api1,api2,api3',
    20_000,
  );
  return { mesh, served };
}

const good = (answers: readonly string[]): string[] => [...new Set(answers)].sort();

describe.skipIf(peers.consul === undefined)('Consul', () => {
  test('split, route, rewrite; who calls is proved by certificates, and intentions count', async () => {
    const of = await scene();
    const { mesh } = await running(of);
    const shares = await tally(1000, caller(mesh, of));
    expectShare(shares['v1'], 1000, 0.9, 'v1');
    expect(Object.keys(shares).sort()).toEqual(['v1', 'v2']);
    const canary = await ask(mesh, of, '/v2/things', { headers: { 'x-canary': 'yes' } });
    expect(canary).toMatchObject({ version: 'v2', url: '/things' });
    expect(canary.peer).toMatch(/^spiffe:\/\/[0-9a-f-]{36}\.consul\/ns\/default\/dc\/dc1\/svc\/web$/);
    expect((await ask(mesh, of, '/', { method: 'POST', body: 'x' })).url).toBe('/');
    await expect(ask(mesh, of, '/admin/x')).rejects.toThrow('403');
    await expect(ask(mesh, of, '/', { method: 'DELETE' })).rejects.toThrow('403');
    // Negative controls: another service of the same CA, and somebody without a certificate.
    const other = await callerOf(of, 'other');
    await until('the other is known', () => ask(other, of).catch((error: Error) => error.message.startsWith('403')), 20_000);
    await expect(fetch(`http://127.0.0.1:${of.instances[0]?.port ?? 0}/`)).rejects.toThrow('fetch failed');
    expect(known(mesh).filter((line) => line.endsWith(' NACKED'))).toEqual([]);
  });

  test('another split, an instance into maintenance and back, a new CA: no call fails', { timeout: 120_000 }, async () => {
    const of = await scene();
    const { mesh, served } = await running(of);
    const load = startLoad(caller(mesh, of));
    await of.consul.api('PUT', 'config', splitter(20));
    await until('the new split', async () => ((await tally(50, caller(mesh, of)))['v2'] ?? 0) > 25);

    await of.consul.api('PUT', 'config', splitter(100));
    await of.consul.api('PUT', 'agent/service/maintenance/api1?enable=true');
    await until('only the other instance', async () => Object.keys(await tally(30, caller(mesh, of, 'id'))).join() === 'api2');
    await of.consul.api('PUT', 'agent/service/maintenance/api1?enable=false');
    await until('both instances', async () => Object.keys(await tally(30, caller(mesh, of, 'id'))).length === 2);

    const before = new Set(served.flatMap(({ shown }) => [...shown]));
    const config = {
      LeafCertTTL: '1h',
      RootCertTTL: '87600h',
      IntermediateCertTTL: '8760h',
      PrivateKeyType: 'ec',
      PrivateKeyBits: 384,
    };
    await of.consul.api('PUT', 'connect/ca/configuration', { Provider: 'consul', Config: config });
    // Consul spreads new certificates over half a minute.
    await until('a certificate of the new CA', () => served.some(({ shown }) => [...shown].some((serial) => !before.has(serial))), 60_000);
    await pause(500);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
  });

  test('killed under calls, and back with what it knew: no call fails, and what changes then counts', async () => {
    const of = await scene({ dataFolder: scratch() });
    const { mesh } = await running(of);
    const load = startLoad(caller(mesh, of));
    await of.consul.kill();
    await until('the mesh knows', () => mesh.describe().source?.connected === false && mesh.describe().source?.problem !== undefined);
    await pause(1500);
    const again = await startConsul({ ...of.options(), ports: of.consul.ports });
    await until('connected again', () => mesh.describe().source?.connected === true, 30_000);
    await again.api('PUT', 'config', splitter(20));
    await until('the new split', async () => ((await tally(50, caller(mesh, of)))['v2'] ?? 0) > 25, 30_000);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
  });

  test('killed, and back empty: it is silent about a proxy that it does not know, and calls go on by what was good', async () => {
    const of = await scene();
    const { mesh } = await running(of);
    const load = startLoad(caller(mesh, of));
    await of.consul.kill();
    await startConsul({ services: [], ports: of.consul.ports });
    await until('connected again', () => mesh.describe().source?.connected === true, 30_000);
    await pause(1500);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
  });

  test('one bad cluster among good ones: refused by name, the others count, and the next good one is taken', async () => {
    const of = await scene();
    const { mesh } = await running(of);
    const load = startLoad(caller(mesh, of));
    const local = {
      '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      name: 'local_app',
      type: 'STATIC',
      connect_timeout: '-5s',
    };
    // Consul passes on what its operator wrote: here the cluster of the application itself, with a time that cannot be.
    await register(of, { envoy_local_cluster_json: JSON.stringify(local) });
    const refused = await until('a NACK', () => mesh.describe().source?.resources.find(({ status }) => status === 'NACKED'), 20_000);
    expect([refused.name, refused.error]).toEqual(['local_app', expect.stringContaining('connect_timeout')]);
    await pause(1000);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
    await register(of, {});
    await of.consul.api('PUT', 'config', splitter(20));
    await until('the next good one', async () => ((await tally(50, caller(mesh, of)))['v2'] ?? 0) > 25, 20_000);
  });

  test('an upstream that is taken away is gone, another one stays', async () => {
    const of = await scene();
    const { mesh } = await running(of);
    const load = startLoad(caller(mesh, of));
    const listeners = (): number => known(mesh).filter((line) => line.startsWith('Listener ') && line.endsWith(' ACKED')).length;
    const before = listeners();
    await register(of, {}, { other: await freePort() });
    await until('one listener more', () => listeners() === before + 1, 20_000);
    await register(of, {});
    await until('its listener is gone', () => listeners() === before, 20_000);
    expect(good(await load.stop())).toEqual(['v1', 'v2']);
  });

  test('a proxy that is registered later is served on the stream that waited', async () => {
    const of = await scene();
    const bootstrap = { ...(await of.consul.bootstrap('web')), node: { id: 'late-sidecar-proxy', cluster: 'late' } };
    const port = await freePort();
    const mesh = await startMesh({ bootstrap, include: [`api.test:${port}`], startTimeout: 60_000 });
    const response = mesh.fetch(`http://api.test:${port}/`);
    await pause(1000);
    expect(known(mesh).filter((line) => line.endsWith(' ACKED') && !line.startsWith('Runtime '))).toEqual([]);
    await Promise.all(of.instances.map((instance) => serve(of, instance)));
    await of.consul.api('PUT', 'agent/service/register', {
      Name: 'late',
      Port: 1,
      Address: '127.0.0.1',
      Connect: { SidecarService: { Port: 2, Proxy: { Upstreams: [{ DestinationName: 'api', LocalBindPort: port }] } } },
    });
    // Intentions let only `web` in: that it is refused there shows that it was reached.
    expect((await response).status).toBe(403);
  });

  test('state of the world is not spoken: it is said why', async () => {
    const of = await scene();
    const bootstrap = {
      xds_servers: [{ server_uri: `127.0.0.1:${of.consul.ports.grpc}`, channel_creds: [{ type: 'insecure' }] }],
      node: { id: 'web-sidecar-proxy' },
    };
    const mesh = await startMesh({
      bootstrap,
      include: [`api.test:${of.upstream}`],
      subscribe: 'wildcard',
      protocol: 'sotw',
      startTimeout: 1500,
    });
    await expect(mesh.ready()).rejects.toThrow(/not implemented/);
    expect(mesh.describe().source?.problem).toContain('not implemented');
  });

  test('last good on disk: a start while Consul is down is served; keys are not kept, so mutual TLS waits for them', async () => {
    const of = await scene();
    const lastGood = join(scratch(), 'last-good');
    const { mesh } = await running(of, { lastGood });
    await mesh.close();
    const bootstrap = await of.consul.bootstrap('web');
    await of.consul.kill();
    const later = await startMesh({ bootstrap, include: [`api.test:${of.upstream}`], lastGood, startTimeout: 1500 });
    // Consul sends certificates with their keys inside of clusters: such clusters are never written.
    const failure = await ask(later, of).then(
      () => 'served',
      (error: Error) => error.message,
    );
    expect(failure).toMatch(/^503 /);
    expect(later.describe().source?.lastGood?.path).toBe(lastGood);
  });

  describe('with ACLs', () => {
    const MANAGER = '4ff3a9a5-6e2f-4d43-8f6a-1d4bd3ba5c11';
    const acl = { enabled: true, default_policy: 'deny', tokens: { initial_management: MANAGER, agent: MANAGER, default: '' } };

    test('without a token, and with one that is not known, it is said; a token that comes into its file is used', async () => {
      const port = await freePort();
      const consul = await startConsul({
        services: [{ name: 'web', port: await freePort(), upstreams: { web: port }, token: MANAGER }],
        entries: [HTTP[1] ?? {}],
        acl,
      });
      await until('the proxy is registered', async () => {
        const services = (await consul.api('GET', 'agent/services', undefined, MANAGER)) as object;
        return 'web-sidecar-proxy' in services;
      });
      const token = join(scratch(), 'token');
      writeFileSync(token, 'ffffffff-0000-4000-8000-000000000000');
      const bootstrap = {
        xds_servers: [{ server_uri: `127.0.0.1:${consul.ports.grpc}`, channel_creds: [{ type: 'insecure' }] }],
        node: { id: 'web-sidecar-proxy', cluster: 'web' },
      };
      const start = (metadata: Record<string, { readonly file: string }>): Promise<Mesh> =>
        startMesh({
          bootstrap,
          protocol: 'delta',
          subscribe: 'wildcard',
          include: [`web.test:${port}`],
          controlPlane: { metadata },
          startTimeout: 60_000,
        });
      const bare = await start({});
      const wrong = await start({ 'x-consul-token': { file: token } });
      const problem = (mesh: Mesh): string => mesh.describe().source?.problem ?? '';
      await until('the refusals', () => /PERMISSION_DENIED/.test(problem(bare)) && /UNAUTHENTICATED/.test(problem(wrong)));
      expect(problem(wrong)).toContain(token);
      expect(JSON.stringify([bare.describe(), wrong.describe()])).not.toContain('ffffffff-0000');
      writeFileSync(token, MANAGER);
      await wrong.ready();
      expect(problem(wrong)).toBe('');
    });
  });
});
