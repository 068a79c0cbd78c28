/** Several servers (gRFC A71), streams for single types (Envoy X-1), config sources of their own, static resources. */
import { describe, expect, test } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ConfigSourceConfig } from '../../../src/config/config-source.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { FakeTransport, FakeType, SERVER, bootstrap, fakeTypes, resource } from './fake-control-plane.ts';
import type { FakeStream } from './fake-control-plane.ts';
import { RecordingLogger, setup } from './setup.ts';
import type { Setup } from './setup.ts';

const A = { kind: 'listener', name: 'a' } as const;
const B = { kind: 'cluster', name: 'b' } as const;
const SECOND = { ...SERVER, uri: 'cp:2' };
const THIRD = { ...SERVER, uri: 'cp:3' };

function streamOf({ transports }: Setup, uri: string): FakeStream {
  const stream = transports.get(uri)?.streams.at(-1);
  if (stream === undefined) throw new Error(`no stream to ${uri}`);
  return stream;
}

function several(servers = [SERVER, SECOND, THIRD], log = new RecordingLogger()) {
  return { ...setup({ bootstrap: bootstrap({ servers }), log }), log };
}

describe('fallback (gRFC A71)', () => {
  test('a stream that dies without a response, with something missing: the next server gets the whole subscription', async () => {
    const made = several();
    made.client.want([A, B]);
    streamOf(made, 'cp:1').end(14, 'refused');
    await settle();
    expect(streamOf(made, 'cp:2').take()).toEqual([
      { type: 'listener', names: ['a'], node: 'n1' },
      { type: 'cluster', names: ['b'] },
    ]);
    streamOf(made, 'cp:2')
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'a', 'from 2')]);
    expect(made.client.get('listener', 'a')).toMatchObject({ status: 'present', value: 'from 2' });
    expect(made.client.describe().servers?.map(({ uri, connected }) => [uri, connected])).toEqual([
      ['cp:1', false],
      ['cp:2', true],
    ]);
    // The better one goes on being tried.
    await made.clock.advance(1000);
    expect(made.transports.get('cp:1')?.streams).toHaveLength(2);
  });

  test('with everything cached there is no fallback: old data is better than another server', async () => {
    const made = several();
    made.client.want([A]);
    streamOf(made, 'cp:1')
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    streamOf(made, 'cp:1').end(14, '');
    await made.clock.advance(1000);
    streamOf(made, 'cp:1').end(14, 'refused');
    await made.clock.advance(10_000);
    expect(made.transports.has('cp:2')).toBe(false);
    // A name that is not there yet asks for more.
    made.client.want([A, B]);
    await settle();
    expect(streamOf(made, 'cp:2').take()).toHaveLength(2);
  });

  test('a stream that ended after a response is no failure', async () => {
    const made = several();
    made.client.want([A, B]);
    streamOf(made, 'cp:1')
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    streamOf(made, 'cp:1').end(14, '');
    await settle();
    expect(made.transports.has('cp:2')).toBe(false);
  });

  test('down the whole list, and back to the first as soon as it answers; what the lower ones say then counts for nothing', async () => {
    const made = several();
    made.client.want([A, B]);
    streamOf(made, 'cp:1').end(14, 'refused');
    await settle();
    streamOf(made, 'cp:2').end(14, 'refused too');
    await settle();
    const third = streamOf(made, 'cp:3').connect();
    third.respond('listener', '1', 'n', [resource('listener', 'a', 'from 3')]);
    await made.clock.advance(1000);
    const first = streamOf(made, 'cp:1').connect();
    expect(third.ended).toBe(false);
    first.respond('cluster', '1', 'n', [resource('cluster', 'b', 'from 1')]);
    await settle();
    expect(third.ended).toBe(true);
    // What the first one has not said yet stays.
    expect(made.client.get('listener', 'a')).toMatchObject({ value: 'from 3' });
    first.respond('listener', '1', 'n', [resource('listener', 'a', 'from 1')]);
    expect(made.client.get('listener', 'a')).toMatchObject({ value: 'from 1' });
    expect(made.client.describe().servers?.map(({ uri }) => uri)).toEqual(['cp:1']);
    expect(made.log.lines.filter((line) => line.includes('returning to it'))).toHaveLength(1);
  });

  test('after a fallback the first server is asked without a version, since its data may have been replaced', async () => {
    const made = several([SERVER, SECOND]);
    made.client.want([A]);
    streamOf(made, 'cp:1')
      .connect()
      .respond('listener', '7', 'n', [resource('listener', 'a', 'A')]);
    streamOf(made, 'cp:1').end(14, '');
    await made.clock.advance(1000);
    made.client.want([A, B]);
    streamOf(made, 'cp:1').end(14, 'refused');
    await settle();
    streamOf(made, 'cp:2')
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'a', 'from 2')]);
    await made.clock.advance(1600);
    expect(streamOf(made, 'cp:1').take()).toEqual([
      { type: 'listener', names: ['a'], node: 'n1' },
      { type: 'cluster', names: ['b'] },
    ]);
  });

  test('the wait for a resource begins anew at the server that is asked now', async () => {
    const made = several([SERVER, SECOND]);
    made.client.want([A]);
    streamOf(made, 'cp:1').connect();
    await made.clock.advance(14_000);
    streamOf(made, 'cp:1').end(14, 'lost');
    await settle();
    streamOf(made, 'cp:2').connect();
    await made.clock.advance(14_000);
    expect(made.client.get('listener', 'a').status).toBe('waiting');
    await made.clock.advance(1000);
    expect(made.client.get('listener', 'a')).toEqual({ status: 'failed', reason: 'cp:2 sent no listener of this name within 15 s' });
  });

  test('and at the one that is returned to, whose streams began later', async () => {
    const made = several([SERVER, SECOND]);
    made.client.want([A, B]);
    streamOf(made, 'cp:1').end(14, 'refused');
    await settle();
    streamOf(made, 'cp:2').connect();
    await made.clock.advance(14_000);
    streamOf(made, 'cp:1')
      .connect()
      .respond('cluster', '1', 'n', [resource('cluster', 'b', 'B')]);
    await made.clock.advance(14_999);
    expect(made.client.get('listener', 'a').status).toBe('waiting');
    await made.clock.advance(1);
    expect(made.client.get('listener', 'a')).toEqual({ status: 'failed', reason: 'cp:1 sent no listener of this name within 15 s' });
  });

  test('a wildcard list that never came is missing, too', async () => {
    const made = setup({ bootstrap: bootstrap({ servers: [SERVER, SECOND] }), wildcard: true });
    made.transport.stream.end(14, 'refused');
    await settle();
    expect(streamOf(made, 'cp:2').take()).toEqual([
      { type: 'listener', names: [], node: 'n1' },
      { type: 'cluster', names: [] },
    ]);
    streamOf(made, 'cp:2')
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    expect(made.client.listeners()).toEqual(['a']);
  });

  test.each(['sotw', 'delta'] as const)('%s, wildcard: back at the first server, what only the lower one had is gone', async (protocol) => {
    const servers = [SERVER, SECOND].map((server) => ({ ...server, protocol }));
    const made = setup({ bootstrap: bootstrap({ servers }), wildcard: true });
    const respond = (stream: FakeStream, nonce: string, ...names: readonly string[]): void => {
      const bodies = names.map((name) => ({ name, version: nonce, body: resource('cluster', name, name) }));
      if (protocol === 'delta') stream.respondDelta('cluster', nonce, bodies);
      else
        stream.respond(
          'cluster',
          nonce,
          nonce,
          bodies.map(({ body }) => body),
        );
    };
    const there = (): unknown => made.client.describe().resources.map(({ name, status }) => [name, status]);
    made.client.want([{ kind: 'cluster', name: 'used' }]);
    made.transport.stream.end(14, 'refused');
    await settle();
    respond(streamOf(made, 'cp:2').connect(), 'n', 'both', 'second', 'used');
    await made.clock.advance(1000);
    const first = made.transport.stream.connect();
    respond(first, 'a', 'both');
    // What is in use keeps its value (gRFC A88).
    expect(there()).toEqual([
      ['used', 'DOES_NOT_EXIST'],
      ['both', 'ACKED'],
    ]);
    expect(made.client.get('cluster', 'used')).toMatchObject({ status: 'present' });
    // Later answers of the incremental dialect name what changed only.
    if (protocol === 'delta') respond(first, 'b', 'new');
    else respond(first, 'b', 'both', 'new');
    expect(there()).toEqual([
      ['used', 'DOES_NOT_EXIST'],
      ['both', 'ACKED'],
      ['new', 'ACKED'],
    ]);
  });

  describe('delta: a server says its values again that another one may have replaced', () => {
    const body = resource('listener', 'a', 'from 1');
    /** Of two servers, the first one has said `a`, and went away. */
    async function gone() {
      const log = new RecordingLogger();
      const servers = [SERVER, SECOND].map((server) => ({ ...server, protocol: 'delta' as const }));
      const made = setup({ bootstrap: bootstrap({ servers }), log });
      made.client.want([A]);
      streamOf(made, 'cp:1')
        .connect()
        .respondDelta('listener', 'n', [{ name: 'a', version: '1', body }]);
      streamOf(made, 'cp:1').end(14, '');
      await made.clock.advance(1000);
      expect(streamOf(made, 'cp:1').takeDelta()).toEqual([{ type: 'listener', sub: ['a'], initial: { a: '1' }, node: 'n1' }]);
      streamOf(made, 'cp:1').end(14, 'refused');
      await settle();
      return { ...made, log };
    }
    const both = [
      { type: 'listener', sub: ['a'], node: 'n1' },
      { type: 'cluster', sub: ['b'] },
    ];
    async function back(made: Awaited<ReturnType<typeof gone>>): Promise<void> {
      await made.clock.advance(3000);
      const first = streamOf(made, 'cp:1').connect();
      expect(first.takeDelta()).toEqual(both);
      // In between the other one answers.
      streamOf(made, 'cp:2')
        .connect()
        .respondDelta('listener', 'n', [{ name: 'a', version: '9', body: resource('listener', 'a', 'from 2') }]);
      expect(made.client.get('listener', 'a')).toMatchObject({ value: 'from 2' });
      first.respondDelta('listener', 'n', [{ name: 'a', version: '1', body }]);
      await settle();
      expect(made.client.get('listener', 'a')).toMatchObject({ value: 'from 1' });
      expect(streamOf(made, 'cp:2').ended).toBe(true);
      // From here on it is told again what is here.
      first.end(14, '');
      await made.clock.advance(1000);
      expect(streamOf(made, 'cp:1').takeDelta()).toEqual([{ ...both[0], initial: { a: '1' } }, both[1]]);
    }

    test('when it is tried while the other one is in use', async () => {
      const made = await gone();
      await made.clock.advance(1600);
      streamOf(made, 'cp:1').end(14, 'refused');
      made.client.want([A, B]);
      await back(made);
    });

    test('when it was being tried as the other one came into use', async () => {
      const made = await gone();
      await made.clock.advance(1600);
      const early = streamOf(made, 'cp:1');
      expect(early.takeDelta()).toEqual([{ type: 'listener', sub: ['a'], initial: { a: '1' }, node: 'n1' }]);
      made.client.want([A, B]);
      expect(early.cancelled).toBe(true);
      await back(made);
      expect(made.log.lines.filter((line) => line.startsWith('warn')).map((line) => line.split(' {')[0])).toEqual([
        'warn the control plane is not reachable; what is configured stays in use',
        'warn falling back to the next control plane',
      ]);
    });
  });

  test.each(['sotw', 'delta'] as const)(
    '%s, wildcard: a server does not speak for the names of another authority (gRFC A47)',
    (protocol) => {
      const other = { ...SECOND, protocol };
      const authorities = { x: { servers: [other], clientListenerTemplate: '' } };
      const made = setup({ bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }], authorities }), wildcard: true });
      const name = 'xdstp://x/envoy.config.listener.v3.Listener/l';
      const send = (stream: FakeStream, nonce: string, text: string): void => {
        const body = resource('listener', name, text);
        if (protocol === 'delta') stream.respondDelta('listener', nonce, [{ name, version: nonce, body }]);
        else stream.respond('listener', nonce, nonce, [body]);
      };
      const main = made.transport.stream.connect();
      send(main, 'a', 'stolen');
      expect([made.client.listeners(), made.client.describe().resources]).toEqual([[], []]);
      made.client.want([{ kind: 'listener', name }]);
      send(streamOf(made, 'cp:2').connect(), 'b', 'own');
      send(main, 'c', 'stolen');
      expect(made.client.get('listener', name)).toMatchObject({ status: 'present', value: 'own' });
      if (protocol === 'delta') main.respondDelta('listener', 'd', [], [name]);
      else main.respond('listener', 'd', 'd', []);
      expect(made.client.describe().resources).toMatchObject([{ name, status: 'ACKED' }]);
    },
  );

  test('authorities fall back by themselves and share feeds with others', async () => {
    const authorities = { x: { servers: [SECOND, SERVER], clientListenerTemplate: '' } };
    const made = setup({ bootstrap: bootstrap({ authorities }) });
    const name = 'xdstp://x/envoy.config.listener.v3.Listener/l';
    made.client.want([A, { kind: 'listener', name }]);
    expect(made.transport.stream.take()).toEqual([{ type: 'listener', names: ['a'], node: 'n1' }]);
    streamOf(made, 'cp:2').end(14, 'refused');
    await settle();
    expect(made.transport.streams).toHaveLength(1);
    expect(made.transport.stream.take()).toEqual([{ type: 'listener', names: ['a', name] }]);
    await made.clock.advance(1000);
    streamOf(made, 'cp:2')
      .connect()
      .respond('listener', '1', 'n', [resource('listener', name, 'back')]);
    expect(made.client.get('listener', name)).toMatchObject({ value: 'back' });
    expect(made.transport.stream.take()).toEqual([{ type: 'listener', names: ['a'] }]);
    // With its last name, an authority gives up its servers, but not the one that others use.
    made.client.want([A]);
    await settle();
    expect([streamOf(made, 'cp:2').ended, made.transport.stream.ended]).toEqual([true, false]);
  });
});

describe('streams for single types (Envoy X-1)', () => {
  test.each([
    [
      'sotw',
      '/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners',
      '/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters',
    ],
    [
      'delta',
      '/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners',
      '/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters',
    ],
  ] as const)(
    '%s: one for each type that is asked for, with the node in each; one may end without the other',
    async (protocol, lds, cds) => {
      const { client, clock, transport } = setup({ bootstrap: bootstrap({ servers: [{ ...SERVER, protocol, aggregated: false }] }) });
      client.want([A]);
      expect(transport.streams.map(({ method }) => method)).toEqual([lds]);
      client.want([A, B]);
      expect(transport.streams.map(({ method }) => method)).toEqual([lds, cds]);
      const [first, second] = transport.streams;
      const nodes = [first, second].map((stream) => (protocol === 'sotw' ? stream?.take() : stream?.takeDelta())?.map(({ node }) => node));
      expect(nodes).toEqual([['n1'], ['n1']]);
      second?.connect();
      second?.end(14, 'gone');
      await clock.advance(1000);
      expect(transport.streams.map(({ method }) => method)).toEqual([lds, cds, cds]);
      expect(first?.ended).toBe(false);
    },
  );

  test('virtual hosts have no state-of-the-world stream: the name fails with the reason', () => {
    const types = [...Object.values(fakeTypes()), new FakeType('virtual-host')];
    const { client } = setup({ types, bootstrap: bootstrap({ servers: [{ ...SERVER, aggregated: false }] }) });
    client.want([{ kind: 'virtual-host', name: 'r/h' }]);
    const state = client.get('virtual-host', 'r/h');
    expect(state).toMatchObject({ status: 'failed', reason: expect.stringContaining('has no stream for resources of type virtual-host') });
  });
});

describe('config sources', () => {
  const source: ConfigSourceConfig = {
    kind: 'api',
    id: 'own',
    protocol: 'delta',
    aggregated: false,
    services: [{ kind: 'cluster', name: 'other', metadata: [] }],
    refreshDelayMs: 0,
    requestTimeoutMs: 1000,
    initialFetchTimeoutMs: 2000,
  };

  test('an api source has a stream and a cache of its own: the same name twice is two resources', async () => {
    const made = setup({ bootstrap: bootstrap({ clusters: { other: SECOND } }) });
    made.client.want([
      { kind: 'endpoints', name: 'e' },
      { kind: 'endpoints', name: 'e', source },
    ]);
    const own = streamOf(made, 'cp:2');
    expect(own.method).toBe('/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints');
    expect(own.takeDelta()).toEqual([{ type: 'endpoints', sub: ['e'], node: 'n1' }]);
    own.connect().respondDelta('endpoints', 'n', [{ name: 'e', version: '1', body: resource('endpoints', 'e', 'own') }]);
    made.transport.stream.connect().respond('endpoints', '1', 'n', [resource('endpoints', 'e', 'main')]);
    expect(made.client.get('endpoints', 'e', source)).toMatchObject({ value: 'own' });
    expect(made.client.get('endpoints', 'e')).toMatchObject({ value: 'main' });
    made.client.want([
      { kind: 'endpoints', name: 'e' },
      { kind: 'endpoints', name: 'other', source },
    ]);
    expect(own.takeDelta()).toEqual([
      { type: 'endpoints', nonce: 'n' },
      { type: 'endpoints', sub: ['other'], unsub: ['e'] },
    ]);
  });

  test('a source of which nothing is wanted any more is closed, and asked anew when something is', async () => {
    const made = setup({ bootstrap: bootstrap({ clusters: { other: SECOND } }) });
    const key = { kind: 'endpoints', name: 'e', source } as const;
    made.client.want([key]);
    const first = streamOf(made, 'cp:2').connect();
    first.respondDelta('endpoints', 'n', [{ name: 'e', version: '1', body: resource('endpoints', 'e', 'own') }]);
    made.client.want([A]);
    await settle();
    expect([first.ended, made.transports.get('cp:2')?.closed]).toEqual([true, true]);
    expect(made.client.describe().servers?.map(({ uri }) => uri)).toEqual(['cp:1']);
    expect(made.client.get('endpoints', 'e', source).status).toBe('waiting');
    made.client.want([A, key]);
    expect(streamOf(made, 'cp:2').takeDelta()).toEqual([{ type: 'endpoints', sub: ['e'], node: 'n1' }]);
    streamOf(made, 'cp:2').end(14, 'refused');
    made.client.want([A]);
    await made.clock.advance(600_000);
    expect(made.transports.get('cp:2')?.streams, 'streams that were opened').toHaveLength(2);
  });

  test('one that cannot be had is forgotten with its last name', () => {
    const { client } = setup();
    client.want([{ kind: 'endpoints', name: 'e', source }]);
    client.want([]);
    expect(client.describe().resources).toEqual([]);
    expect(client.get('endpoints', 'e', source).status).toBe('waiting');
  });

  test('its initial fetch timeout replaces the 15 s', async () => {
    const made = setup({ bootstrap: bootstrap({ clusters: { other: SECOND } }) });
    made.client.want([{ kind: 'endpoints', name: 'e', source }]);
    streamOf(made, 'cp:2').connect();
    await made.clock.advance(1999);
    expect(made.client.get('endpoints', 'e', source).status).toBe('waiting');
    await made.clock.advance(1);
    expect(made.client.get('endpoints', 'e', source).status).toBe('failed');
  });

  test('a cluster that the bootstrap does not have: the name fails and says which', () => {
    const { client } = setup();
    client.want([{ kind: 'endpoints', name: 'e', source }]);
    expect(client.describe().resources[0]?.error).toContain('names cluster "other"');
    expect(client.get('endpoints', 'e', source)).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('names cluster "other"'),
    });
  });

  test('a source that cannot be had leaves the resource of the same name alone that comes from elsewhere', () => {
    const { client, transport } = setup();
    const main = { kind: 'endpoints', name: 'e' } as const;
    client.want([main]);
    const stream = transport.stream.connect();
    stream.respond('endpoints', '1', 'n1', [resource('endpoints', 'e', 'main')]);
    client.want([main, { ...main, source }]);
    expect(client.get('endpoints', 'e')).toMatchObject({ status: 'present', value: 'main' });
    client.want([main]);
    stream.respond('endpoints', '2', 'n2', [resource('endpoints', 'e', 'newer')]);
    expect(client.get('endpoints', 'e')).toMatchObject({ status: 'present', value: 'newer' });
  });

  test('a path source is read through the given transport', () => {
    const file = new FakeTransport();
    const path: ConfigSourceConfig = {
      kind: 'path',
      id: 'p',
      path: '/x.yaml',
      watchedDirectory: undefined,
      initialFetchTimeoutMs: undefined,
    };
    const { client } = setup({ pathTransport: () => file });
    client.want([{ kind: 'endpoints', name: 'e', source: path }]);
    file.stream.connect().respond('endpoints', '1', '', [resource('endpoints', 'e', 'from the file')]);
    expect(client.get('endpoints', 'e', path)).toMatchObject({ value: 'from the file' });
  });

  test('listeners of an Envoy bootstrap with a source of their own are subscribed whole there, clusters over ADS', () => {
    const lds = { ...source, aggregated: true, protocol: 'sotw' as const };
    const made = setup({ wildcard: true, bootstrap: bootstrap({ sources: { listener: lds }, clusters: { other: SECOND } }) });
    expect(streamOf(made, 'cp:2').take()).toEqual([{ type: 'listener', names: [], node: 'n1' }]);
    expect(made.transport.stream.take()).toEqual([{ type: 'cluster', names: [], node: 'n1' }]);
    streamOf(made, 'cp:2')
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'l', 'L')]);
    expect(made.client.listeners()).toEqual(['l']);
    expect(made.client.get('listener', 'l')).toMatchObject({ value: 'L' });
  });
});

describe('static resources', () => {
  test('are there at once, listed, and stronger than what is discovered', async () => {
    const made = setup({
      wildcard: true,
      bootstrap: bootstrap({ staticResources: [resource('listener', 'fixed', 'F'), resource('cluster', 'c', 'C')] }),
    });
    expect(made.client.get('listener', 'fixed')).toMatchObject({ status: 'present', value: 'F' });
    expect(made.client.listeners()).toEqual(['fixed']);
    made.transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'fixed', 'other'), resource('listener', 'l', 'L')]);
    expect(made.client.get('listener', 'fixed')).toMatchObject({ value: 'F' });
    expect(made.client.listeners()).toEqual(['fixed', 'l']);
  });

  test('one that cannot be used fails by itself, with its reason; the others are there', () => {
    const { client } = setup({
      bootstrap: bootstrap({ staticResources: [resource('cluster', 'c', 'bad'), resource('cluster', 'd', 'D')] }),
    });
    const reason: unknown = expect.stringMatching(/static_resources: cluster "c" at some\.field: bad/);
    expect(client.get('cluster', 'c')).toEqual({ status: 'failed', reason });
    expect(client.get('cluster', 'd')).toMatchObject({ status: 'present', value: 'D' });
    expect(client.describe().resources.find(({ name }) => name === 'c')).toMatchObject({ status: 'NACKED', error: reason });
  });

  test('a name that is there twice is a bad bootstrap; a type that is not read is recorded', () => {
    const twice = [resource('cluster', 'c', 'C'), resource('cluster', 'c', 'D')];
    expect(() => setup({ bootstrap: bootstrap({ staticResources: twice }) })).toThrow(/static_resources: cluster "c" is there twice/);
    const { client } = setup({ bootstrap: bootstrap({ staticResources: [{ typeUrl: TYPE_URLS.runtime, value: new Uint8Array() }] }) });
    expect(client.describe().unsupported).toContainEqual({ kind: 'runtime', field: '', resource: 'static_resources, number 0' });
  });

  test('fields of the bootstrap without effect are described', () => {
    const { client } = setup({ bootstrap: bootstrap({ unsupported: ['admin', 'node.user_agent_name'] }) });
    expect(client.describe().unsupported).toEqual([
      { kind: 'bootstrap', field: 'admin', resource: bootstrap().origin },
      { kind: 'bootstrap', field: 'node.user_agent_name', resource: bootstrap().origin },
    ]);
  });

  test('without any control plane nothing is opened; other names fail with the reason', () => {
    const made = setup({ bootstrap: bootstrap({ servers: [], sources: { cluster: 'none' } }) });
    made.client.want([A, B]);
    expect(made.transport.streams).toHaveLength(0);
    expect(made.client.get('cluster', 'b')).toMatchObject({
      status: 'failed',
      reason: 'the bootstrap has no cluster "b" and no source of others',
    });
  });
});
