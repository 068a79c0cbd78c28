/** Flow control of an `XdsClient`: responses are taken in slice by slice, the next one is not read before, and what is wanted may change meanwhile. */
import { describe, expect, test } from 'vitest';
import type { DecodeContext, Decoded, ResourceType } from '../../../src/xds/resource-type.ts';
import { FakeType, SERVER, bootstrap, resource } from './fake-control-plane.ts';
import { setup } from './setup.ts';

/** Every decode takes 3 ms of the clock. */
class SlowType<K extends 'endpoints' | 'cluster'> extends FakeType<K> implements ResourceType<K> {
  *decodeInSteps(bytes: Uint8Array, context: DecodeContext): Generator<undefined, Decoded<never>> {
    for (let step = 0; step < 3; step++) {
      this.spend(1);
      yield undefined;
    }
    return this.decode(bytes, context);
  }
  spend: (ms: number) => void = () => undefined;
}

describe('flow control', () => {
  test('a large response is taken in over several tasks, the stream paused, and applied as a whole', async () => {
    const slow = new SlowType('cluster');
    const { client, clock, transport, changes } = setup({ types: [slow] });
    let spent = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + spent;
    slow.spend = (ms) => (spent += ms);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    client.want(names.map((name) => ({ kind: 'cluster', name })));
    const { stream } = transport;
    stream.connect().respond(
      'cluster',
      '1',
      'n',
      names.map((name) => resource('cluster', name)),
    );
    expect([stream.paused, client.get('cluster', 'a').status, stream.sent.length, changes()]).toEqual([true, 'waiting', 1, 0]);
    let slices = 1;
    const set = clock.set.bind(clock);
    clock.set = (alarm, delayMs) => {
      expect([client.get('cluster', 'a').status, stream.sent.length]).toEqual(['waiting', 1]);
      slices++;
      return set(alarm, delayMs);
    };
    await clock.advance(1);
    // 6 resources of 3 ms are 18 ms of work, in slices of 2.5 (three steps of 1 ms): six pauses, the first before `set` was watched.
    expect([slices, stream.paused]).toEqual([6, false]);
    expect([client.get('cluster', 'a').status, client.get('cluster', 'f').status, changes()]).toEqual(['present', 'present', 1]);
    expect(stream.take().map(({ nonce }) => nonce)).toEqual([undefined, 'n']);
  });

  test('names that change meanwhile go with the ACK; a stream that ends meanwhile leaves nothing behind', async () => {
    const slow = new SlowType('cluster');
    const { client, clock, transport } = setup({ types: [slow] });
    let spent = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + spent;
    slow.spend = (ms) => (spent += ms);
    const keys = ['a', 'b', 'c'].map((name) => ({ kind: 'cluster', name }) as const);
    client.want(keys);
    const entries = keys.map(({ name }) => resource('cluster', name));
    transport.stream.connect().respond('cluster', '1', 'n1', entries);
    expect(transport.stream.paused).toBe(true);
    client.want(keys.slice(1));
    expect(transport.stream.take()).toHaveLength(1);
    await clock.advance(10);
    expect(transport.stream.take()).toEqual([{ type: 'cluster', version: '1', nonce: 'n1', names: ['b', 'c'] }]);
    expect(client.get('cluster', 'a').status).toBe('waiting');

    transport.stream.respond(
      'cluster',
      '2',
      'n2',
      entries.map(({ typeUrl }, index) => ({ ...resource('cluster', ['a', 'b', 'c'][index] ?? '', 'new'), typeUrl })),
    );
    expect(transport.stream.paused).toBe(true);
    transport.stream.end(14);
    await clock.advance(2_000);
    expect(client.get('cluster', 'b')).toMatchObject({ value: '', version: '1' });
    expect(transport.stream.take()).toMatchObject([{ version: '1', names: ['b', 'c'] }]);
  });

  test.each(['sotw', 'delta'] as const)(
    '%s: a name given up and wanted again meanwhile is asked for anew, and awaited',
    async (protocol) => {
      const slow = new SlowType('cluster');
      const { client, clock, transport } = setup({ types: [slow], bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
      let spent = 0;
      const now = clock.now.bind(clock);
      clock.now = () => now() + spent;
      slow.spend = (ms) => (spent += ms);
      const e = { kind: 'cluster', name: 'e' } as const;
      const f = { kind: 'cluster', name: 'f' } as const;
      client.want([e, f]);
      const stream = transport.stream.connect();
      const respond = (nonce: string, ...written: readonly (readonly [string, string])[]): void => {
        const bodies = written.map(([name, text]) => ({ name, version: text, body: resource('cluster', name, text) }));
        if (protocol === 'delta') stream.respondDelta('cluster', nonce, bodies);
        else
          stream.respond(
            'cluster',
            nonce,
            nonce,
            bodies.map(({ body }) => body),
          );
      };
      respond('1', ['e', 'same'], ['f', 'old']);
      await clock.advance(10);
      if (protocol === 'delta') stream.takeDelta();
      else stream.take();
      // By its bytes `e` is known as what it was; then that is forgotten.
      respond('2', ['e', 'same'], ['f', 'new']);
      expect(stream.paused).toBe(true);
      client.want([f]);
      client.want([f, e]);
      await clock.advance(10);
      if (protocol === 'delta')
        expect(stream.takeDelta()).toEqual([
          { type: 'cluster', unsub: ['e'] },
          { type: 'cluster', sub: ['e'] },
          { type: 'cluster', nonce: '2' },
        ]);
      else
        expect(stream.take()).toEqual([
          { type: 'cluster', version: '2', nonce: '2', names: ['f'] },
          { type: 'cluster', version: '2', nonce: '2', names: ['f', 'e'] },
        ]);
      expect(client.get('cluster', 'f')).toMatchObject({ value: 'new' });
      expect(client.get('cluster', 'e').status).toBe('waiting');
      await clock.advance(15_000);
      expect(client.get('cluster', 'e')).toMatchObject({ reason: expect.stringContaining('sent no cluster of this name') });
      respond('3', ['e', 'same']);
      await clock.advance(10);
      expect(client.get('cluster', 'e')).toMatchObject({ value: 'same' });
    },
  );

  test('assignments stand alone: a large EDS response is applied slice by slice, so that no task has to apply it all', async () => {
    const endpoints = new SlowType('endpoints');
    const { client, clock, transport, changes } = setup({ types: [endpoints] });
    let spent = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + spent;
    endpoints.spend = (ms) => (spent += ms);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    client.want(names.map((name) => ({ kind: 'endpoints', name })));
    const { stream } = transport;
    stream.connect().respond(
      'endpoints',
      '1',
      'n',
      names.map((name) => resource('endpoints', name)),
    );
    expect([stream.paused, client.get('endpoints', 'a').status, stream.sent.length, changes()]).toEqual([true, 'waiting', 1, 0]);
    let slices = 1;
    const set = clock.set.bind(clock);
    clock.set = (alarm, delayMs) => {
      expect([client.get('endpoints', 'f').status, stream.sent.length]).toEqual(['waiting', 1]);
      slices++;
      return set(alarm, delayMs);
    };
    await clock.advance(1);
    // 6 resources of 3 ms are 18 ms of work, in slices of 2.5 (three steps of 1 ms): six pauses, the first before `set` was watched.
    expect([slices, stream.paused]).toEqual([6, false]);
    expect([client.get('endpoints', 'a').status, client.get('endpoints', 'f').status, changes()]).toEqual(['present', 'present', 6]);
    expect(stream.take().map(({ nonce }) => nonce)).toEqual([undefined, 'n']);
  });
});
