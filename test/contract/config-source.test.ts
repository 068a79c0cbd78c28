/**
 * One suite for every `ConfigSource` (config/resource.ts): a `mesh.yaml`, and the xDS client on demand, whole (sidecar view), and with
 * `fail_on_data_errors` (gRFC A88). The control plane is in memory, time is simulated, messages are real.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { resolve } from '../../src/config/resolve.ts';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { ConfigSource, ResourceKey, ResourceKind } from '../../src/config/resource.ts';
import { silentLogger } from '../../src/core/log.ts';
import { FILTERS } from '../../src/filters/registry.ts';
import { jsonToAny } from '../../src/proto/any.ts';
import { MeshYamlSource } from '../../src/sources/mesh-yaml-source.ts';
import { FakeClock, settle } from '../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../src/testing/seeded-random.ts';
import { XdsClient } from '../../src/xds/client.ts';
import { RESOURCE_TYPES } from '../../src/xds/resource-types.ts';
import { FakeTransport, SERVER, bootstrap, plain } from '../unit/xds/fake-control-plane.ts';

/** Services and the ports of their endpoints. A port beyond 65535 makes what it is in invalid. */
type World = Readonly<Record<string, readonly number[]>>;

const KINDS = ['listener', 'routes', 'cluster', 'endpoints'] as const;
type Kind = (typeof KINDS)[number];

const FIRST: World = { a: [1001, 1002], b: [2001] };
const BAD_PORT = 70_000;

interface Harness {
  readonly source: ConfigSource;
  readonly clock: FakeClock;
  /** What the file or the control plane says from now on; the promise ends when it has arrived. */
  publish(world: World): Promise<void>;
  /** Lets arrive what `want` has asked for. */
  sync(): Promise<void>;
}

interface Implementation {
  open(): Harness;
  /** Without any server listener. */
  bare(): ConfigSource;
  /** The server listener of port 8080. */
  readonly inbound: string;
  /** Has listeners by itself. */
  readonly whole: boolean;
  /** A resource that becomes invalid keeps its last good value. */
  readonly keepsRejected: boolean;
  readonly keepsDeleted: boolean;
}

const yamlOf = (world: World, inbound: boolean): string => `version: 1
services:
${Object.entries(world)
  .map(([name, ports]) => `  ${name}: { endpoints: [${ports.map((port) => `"10.0.0.1:${port}"`).join(', ')}] }`)
  .join('\n')}
${inbound ? 'inbound: [{ port: 8080 }]' : ''}
`;

function openYaml(inbound = true): Harness & { readonly source: MeshYamlSource } {
  const clock = new FakeClock();
  const source = MeshYamlSource.fromText(yamlOf(FIRST, inbound), 'mesh.yaml', { clock, log: silentLogger });
  return {
    source,
    clock,
    publish: (world) => {
      source.reload(yamlOf(world, inbound));
      return Promise.resolve();
    },
    sync: () => Promise.resolve(),
  };
}

const TYPE = 'type.googleapis.com/envoy.';
const ADS = { ads: {}, resourceApiVersion: 'V3' };

function message(kind: Kind, name: string, ports: readonly number[]): object {
  const of = { '@type': TYPE_URLS[kind] };
  switch (kind) {
    case 'listener':
      return {
        ...of,
        name,
        apiListener: {
          apiListener: {
            '@type': `${TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
            rds: { routeConfigName: name, configSource: ADS },
            httpFilters: [{ name: 'router', typedConfig: { '@type': `${TYPE}extensions.filters.http.router.v3.Router` } }],
          },
        },
      };
    case 'routes':
      return { ...of, name, virtualHosts: [{ name, domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: name } }] }] };
    case 'cluster':
      return { ...of, name, type: 'EDS', edsClusterConfig: { edsConfig: ADS } };
    case 'endpoints':
      return {
        ...of,
        clusterName: name,
        endpoints: [
          {
            loadBalancingWeight: 1,
            lbEndpoints: ports.map((portValue) => ({ endpoint: { address: { socketAddress: { address: '10.0.0.1', portValue } } } })),
          },
        ],
      };
  }
}

/** The far side of the stream: answers each type with what was asked for, when that is news. State of the world. */
class FakeControlPlane {
  readonly transport = new FakeTransport();
  #world: World = FIRST;
  readonly #delivered = new Map<Kind, string>();
  #version = 0;

  async publish(world: World): Promise<void> {
    this.#world = world;
    await this.sync();
  }

  async sync(): Promise<void> {
    for (const kind of KINDS) {
      const stream = this.transport.streams.at(-1);
      if (stream === undefined || stream.ended) return;
      while (stream.paused) await settle();
      const names = stream.sent.map(plain).findLast(({ type }) => type === kind)?.names;
      if (names === undefined) continue;
      const all = Object.entries(this.#world).filter(([name]) => names.length === 0 || names.includes(name));
      const content = JSON.stringify(all.map(([name, ports]) => message(kind, name, ports)));
      if (this.#delivered.get(kind) === content) continue;
      this.#delivered.set(kind, content);
      const version = String(++this.#version);
      stream.respond(
        kind,
        version,
        version,
        all.map(([name, ports]) => jsonToAny(message(kind, name, ports))),
      );
      do await settle();
      while (stream.paused);
    }
  }
}

function openXds(features: readonly string[], wildcard: boolean, serverListenerTemplate: string | undefined): Harness {
  const clock = new FakeClock();
  const world = new FakeControlPlane();
  const source = new XdsClient({
    bootstrap: bootstrap({ servers: [{ ...SERVER, features }], serverListenerTemplate }),
    transport: () => world.transport,
    types: RESOURCE_TYPES,
    decode: { filters: FILTERS, lbPolicies: LB_POLICIES },
    clock,
    random: new ScriptedRandom(0.5),
    log: silentLogger,
    wildcard,
    userAgentVersion: '0',
  });
  world.transport.streams.at(-1)?.connect();
  return {
    source,
    clock,
    publish: (next) => world.publish(next),
    sync: async () => {
      const stream = world.transport.streams.at(-1);
      if (stream !== undefined && !stream.ended && !source.describe().connected) stream.connect();
      await world.sync();
    },
  };
}

const xds = (features: readonly string[], wildcard: boolean): Implementation => ({
  open: () => openXds(features, wildcard, 'server/%s'),
  bare: () => openXds(features, wildcard, undefined).source,
  inbound: 'server/127.0.0.1:8080',
  whole: wildcard,
  keepsRejected: features.length === 0,
  keepsDeleted: features.length === 0,
});

const IMPLEMENTATIONS: readonly (readonly [string, Implementation])[] = [
  [
    'MeshYamlSource',
    {
      open: openYaml,
      bare: () => openYaml(false).source,
      inbound: 'inbound/0.0.0.0:8080',
      whole: true,
      keepsRejected: true,
      keepsDeleted: false,
    },
  ],
  ['XdsClient', xds([], false)],
  ['XdsClient, wildcard', xds([], true)],
  ['XdsClient, fail_on_data_errors', xds(['fail_on_data_errors'], false)],
];

/** The version may move on without the value. */
function valueOf(source: ConfigSource, kind: ResourceKind, name: string): unknown {
  const state = source.get(kind, name);
  return state.status === 'present' ? state.value : state.status;
}

const keysOf = (...names: string[]): ResourceKey[] => names.flatMap((name) => KINDS.map((kind) => ({ kind, name })));

describe.each(IMPLEMENTATIONS)('%s', (_name, implementation) => {
  /** Everything of `a` and `b` has arrived; counts what is told from then on. */
  async function opened(): Promise<Harness & { told: () => number }> {
    const harness = implementation.open();
    let told = 0;
    harness.source.onChange(() => void told++);
    onTestFinished(async () => {
      await harness.source.close();
      expect(harness.clock.pending, 'timers left').toBe(0);
    });
    harness.source.want(keysOf('a', 'b'));
    await harness.sync();
    const before = told;
    return { ...harness, told: () => told - before };
  }

  const ports = (source: ConfigSource, name: string): readonly number[] | string => {
    const state = source.get('endpoints', name);
    return state.status === 'present' ? state.value.localities.flatMap(({ endpoints }) => endpoints.map(({ port }) => port)) : state.status;
  };

  test('what is wanted arrives, whole enough to resolve', async () => {
    const { source } = await opened();
    for (const { kind, name } of keysOf('a', 'b'))
      expect(source.get(kind as Kind, name), `${kind} ${name}`).toMatchObject({ status: 'present', version: expect.stringMatching(/./) });
    expect([ports(source, 'a'), ports(source, 'b')]).toEqual([[1001, 1002], [2001]]);
    const resolution = resolve('a', source);
    expect(resolution.status).toBe('complete');
    if (resolution.status === 'complete') expect([...resolution.snapshot.clusters.keys()]).toEqual(['a']);
  });

  test.each(KINDS)('a %s that does not exist is not present, in the end failed with a reason, and bothers nobody', async (kind) => {
    const { source, clock, sync } = await opened();
    expect(source.get(kind, 'never wanted').status).not.toBe('present');
    source.want([...keysOf('a', 'b'), { kind, name: 'zzz' }]);
    await sync();
    expect(source.get(kind, 'zzz').status).not.toBe('present');
    // gRFC A57: 15 s.
    await clock.advance(15_000);
    expect(source.get(kind, 'zzz')).toMatchObject({ status: 'failed', reason: expect.stringContaining(kind) });
    expect(resolve('a', source).status).toBe('complete');
  });

  test('`want` tells nothing from within', async () => {
    const { source } = await opened();
    let inside = true;
    let within = 0;
    source.onChange(() => void (inside && within++));
    // An authority that nobody has fails at once.
    source.want([...keysOf('a', 'b', 'zzz'), { kind: 'cluster', name: 'xdstp://nobody/envoy.config.cluster.v3.Cluster/x' }]);
    source.want([]);
    source.want(keysOf('a', 'b'));
    inside = false;
    expect(within).toBe(0);
    await settle();
  });

  test('the same set again changes nothing, whatever its order', async () => {
    const { source, sync, told } = await opened();
    const before = keysOf('a', 'b').map(({ kind, name }) => source.get(kind, name));
    source.want(keysOf('b', 'a', 'b'));
    await sync();
    await settle();
    expect(told()).toBe(0);
    for (const [i, { kind, name }] of keysOf('a', 'b').entries()) expect(source.get(kind, name)).toBe(before[i]);
  });

  test('`want` is the whole set: what stays in it is not disturbed, what comes back arrives again', async () => {
    const { source, sync, publish } = await opened();
    const before = KINDS.map((kind) => valueOf(source, kind, 'a'));
    source.want(keysOf('a'));
    await sync();
    for (const [i, kind] of KINDS.entries()) expect(valueOf(source, kind, 'a'), kind).toBe(before[i]);
    await publish({ ...FIRST, b: [2002] });
    source.want(keysOf('a', 'b'));
    await sync();
    expect(ports(source, 'b')).toEqual([2002]);
  });

  test('a batch is told once, when all of it can be read', async () => {
    const { source, publish, told } = await opened();
    const seen: unknown[] = [];
    source.onChange(() => void seen.push([ports(source, 'a'), ports(source, 'b')]));
    await publish({ a: [1003], b: [2003, 2004] });
    expect(seen).toEqual([[[1003], [2003, 2004]]]);
    expect(told(), 'the listener before this one').toBe(0);
  });

  test('what did not change keeps its identity, and the same again is not told', async () => {
    const { source, publish, told } = await opened();
    const others = [...keysOf('b'), ...keysOf('a').filter(({ kind }) => kind !== 'endpoints')];
    const before = others.map(({ kind, name }) => valueOf(source, kind, name));
    const endpoints = valueOf(source, 'endpoints', 'a');
    await publish({ ...FIRST, a: [1001, 1009] });
    expect(told()).toBe(1);
    expect(valueOf(source, 'endpoints', 'a')).not.toBe(endpoints);
    for (const [i, { kind, name }] of others.entries()) expect(valueOf(source, kind, name), `${kind} ${name}`).toBe(before[i]);
    await publish({ a: [1001, 1009], b: [2001] });
    expect(told()).toBe(1);
  });

  test('an invalid update is described; the last good value stays unless the server says otherwise; a good one mends it', async () => {
    const { source, publish, told } = await opened();
    const before = source.get('endpoints', 'a');
    const complaint = (): string | undefined =>
      source.describe().problem ?? source.describe().resources.find(({ error }) => error !== undefined)?.error;
    expect(complaint()).toBeUndefined();
    await publish({ ...FIRST, a: [BAD_PORT] });
    expect(complaint()).toContain(String(BAD_PORT));
    if (implementation.keepsRejected) {
      expect([source.get('endpoints', 'a') === before, told()]).toEqual([true, 0]);
    } else {
      expect(source.get('endpoints', 'a')).toMatchObject({ status: 'failed', reason: expect.stringContaining(String(BAD_PORT)) });
      expect(told()).toBe(1);
    }
    expect(ports(source, 'b')).toEqual([2001]);
    await publish({ ...FIRST, a: [1004] });
    expect([complaint(), ports(source, 'a')]).toEqual([undefined, [1004]]);
    expect(told()).toBe(implementation.keepsRejected ? 1 : 2);
  });

  test('what is deleted fails with a reason, or stays and is described (gRFC A88)', async () => {
    const { source, publish, told } = await opened();
    await publish({ a: FIRST['a'] ?? [] });
    const state = source.get('cluster', 'b');
    if (implementation.keepsDeleted) {
      expect(state.status).toBe('present');
      const described = source.describe().resources.find(({ typeUrl, name }) => typeUrl === TYPE_URLS.cluster && name === 'b');
      expect(described).toMatchObject({ status: 'DOES_NOT_EXIST', error: expect.stringMatching(/./) });
    } else {
      expect(state).toMatchObject({ status: 'failed', reason: expect.stringMatching(/./) });
      expect(told()).toBeGreaterThan(0);
    }
    expect(resolve('a', source).status).toBe('complete');
  });

  test('the listener is never called from within itself, and misses nothing', async () => {
    const { source, publish } = await opened();
    let depth = 0;
    let deepest = 0;
    let inner: Promise<void> | undefined;
    const seen: unknown[] = [];
    source.onChange(() => {
      deepest = Math.max(deepest, ++depth);
      inner ??= publish({ ...FIRST, a: [1006] });
      // Failing at once is news as well.
      source.want([...keysOf('a', 'b'), { kind: 'cluster', name: 'xdstp://nobody/envoy.config.cluster.v3.Cluster/x' }]);
      seen.push(ports(source, 'a'));
      depth--;
    });
    await publish({ ...FIRST, a: [1005] });
    await inner;
    expect(deepest).toBe(1);
    expect(seen.at(-1)).toEqual([1006]);
  });

  test('candidates: the name with its port before the one without, each once', async () => {
    const { source } = await opened();
    expect(source.candidates('a')).toEqual(['a']);
    const found = source.candidates('a:8080');
    expect(found.at(-1)).toBe('a');
    expect(found.slice(0, -1)).toEqual(found.length === 1 ? [] : ['a:8080']);
    expect(source.candidates('zzz').filter((name) => name !== 'zzz')).toEqual([]);
  });

  test('server listeners by their address; none where none is configured', async () => {
    const { source } = await opened();
    expect(source.inboundListener('127.0.0.1', 8080)).toBe(implementation.inbound);
    const bare = implementation.bare();
    onTestFinished(() => bare.close());
    expect(bare.inboundListener('127.0.0.1', 8080)).toBeUndefined();
  });

  test('listeners: those it has by itself, each there to be read; on demand none', async () => {
    const { source } = await opened();
    const names = source.listeners();
    expect(names.filter((name) => !name.startsWith('inbound/')).toSorted()).toEqual(implementation.whole ? ['a', 'b'] : []);
    for (const name of names) expect(source.get('listener', name).status).toBe('present');
  });

  test('describe: type, name, version, state and time of every resource', async () => {
    const { source, clock, publish } = await opened();
    const at = clock.wallTime();
    const described = (kind: Kind, name: string) =>
      source.describe().resources.filter((entry) => entry.typeUrl === TYPE_URLS[kind] && entry.name === name);
    for (const { kind, name } of keysOf('a', 'b')) {
      const state = source.get(kind, name);
      const version = state.status === 'present' ? state.version : '';
      expect(described(kind as Kind, name)).toEqual([
        { typeUrl: TYPE_URLS[kind], name, version, status: 'ACKED', error: undefined, updatedAt: at },
      ]);
    }
    expect(source.describe()).toMatchObject({ name: source.name, connected: true, problem: undefined, unsupported: [] });
    await clock.advance(1000);
    await publish({ ...FIRST, a: [1007] });
    expect([described('endpoints', 'a')[0]?.updatedAt, described('endpoints', 'b')[0]?.updatedAt]).toEqual([at + 1000, at]);
  });

  test('close: twice is once; what was read stays readable, nothing is told or asked any more', async () => {
    const { source, clock, publish, told } = await opened();
    await Promise.all([source.close(), source.close()]);
    expect(clock.pending).toBe(0);
    expect(source.describe().connected).toBe(false);
    expect(ports(source, 'a')).toEqual([1001, 1002]);
    source.want(keysOf('a', 'zzz'));
    await publish({ ...FIRST, a: [1008] });
    await clock.advance(60_000);
    expect([told(), clock.pending]).toEqual([0, 0]);
  });
});
