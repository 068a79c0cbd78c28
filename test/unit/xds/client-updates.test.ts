/** An `XdsClient` and the responses of a control plane: what counts, what is refused, who is told, and how long a name is waited for. */
import { describe, expect, test } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { SERVER, bootstrap, resource } from './fake-control-plane.ts';
import { RecordingLogger, setup } from './setup.ts';

const LISTENER = { kind: 'listener', name: 'a' } as const;

describe('updates', () => {
  test.each(['sotw', 'delta'] as const)(
    '%s: each name is waited for as long as its config source says (Envoy X-84), else 15 s',
    async (protocol) => {
      const { client, clock, transport } = setup({ bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
      client.want([
        { kind: 'endpoints', name: 'short', waitMs: 2000 },
        { kind: 'endpoints', name: 'usual' },
        { kind: 'endpoints', name: 'endless', waitMs: 0 },
      ]);
      transport.stream.connect();
      const states = (): string[] => ['short', 'usual', 'endless'].map((name) => client.get('endpoints', name).status);
      await clock.advance(1999);
      expect(states()).toEqual(['waiting', 'waiting', 'waiting']);
      await clock.advance(1);
      expect(states()).toEqual(['failed', 'waiting', 'waiting']);
      expect(client.get('endpoints', 'short')).toMatchObject({ reason: expect.stringContaining('within 2 s') });
      await clock.advance(12_999);
      expect(states()).toEqual(['failed', 'waiting', 'waiting']);
      await clock.advance(1);
      expect(states()).toEqual(['failed', 'failed', 'waiting']);
      await clock.advance(3_600_000);
      expect(states()).toEqual(['failed', 'failed', 'waiting']);
    },
  );

  test('a resource that names itself twice is refused: the first name was looked at, the last one counts', async () => {
    const { client, transport } = setup({ types: RESOURCE_TYPES });
    client.want([
      { kind: 'endpoints', name: 'first' },
      { kind: 'endpoints', name: 'last' },
    ]);
    const named = (name: string): Buffer => Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name)]);
    const value = Buffer.concat([named('first'), named('last')]);
    transport.stream.connect().respond('endpoints', '1', 'n', [{ typeUrl: TYPE_URLS.endpoints, value }]);
    await settle();
    expect(client.get('endpoints', 'first')).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('is "last" in the resource itself'),
    });
    expect(client.get('endpoints', 'last').status).toBe('waiting');
  });

  test('one notification per response, after all of it; want() from within is sent after the ACK', () => {
    const { client, transport } = setup();
    const seen: string[] = [];
    client.onChange(() => {
      seen.push(`${client.get('cluster', 'a').status} ${client.get('cluster', 'b').status}`);
      client.want([
        { kind: 'cluster', name: 'a' },
        { kind: 'cluster', name: 'b' },
        { kind: 'endpoints', name: 'e' },
      ]);
    });
    client.want([
      { kind: 'cluster', name: 'a' },
      { kind: 'cluster', name: 'b' },
    ]);
    transport.stream.connect().respond('cluster', '1', 'n', [resource('cluster', 'a'), resource('cluster', 'b')]);
    expect(seen).toEqual(['present present']);
    expect(transport.stream.take().map(({ type, nonce }) => `${type} ${nonce ?? '-'}`)).toEqual(['cluster -', 'cluster n', 'endpoints -']);
  });

  test('unchanged resources are neither decoded nor delivered, and keep their identity', () => {
    const { client, transport, types, changes } = setup();
    client.want([
      { kind: 'cluster', name: 'a' },
      { kind: 'cluster', name: 'b' },
    ]);
    transport.stream.connect().respond('cluster', '1', 'n1', [resource('cluster', 'a', 'A'), resource('cluster', 'b', 'B')]);
    expect([types.cluster.decoded, changes()]).toEqual([2, 1]);
    transport.stream.respond('cluster', '2', 'n2', [resource('cluster', 'b', 'B'), resource('cluster', 'a', 'A')]);
    expect([types.cluster.decoded, changes()]).toEqual([2, 1]);
    expect(client.get('cluster', 'a')).toEqual({ status: 'present', value: 'A', version: '2' });
    transport.stream.respond('cluster', '3', 'n3', [resource('cluster', 'a', 'A2'), resource('cluster', 'b', 'B')]);
    expect([types.cluster.decoded, changes()]).toEqual([3, 2]);
  });

  test('an identical rejected response is not decoded again, also on the next stream; 1000 of them take few requests', async () => {
    const { client, clock, transport, types } = setup();
    client.want([{ kind: 'routes', name: 'r' }]);
    transport.stream.connect();
    let answered = -1;
    const begin = clock.now();
    // A server that sends the rejected response again as soon as it reads a NACK, for 10 minutes.
    for (let nonce = 0; clock.now() - begin < 600_000;) {
      if (transport.stream.sent.length > answered) {
        answered = transport.stream.sent.length;
        transport.stream.respond('routes', '1', `n${nonce++}`, [resource('routes', 'r', 'bad')]);
      }
      await clock.advance(100);
    }
    expect(types.routes.decoded).toBe(1);
    expect(transport.stream.sent.length).toBeLessThan(600_000 / 5_000 + 12);
    transport.stream.end(14);
    await clock.advance(1_000);
    transport.stream.connect().respond('routes', '1', 'm1', [resource('routes', 'r', 'bad')]);
    expect(types.routes.decoded).toBe(1);
    expect(transport.stream.take().map(({ nack }) => nack)).toEqual([
      undefined,
      '3: RouteConfiguration response rejected: resource "r" at some.field: bad',
    ]);
  });

  test('what nobody asked for is not decoded; nor is an unreadable resource a second time', () => {
    const { client, transport, types } = setup();
    client.want([{ kind: 'cluster', name: 'a' }]);
    transport.stream
      .connect()
      .respond('cluster', '1', 'n1', [resource('cluster', 'z'), resource('cluster', 'a'), resource('cluster', 'y', 'bad')]);
    expect(types.cluster.decoded).toBe(1);
    const unreadable = [resource('cluster', '', 'mute')];
    for (const nonce of ['n2', 'n3', 'n4']) transport.stream.respond('cluster', '2', nonce, unreadable);
    expect(types.cluster.decoded).toBe(2);
  });

  test('a NACK is logged once for each distinct error', () => {
    const log = new RecordingLogger();
    const { client, transport } = setup({ log });
    client.want([{ kind: 'routes', name: 'r' }]);
    transport.stream.connect();
    for (const [nonce, text] of [
      ['1', 'bad x'],
      ['2', 'bad x'],
      ['3', 'bad x'],
      ['4', 'bad y'],
    ] as const) {
      transport.stream.respond('routes', '1', nonce, [resource('routes', 'r', text)]);
    }
    expect(log.lines.filter((line) => line.startsWith('warn configuration rejected'))).toHaveLength(2);
  });

  test('a listener that throws does not end the stream', () => {
    const log = new RecordingLogger();
    const { client, transport } = setup({ log });
    client.onChange(() => {
      throw new Error('compile fault');
    });
    client.want([LISTENER]);
    transport.stream.connect().respond('listener', '1', 'n1', [resource('listener', 'a', '1')]);
    transport.stream.respond('listener', '2', 'n2', [resource('listener', 'a', '2')]);
    expect(client.get('listener', 'a')).toMatchObject({ value: '2' });
    expect(log.lines.filter((line) => line.includes('compile fault'))).toHaveLength(2);
  });
});
