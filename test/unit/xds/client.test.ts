/** Names, servers and `describe()` of an `XdsClient`; its connection, updates and flow control have files of their own. */
import { describe, expect, test } from 'vitest';
import { settle } from '../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import { SERVER, bootstrap, resource } from './fake-control-plane.ts';
import { setup } from './setup.ts';

const LISTENER = { kind: 'listener', name: 'a' } as const;

describe('names and servers', () => {
  const other = { ...SERVER, uri: 'other:2' };
  const federated = bootstrap({
    serverListenerTemplate: 'in/%s',
    clientListenerTemplate: 'xdstp://auth/L/%s',
    authorities: {
      auth: { servers: [other], clientListenerTemplate: '' },
      same: { servers: [{ ...SERVER }], clientListenerTemplate: '' },
    },
  });

  test('candidates and the inbound listener come from the templates', () => {
    const { client } = setup({ bootstrap: federated });
    expect(client.candidates('greeter:80')).toEqual(['greeter:80', 'greeter', 'xdstp://auth/L/greeter:80']);
    expect(client.inboundListener('::1', 80)).toBe('in/[::1]:80');
    expect(setup().client.inboundListener('::1', 80)).toBeUndefined();
  });

  test('an authority has its server; the same server configuration shares a stream (gRFC A47)', () => {
    const { client, transport, transports } = setup({ bootstrap: federated });
    client.want([LISTENER, { kind: 'listener', name: 'xdstp://auth/L/x' }, { kind: 'listener', name: 'xdstp://same/L/y' }]);
    expect(transport.streams).toHaveLength(1);
    expect(transport.stream.take()).toMatchObject([{ names: ['a', 'xdstp://same/L/y'] }]);
    const second = transports.get('other:2');
    expect(second?.stream.take()).toMatchObject([{ names: ['xdstp://auth/L/x'], node: 'n1' }]);
    second?.stream.connect().respond('listener', '1', 'n', [resource('listener', 'xdstp://auth/L/x', 'X')]);
    expect(client.get('listener', 'xdstp://auth/L/x')).toMatchObject({ value: 'X' });
    // A complete list of one server says nothing about the names of another.
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
    expect(client.describe().resources.find(({ name }) => name === 'xdstp://auth/L/x')?.status).toBe('ACKED');
  });

  test('an unknown authority fails that name alone, and says so', async () => {
    const { client, changes } = setup({ bootstrap: federated });
    client.want([{ kind: 'cluster', name: 'xdstp://nobody/C/x' }]);
    expect(changes()).toBe(0);
    await settle();
    expect(changes()).toBe(1);
    expect(client.get('cluster', 'xdstp://nobody/C/x')).toEqual({ status: 'failed', reason: 'the bootstrap has no authority "nobody"' });
  });

  test('a type that nobody decodes fails', async () => {
    const { client } = setup();
    client.want([{ kind: 'secret', name: 's' }]);
    await settle();
    expect(client.get('secret', 's')).toEqual({ status: 'failed', reason: 'resources of type secret are not supported' });
  });

  test('listeners(): those of a wildcard LDS, none on demand', () => {
    const on = setup({ wildcard: true });
    on.transport.stream
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'x'), resource('listener', 'y', 'bad'), resource('listener', 'z')]);
    expect(on.client.listeners()).toEqual(['x', 'z']);
    on.transport.stream.respond('listener', '2', 'm', [resource('listener', 'z')]);
    expect(on.client.listeners()).toEqual(['z']);
    const off = setup();
    off.client.want([LISTENER]);
    off.transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
    expect(off.client.listeners()).toEqual([]);
  });

  test.each([
    ['kept, and listed last', [], ['y', 'x']],
    ['gone with fail_on_data_errors', ['fail_on_data_errors'], ['y']],
  ] as const)('listeners(): one that the list lost while it is in use is %s (gRFC A88)', (_title, features, listed) => {
    const { client, transport } = setup({ wildcard: true, bootstrap: bootstrap({ servers: [{ ...SERVER, features }] }) });
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'x'), resource('listener', 'z')]);
    client.want([{ kind: 'listener', name: 'x' }]);
    transport.stream.respond('listener', '2', 'm', [resource('listener', 'y')]);
    expect(client.listeners()).toEqual(listed);
  });
});

test('describe: CSDS status, version, time of update, and fields without effect, which go with their resource', () => {
  const { client, clock, transport } = setup();
  const keys = ['a', 'b', 'c'].map((name) => ({ kind: 'cluster', name }) as const);
  client.want(keys);
  transport.stream.connect().respond('cluster', '1', 'n', [resource('cluster', 'a', 'extra'), resource('cluster', 'b', 'bad')]);
  const typeUrl = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
  expect(client.describe()).toEqual({
    name: 'xds:cp:1',
    connected: true,
    problem: undefined,
    servers: [{ uri: 'cp:1', connected: true, problem: undefined }],
    resources: [
      { typeUrl, name: 'a', version: '1', status: 'ACKED', error: undefined, updatedAt: clock.wallTime() },
      {
        typeUrl,
        name: 'b',
        version: '',
        status: 'NACKED',
        error: 'cluster "b" at some.field: bad',
        failed: { details: 'cluster "b" at some.field: bad', version: '1', at: clock.wallTime() },
        updatedAt: 0,
      },
      { typeUrl, name: 'c', version: '', status: 'REQUESTED', error: undefined, updatedAt: 0 },
    ],
    unsupported: [{ kind: 'cluster', field: 'extra', resource: 'a' }],
  });
  client.want(keys.slice(1));
  expect(client.describe().unsupported).toEqual([]);
  expect(client.describe().resources.map(({ name }) => name)).toEqual(['b', 'c']);
});

test('random chance is used for waits only, within its bounds', async () => {
  const { client, clock, transport } = setup({}, new SeededRandom(7));
  client.want([LISTENER]);
  for (let attempt = 0; attempt < 40; attempt++) {
    const before = clock.now();
    transport.stream.end(14);
    const count = transport.streams.length;
    while (transport.streams.length === count) await clock.advance(50);
    const nominal = Math.min(120_000, 1000 * 1.6 ** attempt);
    expect(clock.now() - before).toBeGreaterThanOrEqual(nominal * 0.8);
    expect(clock.now() - before).toBeLessThanOrEqual(nominal * 1.2 + 50);
  }
});
