/** go-control-plane's REST gateway: a whole configuration polled as JSON, changed, refused; a token, and mutual TLS. */
import { describe, expect, test } from 'vitest';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import type { ControlPlane, Identity } from './harness.ts';
import {
  edit,
  freePort,
  identityFiles,
  known,
  peers,
  snapshotText,
  startBackend,
  startControlPlane,
  startMesh,
  tally,
  until,
} from './harness.ts';

const TOKEN = 's3cret-of-the-control-plane';
const clock = { wallTime: () => Date.now() };
const source = {
  resource_api_version: 'V3',
  api_config_source: { api_type: 'REST', transport_api_version: 'V3', cluster_names: ['plane'], refresh_delay: '0.050s' },
};

/** The snapshot of the ADS tests with routes and endpoints over REST as well. */
async function scene(flags: readonly string[] = []): Promise<{ readonly plane: ControlPlane; readonly snapshot: string }> {
  const ports = { 18081: await startBackend('v1'), 18082: await startBackend('v2'), 15080: await freePort() };
  const snapshot = edit(snapshotText('a-http-sidecar', ports), ['{resource_api_version: V3, ads: {}}', JSON.stringify(source)]);
  return { plane: await startControlPlane(snapshot, { flags }), snapshot };
}

function bootstrapOf(plane: ControlPlane, identity?: Identity): object {
  const [address, port] = plane.restAddress.split(':');
  const transport_socket = identity && {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      sni: 'localhost',
      common_tls_context: {
        tls_certificates: [{ certificate_chain: { filename: identity.cert }, private_key: { filename: identity.key } }],
        validation_context: {
          trusted_ca: { filename: identity.ca },
          match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'localhost' } }],
        },
      },
    },
  };
  const lb_endpoints = [{ endpoint: { address: { socket_address: { address, port_value: Number(port) } } } }];
  return {
    node: { id: 'app', cluster: 'inmesh-interop' },
    dynamic_resources: { lds_config: source, cds_config: source },
    static_resources: {
      clusters: [
        {
          name: 'plane',
          type: 'STATIC',
          load_assignment: { cluster_name: 'plane', endpoints: [{ lb_endpoints }] },
          ...(transport_socket && { transport_socket }),
        },
      ],
    },
  };
}

const meshOf = (bootstrap: object, options: MeshOptions = {}): Promise<Mesh> =>
  startMesh({ bootstrap, include: ['web.local'], ...options });

async function served(mesh: Mesh): Promise<string> {
  const response = await mesh.fetch('http://web.local/things');
  return response.status === 200 ? ((await response.json()) as { name: string }).name : `${response.status}: ${await response.text()}`;
}

const problemOf = (mesh: Mesh): Promise<string> => until('there is a problem', () => mesh.describe().source?.problem);

describe.skipIf(peers.go === undefined)("go-control-plane's REST", () => {
  test('the whole configuration; what changes is there after the next poll, and what did not is not sent again', async () => {
    const { plane, snapshot } = await scene();
    const mesh = await meshOf(bootstrapOf(plane));
    expect(Object.keys(await tally(200, () => served(mesh))).toSorted()).toEqual(['v1', 'v2']);
    expect(known(mesh).filter((line) => !line.endsWith(' a1 ACKED'))).toEqual([]);

    await plane.put(edit(snapshot, ['version: "a1"', 'version: "a2"'], ['weight: 90', 'weight: 0'], ['weight: 10}', 'weight: 1}']));
    await until('everything is of version a2', () => known(mesh).every((line) => line.endsWith(' a2 ACKED')));
    expect(await tally(50, () => served(mesh))).toEqual({ v2: 50 });

    const before = (await plane.log()).length;
    await new Promise((resolve) => setTimeout(resolve, 500));
    const idle = (await plane.log()).slice(before);
    expect(idle.filter(({ event }) => event === 'request').length).toBeGreaterThan(4);
    expect(idle.filter(({ event }) => event === 'response')).toEqual([]);
    expect(new Set(idle.map(({ mode, version }) => `${mode} ${version}`))).toEqual(new Set(['rest a2']));
  });

  test('a bad cluster is refused with its reason and the good one stays', async () => {
    const { plane, snapshot } = await scene();
    const mesh = await meshOf(bootstrapOf(plane));
    expect(await served(mesh)).toMatch(/^v[12]$/);
    await plane.put(edit(snapshot, ['version: "a1"', 'version: "bad"'], ['connect_timeout: 1s', 'connect_timeout: 0s']));
    const nack = await until('it is refused', async () => (await plane.log()).find(({ error_detail }) => error_detail !== undefined));
    expect(nack).toMatchObject({ type: 'Cluster', version: 'a1' });
    expect(await served(mesh)).toMatch(/^v[12]$/);
  });

  test('the control plane goes and comes back with another version', async () => {
    const { plane, snapshot } = await scene();
    const mesh = await meshOf(bootstrapOf(plane));
    expect(await served(mesh)).toMatch(/^v[12]$/);
    await plane.kill();
    expect(await problemOf(mesh)).toMatch(/UNAVAILABLE: POST http:\/\/127\.0\.0\.1:\d+\/v3\/discovery:\w+: .*ECONNREFUSED/);
    expect(await served(mesh)).toMatch(/^v[12]$/);
    const rest = Number(plane.restAddress.split(':')[1]);
    await startControlPlane(edit(snapshot, ['version: "a1"', 'version: "a0"']), { restPort: rest });
    await until('everything is of version a0', () => known(mesh).every((line) => line.endsWith(' a0 ACKED')));
    await until('there is no problem', () => mesh.describe().source?.problem === undefined);
  });

  test('mutual TLS and a token: let in with both, 401 named without the token', async () => {
    const ca = createTestCa({ trustDomain: 'mesh.test', clock });
    const [server, client] = [identityFiles(ca, 'spiffe://mesh.test/cp'), identityFiles(ca, 'spiffe://mesh.test/app')];
    const { plane } = await scene(['--token', TOKEN, '--tls-cert', server.cert, '--tls-key', server.key, '--client-ca', server.ca]);
    const bootstrap = bootstrapOf(plane, client);
    const mesh = await meshOf(bootstrap, { controlPlane: { metadata: { authorization: `Bearer ${TOKEN}` } } });
    expect(await served(mesh)).toMatch(/^v[12]$/);
    expect(JSON.stringify(mesh.describe())).not.toContain(TOKEN);

    const problem = await problemOf(await meshOf(bootstrap));
    expect(problem).toMatch(/UNAUTHENTICATED: POST https:.*HTTP 401: .*\(sent: a client certificate\)/);
    const wrong = await problemOf(await meshOf(bootstrap, { controlPlane: { metadata: { authorization: 'Bearer wrong-token' } } }));
    expect(wrong).toMatch(/HTTP 401: .*\(sent: a client certificate, authorization \(as configured\)\)/);
    expect(wrong).not.toContain('wrong-token');
    const stranger = identityFiles(createTestCa({ trustDomain: 'mesh.test', clock }), 'spiffe://mesh.test/app', ca);
    expect(await problemOf(await meshOf(bootstrapOf(plane, stranger)))).toMatch(/UNAVAILABLE: POST https:/);
  });
});
