/** An `XdsClient` and its streams: when they are opened, how they end, when the next one comes (gRFC A57), and what the first request says. */
import { describe, expect, test } from 'vitest';
import { settle } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { FakeTransport, SERVER, bootstrap, resource, wrapped } from './fake-control-plane.ts';
import { RecordingLogger, setup } from './setup.ts';

const LISTENER = { kind: 'listener', name: 'a' } as const;

describe('connection', () => {
  test('no stream before the first subscription; one stream for all', () => {
    const { client, transport } = setup();
    client.want([]);
    expect(transport.streams.length).toBe(0);
    client.want([LISTENER, { kind: 'routes', name: 'r' }, { kind: 'cluster', name: 'c' }]);
    client.want([LISTENER]);
    expect(transport.streams.length).toBe(1);
  });

  test('back-off 1 s x 1.6 to 120 s while no stream has a response, then anew (gRFC A57)', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 14; attempt++) {
      const before = clock.now();
      transport.stream.end(14, 'refused');
      while (transport.streams.length === attempt) await clock.advance(1);
      waits.push(clock.now() - before);
    }
    const expected = Array.from({ length: 14 }, (_, index) => Math.ceil(Math.min(120_000, 1000 * 1.6 ** index)));
    // One millisecond of slack: the clock moves in steps of one.
    for (const [index, wait] of waits.entries()) expect(Math.abs(wait - (expected[index] ?? 0)), `wait ${index}`).toBeLessThanOrEqual(1);

    // A stream that served a response starts the back-off again; after a long life it is replaced at once.
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
    await clock.advance(5_000);
    transport.stream.end(14, 'restart');
    await settle();
    expect(transport.streams.length).toBe(16);
    transport.stream.end(14, 'refused');
    await clock.advance(999);
    expect(transport.streams.length).toBe(16);
    await clock.advance(1);
    expect(transport.streams.length).toBe(17);
  });

  test('a server that answers and hangs up at once is not called in a loop', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    for (let round = 1; round <= 5; round++) {
      transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
      transport.stream.end(0, '');
      await clock.advance(999);
      expect(transport.streams.length).toBe(round);
      await clock.advance(1);
      expect(transport.streams.length).toBe(round + 1);
    }
  });

  test.each([
    [0, 800],
    [0.999_999, 1200],
  ])('jitter of 20 %%: chance %d waits %d ms', async (chance, wait) => {
    const { client, clock, transport } = setup({}, new ScriptedRandom(chance));
    client.want([LISTENER]);
    transport.stream.end(14, 'refused');
    await clock.advance(wait - 1);
    expect(transport.streams.length).toBe(1);
    await clock.advance(1);
    expect(transport.streams.length).toBe(2);
  });

  test('connectivity problems are told in words; waiting resources wait, configured ones stay (for ever)', async () => {
    const log = new RecordingLogger();
    const { client, clock, transport, changes } = setup({ log });
    client.want([LISTENER, { kind: 'listener', name: 'b' }]);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    expect(client.describe()).toMatchObject({ name: 'xds:cp:1', connected: true, problem: undefined });
    const before = changes();
    transport.refuse = { code: 14, details: 'connect ECONNREFUSED' };
    transport.stream.end(14, 'killed');
    await clock.advance(24 * 3600 * 1000);
    expect(client.describe()).toMatchObject({ connected: false, problem: 'cp:1: UNAVAILABLE: connect ECONNREFUSED' });
    expect(client.get('listener', 'a')).toMatchObject({ status: 'present', value: 'A' });
    expect(client.get('listener', 'b').status).toBe('waiting');
    expect(changes()).toBe(before);
    expect(log.lines.filter((line) => line.startsWith('warn'))).toEqual([
      'warn the control plane is not reachable; what is configured stays in use {"problem":"cp:1: UNAVAILABLE: connect ECONNREFUSED"}',
    ]);
    transport.refuse = undefined;
    await clock.advance(150_000);
    transport.stream.connect();
    expect(client.describe()).toMatchObject({ connected: true, problem: undefined });
    expect(log.lines.at(-1)).toMatch(/^info the control plane is reachable again/);
  });

  test('a server that connects and refuses is one problem, told once, until a response comes, or nothing does for five seconds', async () => {
    const log = new RecordingLogger();
    const { client, clock, transport } = setup({ log });
    client.want([LISTENER]);
    const problem = 'cp:1: UNAUTHENTICATED: no token';
    for (let attempt = 0; attempt < 3; attempt++) {
      transport.stream.connect();
      if (attempt > 0) expect(client.describe()).toMatchObject({ connected: true, problem });
      transport.stream.end(16, 'no token');
      expect(client.describe()).toMatchObject({ connected: false, problem });
      await clock.advance(3000);
    }
    const told = 'warn the control plane is not reachable; what is configured stays in use {"problem":"cp:1: UNAUTHENTICATED: no token"}';
    expect(log.lines).toEqual([told]);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    expect(client.describe().problem).toBeUndefined();
    expect(log.lines).toEqual([told, 'info the control plane is reachable again {"server":"cp:1"}']);
    transport.stream.end(16, 'no token');
    await clock.advance(2000);
    transport.stream.connect().end(16, 'no token');
    await clock.advance(2000);
    transport.stream.connect();
    await clock.advance(4999);
    expect(client.describe().problem).toBe(problem);
    await clock.advance(1);
    expect(client.describe()).toMatchObject({ connected: true, problem: undefined });
  });

  describe('a stream that ends without a response', () => {
    /** Has everything that it wants; the stream that brought it has ended. */
    async function satisfied(protocol: 'sotw' | 'delta') {
      const log = new RecordingLogger();
      const made = setup({ log, bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
      made.client.want([LISTENER]);
      const stream = made.transport.stream.connect();
      const body = resource('listener', 'a', 'A');
      if (protocol === 'sotw') stream.respond('listener', '1', 'n', [body]);
      else stream.respondDelta('listener', 'n', [{ name: 'a', version: '1', body }]);
      await made.clock.advance(60_000);
      stream.end(14, 'too old');
      await settle();
      expect(made.transport.streams).toHaveLength(2);
      return { ...made, log };
    }

    test('delta: the server may have had nothing to say (Envoy X-32); as often as that happens, it is no failure', async () => {
      const { client, clock, transport, log } = await satisfied('delta');
      for (let count = 2; count < 20; count++) {
        expect(transport.stream.connect().takeDelta()).toEqual([{ type: 'listener', sub: ['a'], initial: { a: '1' }, node: 'n1' }]);
        await clock.advance(60_000);
        transport.stream.end(14, 'too old');
        await settle();
        expect(transport.streams).toHaveLength(count + 1);
        // Until the next stream stands, how the last one was lost is all there is to say.
        expect(client.describe().problem).toBe('cp:1: UNAVAILABLE: too old');
      }
      transport.stream.connect();
      expect(client.describe().problem).toBeUndefined();
      expect(log.lines.filter((line) => line.startsWith('warn'))).toEqual([]);
    });

    test.each([
      ['state of the world: every type is answered', 'sotw', 60_000, [LISTENER]],
      ['delta, too soon', 'delta', 4_999, [LISTENER]],
      ['delta, with a name that is awaited', 'delta', 10_000, [LISTENER, { kind: 'listener', name: 'b' }]],
    ] as const)('%s: a failure (gRFC A57)', async (_title, protocol, ms, wanted) => {
      const { client, clock, transport } = await satisfied(protocol);
      client.want(wanted);
      for (const wait of [1000, 1600, 2560]) {
        const count = transport.streams.length;
        transport.stream.connect();
        await clock.advance(ms);
        transport.stream.end(14, 'gone');
        expect(client.describe().problem).toBe('cp:1: UNAVAILABLE: gone');
        await clock.advance(wait - 1);
        expect(transport.streams).toHaveLength(count);
        await clock.advance(1);
        expect(transport.streams).toHaveLength(count + 1);
      }
    });
  });

  test('a transport that cannot be made is a problem, not a crash; the loop goes on', async () => {
    const log = new RecordingLogger();
    let tries = 0;
    const transport = new FakeTransport();
    const { client, clock } = setup({
      log,
      transport: () => {
        if (++tries < 3) throw new TypeError('no such thing');
        return transport;
      },
    });
    client.want([LISTENER]);
    await clock.advance(2_000);
    expect(transport.streams.length).toBe(1);
    expect(log.lines.filter((line) => line.startsWith('error fault in the xDS client'))).toHaveLength(2);
  });

  test('garbage instead of a response ends the stream; it is opened again', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    transport.stream.connect().events.onMessage(Uint8Array.of(0xff, 0xff, 0xff));
    expect(transport.stream.cancelled).toBe(true);
    await clock.advance(1_000);
    expect(transport.streams.length).toBe(2);
  });

  test('close: the stream is cancelled, the transport closed, nothing happens afterwards', async () => {
    const { client, clock, transport, changes } = setup();
    client.want([LISTENER]);
    transport.stream.connect();
    const { stream } = transport;
    await client.close();
    await client.close();
    expect([stream.cancelled, transport.closed, clock.pending]).toEqual([true, true, 0]);
    client.want([]);
    await clock.advance(300_000);
    expect([transport.streams.length, changes()]).toEqual([1, 0]);
  });

  test('while the last report of load waits for its server, no configuration is taken in any more, and no time to live begins', async () => {
    const { client, clock, transport } = setup();
    const key = { kind: 'listener', name: 'a' } as const;
    client.want([key]);
    const stream = transport.stream.connect();
    stream.respond('listener', '1', 'n', [wrapped('a', resource('listener', 'a', 'A'), 60_000)]);
    client.reportLoad('c', 's')?.load.drop();
    await settle();
    const closed = client.close();
    expect(stream.cancelled).toBe(true);
    await clock.advance(1000);
    await closed;
    expect(clock.pending).toBe(0);
  });

  test('close while waiting to reconnect', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    transport.stream.end(14);
    await clock.advance(100);
    await client.close();
    expect([transport.streams.length, clock.pending]).toEqual([1, 0]);
  });
});

describe('the first request', () => {
  test('node with metadata, locality, user agent and client features', () => {
    const node = {
      id: 'n',
      cluster: 'c',
      locality: { region: 'r', zone: 'z', subZone: 's' },
      metadata: { A: 'x', B: { C: [1, true, null] } },
    };
    const { client, transport } = setup({ bootstrap: bootstrap({ node }) });
    client.want([LISTENER]);
    const sent = transport.stream.sent[0]?.node;
    expect(sent).toMatchObject({
      id: 'n',
      cluster: 'c',
      metadata: node.metadata,
      locality: { region: 'r', zone: 'z', subZone: 's' },
      userAgentName: 'inmesh',
      userAgentVersionType: { case: 'userAgentVersion', value: '1.2.3' },
      clientFeatures: [
        'envoy.lb.does_not_support_overprovisioning',
        'xds.config.resource-in-sotw',
        'xds.config.supports-resource-in-sotw',
        'xds.config.supports-resource-ttl',
      ],
    });
  });
});
