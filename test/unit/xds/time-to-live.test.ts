/** Times to live and heartbeats (Envoy) where something else happens meanwhile. */
import { describe, expect, test } from 'vitest';
import { SERVER, bootstrap, resource, wrapped } from './fake-control-plane.ts';
import { setup } from './setup.ts';

const A = { kind: 'listener', name: 'a' } as const;
const DELTA = { ...SERVER, protocol: 'delta' } as const;
const ENDED = { status: 'failed', reason: 'its time to live of 5000 ms has passed, and cp:1 did not renew it' };

describe('a time to live goes on for as long as its value is in use', () => {
  test.each([
    ['a rejected successor', [wrapped('a', resource('listener', 'a', 'bad'), 9000)], {}],
    ['an error of the server', [], { a: [14, 'not now'] as const }],
    ['a deletion', [], {}],
  ])('%s', async (_what, resources, errors) => {
    const { client, clock, transport } = setup();
    client.want([A]);
    const stream = transport.stream.connect();
    stream.respond('listener', '1', 'n1', [wrapped('a', resource('listener', 'a', 'A'), 5000)]);
    await clock.advance(1000);
    stream.respond('listener', '2', 'n2', resources, errors);
    await clock.advance(3999);
    expect(client.get('listener', 'a')).toMatchObject({ status: 'present', value: 'A' });
    await clock.advance(1);
    expect(client.get('listener', 'a')).toEqual(ENDED);
  });

  test('a removal in the incremental dialect', async () => {
    const { client, clock, transport } = setup({ bootstrap: bootstrap({ servers: [DELTA] }) });
    client.want([A]);
    const stream = transport.stream.connect();
    stream.respondDelta('listener', 'n1', [{ name: 'a', version: '1', body: resource('listener', 'a', 'A'), ttlMs: 5000 }]);
    stream.respondDelta('listener', 'n2', [], ['a']);
    await clock.advance(4999);
    expect(client.get('listener', 'a')).toMatchObject({ status: 'present', value: 'A' });
    await clock.advance(1);
    expect(client.get('listener', 'a')).toEqual(ENDED);
  });

  test('where the value goes at once, so does its timer', () => {
    const { client, clock, transport } = setup({ bootstrap: bootstrap({ servers: [{ ...SERVER, features: ['fail_on_data_errors'] }] }) });
    client.want([A]);
    const stream = transport.stream.connect();
    stream.respond('listener', '1', 'n1', [wrapped('a', resource('listener', 'a', 'A'), 5000)]);
    const before = clock.pending;
    stream.respond('listener', '2', 'n2', [resource('listener', 'a', 'bad')]);
    expect(client.get('listener', 'a').status).toBe('failed');
    expect(before - clock.pending).toBe(1);
  });
});

describe('a heartbeat of what is not there', () => {
  test('does not end the wait for it', async () => {
    const { client, clock, transport } = setup({ bootstrap: bootstrap({ servers: [DELTA] }) });
    client.want([A]);
    transport.stream.connect().respondDelta('listener', 'n1', [{ name: 'a', version: '', ttlMs: 60_000 }]);
    await clock.advance(15_000);
    expect(client.get('listener', 'a')).toEqual({ status: 'failed', reason: 'cp:1 sent no listener of this name within 15 s' });
  });

  test('makes nothing known where all are taken', () => {
    const { client, transport } = setup({ wildcard: true });
    transport.stream.connect().respond('cluster', '1', 'n1', [wrapped('unknown', undefined, 5000)]);
    expect(client.describe().resources).toEqual([]);
  });
});
