/** Every way to speak to go-control-plane: both dialects, one stream or one for each type, with ads=true and ads=false; and secrets over each of them. */
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import type { ControlPlane, LogEntry } from './harness.ts';
import {
  edit,
  expectShare,
  freePort,
  known,
  peers,
  snapshotText,
  startBackend,
  startControlPlane,
  startLoad,
  startMesh,
  tally,
  until,
} from './harness.ts';

const PROTOCOLS = ['sotw', 'delta', 'sotw-per-type', 'delta-per-type'] as const;
const CALLS = 1000;

async function scene(ads: boolean): Promise<{ readonly plane: ControlPlane; readonly snapshot: string; readonly port: number }> {
  const [v1, v2, port] = [await startBackend('v1'), await startBackend('v2'), await freePort()];
  const snapshot = snapshotText('a-http-sidecar', { 18081: v1, 18082: v2, 15080: port });
  return { plane: await startControlPlane(snapshot, { ads }), snapshot, port };
}

const caller =
  (mesh: Mesh, url = 'http://web.local/things') =>
  async (): Promise<string> => {
    const response = await mesh.fetch(url);
    const text = await response.text();
    return response.status === 200 ? (JSON.parse(text) as { name: string }).name : `${response.status} ${text}`;
  };

const shifted = (snapshot: string, version: string): string =>
  edit(snapshot, ['version: "a1"', `version: "${version}"`], ['weight: 90', 'weight: 20'], ['weight: 10}', 'weight: 80}']);

const requests = (log: readonly LogEntry[]): readonly LogEntry[] => log.filter(({ event }) => event === 'request');

/** Each response of a delta stream has exactly one request with its nonce; of a state-of-the-world stream, the first with it is the answer. */
async function everyResponseAnswered(plane: ControlPlane, node: string, delta: boolean): Promise<readonly LogEntry[]> {
  const log = await until('every response is answered', async () => {
    const entries = await plane.log(node);
    const responses = entries.filter(({ event }) => event === 'response');
    const answers = responses.map(({ nonce, stream }) =>
      requests(entries).filter((entry) => entry.stream === stream && entry.nonce === nonce),
    );
    return responses.length >= 4 && answers.every(({ length }) => (delta ? length === 1 : length >= 1)) && entries;
  });
  expect(requests(log).filter(({ error_detail }) => error_detail !== undefined)).toEqual([]);
  return log;
}

describe.skipIf(peers.go === undefined)('go-control-plane by every protocol', () => {
  test.each(PROTOCOLS)('%s, names, ads=false: split, live change under load, dropped streams, ACKs', async (protocol) => {
    const { plane, snapshot } = await scene(false);
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app'), include: ['web.local'], protocol });
    await mesh.ready();
    expectShare((await tally(CALLS, caller(mesh)))['v1'], CALLS, 0.9, 'v1');
    const delta = protocol.startsWith('delta');
    const log = await everyResponseAnswered(plane, 'app', delta);
    expect(new Set(log.map(({ mode }) => mode))).toEqual(new Set([delta ? 'delta' : 'sotw']));
    expect(new Set(log.map(({ stream }) => stream)).size).toBe(protocol.endsWith('per-type') ? 4 : 1);
    const load = startLoad(caller(mesh));
    await plane.put(shifted(snapshot, 'a2'));
    await until(
      'the new version is in force',
      () => known(mesh).some((line) => /^RouteConfiguration web (?!a1)\S+ ACKED$/.test(line)) || delta,
    );
    await until('the new weights', async () => ((await tally(100, caller(mesh)))['v2'] ?? 0) > 50);
    await plane.drop();
    expectShare((await tally(CALLS, caller(mesh)))['v2'], CALLS, 0.8, 'v2');
    const before = Math.max(...log.map(({ stream }) => stream ?? 0));
    const resumed = await until('all types are asked for again', async () => {
      const later = (await plane.log('app')).filter(({ stream = 0, event }) => stream > before && event === 'request');
      return new Set(later.map(({ type }) => type)).size === 4 && later;
    });
    if (delta) {
      const clusters = resumed.find(({ type }) => type === 'Cluster') as LogEntry & {
        initial_versions?: object;
        subscribe?: readonly string[];
      };
      expect(Object.keys(clusters.initial_versions ?? {}).sort()).toEqual(['web-v1', 'web-v2']);
      expect(clusters.subscribe?.toSorted()).toEqual(['web-v1', 'web-v2']);
    } else for (const { version } of resumed.filter(({ nonce = '' }) => nonce === '')) expect(version).toBe('a2');
    expect((await load.stop()).filter((answer) => !/^v[12]$/.test(answer))).toEqual([]);
  });

  test.each(PROTOCOLS.flatMap((protocol) => [true, false].map((ads) => ({ protocol, ads }))))(
    'the sidecar view by $protocol, ads=$ads',
    async ({ protocol, ads }) => {
      const { plane, snapshot, port } = await scene(ads);
      const mesh = await startMesh({
        bootstrap: plane.bootstrap('app'),
        include: [`any.example:${port}`],
        subscribe: 'wildcard',
        protocol,
      });
      await mesh.ready();
      const one = caller(mesh, `http://any.example:${port}/x`);
      expectShare((await tally(CALLS, one))['v1'], CALLS, 0.9, 'v1');
      await plane.put(shifted(snapshot, 'a2'));
      await until('the new weights', async () => ((await tally(100, one))['v2'] ?? 0) > 50);
      await everyResponseAnswered(plane, 'app', protocol.startsWith('delta'));
    },
  );

  test.each(PROTOCOLS)(
    'a broken update after a good one by %s: refused by name, the old one stays, no storm; the next good one is taken',
    async (protocol) => {
      const { plane, snapshot } = await scene(false);
      const mesh = await startMesh({ bootstrap: plane.bootstrap('app'), include: ['web.local'], protocol });
      await mesh.ready();
      await plane.put(edit(snapshot, ['version: "a1"', 'version: "bad"'], ['match: {prefix: /}', 'match: {safe_regex: {regex: "[a-z"}}']));
      const nacked = await until('a NACK', async () =>
        requests(await plane.log('app')).find(({ error_detail }) => error_detail !== undefined),
      );
      expect(nacked.error_detail).toContain('resource "web"');
      const load = startLoad(caller(mesh));
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect((await load.stop()).filter((answer) => !/^v[12]$/.test(answer))).toEqual([]);
      // The server sends what was refused again at once, for ever (state of the world): the client is the one that paces.
      expect(requests(await plane.log('app')).filter(({ error_detail }) => error_detail !== undefined).length).toBeLessThan(15);
      await plane.put(shifted(snapshot, 'a3'));
      await until('the next good one', async () => ((await tally(100, caller(mesh)))['v2'] ?? 0) > 50, 15_000);
    },
  );
});

describe.skipIf(peers.go === undefined)('secrets from go-control-plane', () => {
  const ca = createTestCa({ trustDomain: 'mesh.test', clock: new RealClock() });
  const ads = '{ads: {}, resource_api_version: V3}';
  const indent = (pem: string): string => JSON.stringify(pem);

  function snapshotOf(version: string, port: number): string {
    const own = ca.issue({ spiffeId: 'spiffe://mesh.test/client' });
    return `
version: "${version}"
resources:
  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener
    name: secure.local
    api_listener:
      api_listener:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: s
        route_config: {name: r, virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: secure}}]}]}
        http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
  - "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
    name: secure
    type: EDS
    eds_cluster_config: {eds_config: ${ads}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          tls_certificate_sds_secret_configs: [{name: client, sds_config: ${ads}}]
          combined_validation_context:
            default_validation_context: {match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: "spiffe://mesh.test/server"}}]}
            validation_context_sds_secret_config: {name: trust, sds_config: ${ads}}
  - "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
    cluster_name: secure
    endpoints: [{locality: {zone: z}, load_balancing_weight: 1, lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}}}]}]
  - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
    name: client
    tls_certificate: {certificate_chain: {inline_string: ${indent(own.certificateChainPem)}}, private_key: {inline_string: ${indent(own.privateKeyPem)}}}
  - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
    name: trust
    validation_context: {trusted_ca: {inline_string: ${indent(ca.certificatePem)}}}
`;
  }

  /** Answers the serial number of the certificate that the caller showed. */
  async function secureBackend(spiffeId: string): Promise<number> {
    const own = ca.issue({ spiffeId });
    const options = {
      cert: own.certificateChainPem,
      key: own.privateKeyPem,
      ca: ca.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
    };
    const server = createHttpsServer(options, (request, response) => {
      response.end(JSON.stringify({ name: (request.socket as TLSSocket).getPeerCertificate().serialNumber }));
    });
    server.maxRequestsPerSocket = 1;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  }

  const options = (plane: ControlPlane, protocol: (typeof PROTOCOLS)[number]): MeshOptions => ({
    bootstrap: plane.bootstrap('app'),
    include: ['secure.local'],
    protocol,
  });

  test.each(PROTOCOLS)('mutual TLS by SDS over %s; a rotated certificate is used for new connections', async (protocol) => {
    const port = await secureBackend('spiffe://mesh.test/server');
    const plane = await startControlPlane(snapshotOf('1', port));
    const mesh = await startMesh(options(plane, protocol));
    await mesh.ready();
    const one = caller(mesh, 'http://secure.local/');
    const first = await one();
    expect(first).toMatch(/^[0-9A-F]+$/);
    await plane.put(snapshotOf('2', port));
    await until('the new certificate', async () => {
      const serial = await one();
      expect(serial).toMatch(/^[0-9A-F]+$/);
      return serial !== first;
    });
  });

  test('negative control: a server of another identity is refused, and nothing goes in the clear', async () => {
    const port = await secureBackend('spiffe://mesh.test/other');
    const plane = await startControlPlane(snapshotOf('1', port));
    const mesh = await startMesh(options(plane, 'delta'));
    await mesh.ready();
    expect(await caller(mesh, 'http://secure.local/')()).toMatch(/^503 /);
  });
});
