/** The streams of the development control plane, seen by a plain grpc-js client: both dialects, all types or one, secrets, views, raw resources. */
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, onTestFinished, test } from 'vitest';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { ControlPlaneOptions, Update } from '../../src/control-plane/control-plane.ts';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { ClusterSchema } from '../../src/proto/gen/envoy/config/cluster/v3/cluster_pb.js';
import { SecretSchema } from '../../src/proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import type { Secret } from '../../src/proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import { ResourceSchema } from '../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import { folder } from '../support/mesh-process.ts';
import { RawDelta, RawSotw } from '../support/raw-xds.ts';

const FILE = 'version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1000"] }\n  b: { endpoints: ["127.0.0.1:2"], mtls: strict }\n';
const WRAPPER = 'type.googleapis.com/envoy.service.discovery.v3.Resource';

async function start(options: ControlPlaneOptions): Promise<ControlPlane> {
  const plane = await ControlPlane.start(options);
  onTestFinished(() => plane.close());
  return plane;
}

describe('delta', () => {
  test('names, changes, removals, refusals over the aggregated stream', async () => {
    const heard: string[] = [];
    const plane = await start({ text: FILE, onNack: ({ nodeId, message }) => void heard.push(`${nodeId} ${message}`) });
    const client = new RawDelta(plane.address);
    client.send({ typeUrl: TYPE_URLS.endpoints, resourceNamesSubscribe: ['a', 'none'], node: { id: 'raw' } });
    const first = await client.next();
    expect(first).toMatchObject({
      typeUrl: TYPE_URLS.endpoints,
      systemVersionInfo: '1',
      nonce: '1',
      resources: [{ name: 'a', version: expect.stringMatching(/^[0-9a-f]{16}$/), resource: { typeUrl: TYPE_URLS.endpoints } }],
      removedResources: ['none'],
      controlPlane: { identifier: 'inmesh' },
    });
    client.send({ typeUrl: TYPE_URLS.endpoints, responseNonce: first.nonce });
    plane.update(FILE.replace('1000', '1001'));
    const second = await client.next();
    expect(second).toMatchObject({ nonce: '2', resources: [{ name: 'a' }], removedResources: [] });
    expect(second.resources[0]?.version).not.toBe(first.resources[0]?.version);
    client.send({ typeUrl: TYPE_URLS.endpoints, responseNonce: '2', errorDetail: { code: 3, message: 'no such port' } });
    plane.update('version: 1\nservices:\n  b: {}\n');
    expect(await client.next()).toMatchObject({ resources: [], removedResources: ['a'] });
    expect(heard).toEqual(['raw no such port']);
    expect(plane.nacks).toMatchObject([{ version: '2' }]);
  });

  test('a client that comes back with its versions is sent nothing that it has', async () => {
    const plane = await start({ text: FILE });
    const one = new RawDelta(plane.address);
    one.send({ typeUrl: TYPE_URLS.cluster });
    const have = Object.fromEntries((await one.next()).resources.map(({ name, version }) => [name, version]));
    expect(Object.keys(have)).toEqual(['a', 'b']);
    const two = new RawDelta(plane.address);
    two.send({ typeUrl: TYPE_URLS.cluster, initialResourceVersions: { ...have, gone: 'x' } });
    expect(await two.next()).toMatchObject({ resources: [], removedResources: ['gone'] });
  });
});

describe('streams for one type', () => {
  const SERVICES = [
    ['listener.v3.ListenerDiscoveryService', 'Listeners', TYPE_URLS.listener],
    ['route.v3.RouteDiscoveryService', 'Routes', TYPE_URLS.routes],
    ['cluster.v3.ClusterDiscoveryService', 'Clusters', TYPE_URLS.cluster],
    ['endpoint.v3.EndpointDiscoveryService', 'Endpoints', TYPE_URLS.endpoints],
  ] as const;

  test.each(SERVICES)('%s, both dialects, without a type in the request', async (service, noun, typeUrl) => {
    const plane = await start({ text: FILE });
    const sotw = new RawSotw(plane.address, `/envoy.service.${service}/Stream${noun}`);
    sotw.send({ resourceNames: ['a'] });
    expect(await sotw.next()).toMatchObject({ typeUrl, resources: [{ typeUrl }] });
    const delta = new RawDelta(plane.address, `/envoy.service.${service}/Delta${noun}`);
    delta.send({ resourceNamesSubscribe: ['a'] });
    expect(await delta.next()).toMatchObject({ typeUrl, resources: [{ name: 'a' }] });
  });

  test('another type ends the stream; so does none on the aggregated one', async () => {
    const plane = await start({ text: FILE });
    const wrong = new RawSotw(plane.address, '/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes');
    wrong.send({ typeUrl: TYPE_URLS.cluster });
    expect(await wrong.stream.ended).toMatchObject({ code: 3 });
    const none = new RawDelta(plane.address);
    none.send({});
    expect(await none.stream.ended).toMatchObject({ code: 3 });
  });

  test('virtual hosts have no state of the world', async () => {
    const plane = await start({ text: FILE });
    const client = new RawSotw(plane.address, '/envoy.service.route.v3.VirtualHostDiscoveryService/StreamVirtualHosts');
    client.send({});
    expect(await client.stream.ended).toMatchObject({ code: 12 });
  });
});

describe('secrets', () => {
  const secretOf = (bytes: Uint8Array): Secret => fromBinary(SecretSchema, bytes);
  function certificateOf(secret: Secret): X509Certificate {
    if (secret.type.case !== 'tlsCertificate') throw new Error('no certificate');
    const { specifier } = secret.type.value.certificateChain ?? {};
    return new X509Certificate(String(specifier?.value));
  }

  test('the own certificate, the trust anchors, identities by name; rotation is pushed; others have none', async () => {
    const plane = await start({ text: FILE, certificates: 'sds' });
    plane.bootstrap('n1', 'web');
    const client = new RawDelta(plane.address, '/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets');
    const names = ['default', 'ROOTCA', 'spiffe://dev', 'spiffe://dev/other', 'spiffe://foreign/other', 'nonsense'];
    client.send({ node: { id: 'n1' }, resourceNamesSubscribe: names });
    const first = await client.next();
    expect(first.resources.map(({ name }) => name).toSorted()).toEqual(['ROOTCA', 'default', 'spiffe://dev', 'spiffe://dev/other']);
    expect([...first.removedResources].toSorted()).toEqual(['nonsense', 'spiffe://foreign/other']);
    const secrets = new Map(first.resources.map(({ name, resource }) => [name, secretOf(resource?.value ?? new Uint8Array())]));
    for (const [name, secret] of secrets) expect(secret.name).toBe(name);
    const own = certificateOf(secrets.get('default') as Secret);
    expect(own.subjectAltName).toBe('URI:spiffe://dev/web');
    expect(certificateOf(secrets.get('spiffe://dev/other') as Secret).subjectAltName).toBe('URI:spiffe://dev/other');
    expect(secrets.get('ROOTCA')?.type).toMatchObject({
      case: 'validationContext',
      value: { trustedCa: { specifier: { value: plane.certificates.rootsPem } } },
    });
    plane.rotate('web');
    const second = await client.next();
    expect(second.resources.map(({ name }) => name)).toEqual(['default']);
    const renewed = certificateOf(secretOf(second.resources[0]?.resource?.value ?? new Uint8Array()));
    expect(renewed.serialNumber).not.toBe(own.serialNumber);

    const stranger = new RawSotw(plane.address, '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets');
    stranger.send({ node: { id: 'unknown' }, resourceNames: ['default', 'ROOTCA'] });
    expect((await stranger.next()).resources.map(({ value }) => secretOf(value).name)).toEqual(['ROOTCA']);
  });

  test('clusters name secrets instead of providers; whom to accept stands beside them', async () => {
    const plane = await start({ text: FILE, certificates: 'sds' });
    expect(plane.bootstrap('n1', 'web')).not.toHaveProperty('certificate_providers');
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: TYPE_URLS.cluster, resourceNames: ['b'], node: { id: 'n1' } });
    const [any] = (await client.next()).resources;
    const text = Buffer.from(any?.value ?? []).toString('latin1');
    for (const name of ['default', 'ROOTCA', 'spiffe://dev/b']) expect(text).toContain(name);
    expect(text).not.toContain('inmesh');
    expect(fromBinary(ClusterSchema, any?.value ?? new Uint8Array()).transportSocket?.name).toBe('envoy.transport_sockets.tls');
  });
});

describe('raw resources', () => {
  const cluster = (name: string, type = 'EDS'): object => ({ '@type': TYPE_URLS.cluster, name, type });
  const RUNTIME = { '@type': TYPE_URLS.runtime, name: 'layer', layer: { a: 1 } };

  test('a snapshot file is known by its content; nodes have their own; a bad one keeps the last good', async () => {
    const updates: Update[] = [];
    const file = join(folder({ 'snapshot.yaml': '' }), 'snapshot.yaml');
    const text = (version: string): string =>
      JSON.stringify({
        version,
        resources: [cluster('a'), RUNTIME],
        nodes: { special: { version: 's1', resources: [cluster('b')] } },
      });
    writeFileSync(file, text('v1'));
    const plane = await start({ file, onUpdate: (update) => void updates.push(update) });
    expect(plane.current).toBeUndefined();
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: TYPE_URLS.cluster, node: { id: 'any' } });
    expect(await client.next()).toMatchObject({ versionInfo: 'v1', resources: [{ typeUrl: TYPE_URLS.cluster }] });
    client.send({ typeUrl: TYPE_URLS.runtime, resourceNames: ['layer'] });
    expect(await client.next()).toMatchObject({ versionInfo: 'v1', typeUrl: TYPE_URLS.runtime, resources: [{}] });
    const special = new RawDelta(plane.address);
    special.send({ typeUrl: TYPE_URLS.cluster, node: { id: 'special' } });
    expect(await special.next()).toMatchObject({ systemVersionInfo: 's1', resources: [{ name: 'b' }] });

    expect(plane.update('resources: [{ "@type": type.googleapis.com/no.such.Type, name: x }]')).toMatchObject({
      ok: false,
      errors: [{ line: 1, path: 'resources[0]', message: expect.stringContaining('no.such.Type') }],
    });
    writeFileSync(file, text('v2'));
    expect(await client.next()).toMatchObject({ versionInfo: 'v2' });
    expect(updates.map(({ ok }) => ok)).toEqual([false, true]);
  });

  test('YAML anchors and merge keys, as such files have them', async () => {
    const text = `resources:\n  - &one { "@type": ${TYPE_URLS.cluster}, name: a, type: STATIC }\n  - { <<: *one, name: b }\n`;
    const plane = await start({ text });
    const client = new RawDelta(plane.address);
    client.send({ typeUrl: TYPE_URLS.cluster });
    expect((await client.next()).resources.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test('from code, and replaced', async () => {
    const plane = await start({ resources: [cluster('a') as Record<string, unknown>] });
    const client = new RawDelta(plane.address);
    client.send({ typeUrl: TYPE_URLS.cluster });
    expect((await client.next()).resources.map(({ name }) => name)).toEqual(['a']);
    expect(plane.replace([cluster('b') as Record<string, unknown>])).toMatchObject({
      ok: true,
      changed: [
        { kind: 'cluster', name: 'b' },
        { kind: 'cluster', name: 'a' },
      ],
    });
    expect((await client.next()).resources.map(({ name }) => name)).toEqual(['b']);
    expect((await client.next()).removedResources).toEqual(['a']);
    expect(() => plane.replace([{ name: 'no type' }])).toThrow(/resources\[0\]: "@type" is missing/);
  });

  test('what has a time to live is wrapped and refreshed by itself', async () => {
    const plane = await start({ resources: [{ '@type': WRAPPER, name: 'a', ttl: '0.1s', resource: cluster('a') }] });
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: TYPE_URLS.cluster });
    const first = await client.next();
    const inner = fromBinary(ResourceSchema, first.resources[0]?.value ?? new Uint8Array());
    expect(inner).toMatchObject({ name: 'a', ttl: { seconds: 0n, nanos: 100_000_000 }, resource: { typeUrl: TYPE_URLS.cluster } });
    const beat = await client.next();
    expect(beat.versionInfo).toBe(first.versionInfo);
    const empty = fromBinary(ResourceSchema, beat.resources[0]?.value ?? new Uint8Array());
    expect([empty.name, empty.resource]).toEqual(['a', undefined]);

    const quiet = await start({
      resources: [{ '@type': WRAPPER, name: 'a', ttl: '0.02s', resource: cluster('a') }],
      heartbeats: false,
    });
    const other = new RawSotw(quiet.address);
    other.send({ typeUrl: TYPE_URLS.cluster });
    await other.next();
    expect(await other.stream.silentFor(60)).toBe(true);
  });
});

describe('views', () => {
  const only = (name: string): string => `version: 1\nservices: { ${name}: {} }\n`;

  test('by node id, by pattern, by cluster; the first that fits', async () => {
    const plane = await start({
      text: only('common'),
      views: { 'web-*': { text: only('web') }, 'web-1': { text: only('never') }, 'cluster:blue': { text: only('blue') } },
    });
    const listeners = async (id: string, cluster = ''): Promise<readonly string[]> => {
      const client = new RawDelta(plane.address);
      client.send({ typeUrl: TYPE_URLS.listener, node: { id, cluster } });
      return (await client.next()).resources.map(({ name }) => name);
    };
    expect(await listeners('web-1')).toEqual(['web']);
    expect(await listeners('api', 'blue')).toEqual(['blue']);
    expect(await listeners('api')).toEqual(['common']);
    expect(await listeners('xweb-1')).toEqual(['common']);
  });

  test('all views have one trust domain', async () => {
    await expect(
      ControlPlane.start({ text: only('a'), views: { x: { text: `${only('b')}identity: { trustDomain: other }\n` } } }),
    ).rejects.toThrow(/trust domain "dev"\. All views need the same/);
  });
});
