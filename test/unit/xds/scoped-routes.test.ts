/** All scoped routes of a source (SRDS) by the client, in both dialects: one subscription, the list, its changes, its absence (Envoy ). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Changes, ResourceKey } from '../../../src/config/resource.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { FakeType, SERVER, bootstrap, fakeTypes, resource } from './fake-control-plane.ts';
import { setup } from './setup.ts';

const ALL: ResourceKey = { kind: 'scoped-routes', name: '*' };

function open(protocol: 'sotw' | 'delta') {
  const types = [...Object.values(fakeTypes()), new FakeType('scoped-routes')];
  const made = setup({ types, bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
  const told: Changes[] = [];
  made.client.onChange((changes) => void told.push(changes));
  const list = (): unknown => {
    const state = made.client.scopes('*');
    return state.status === 'present' ? state.value : state.status === 'failed' ? state.reason : state.status;
  };
  return { ...made, told, list };
}

test('state of the world: an empty list of names, the whole list each time, absence deletes', async () => {
  const { client, transport, list, told } = open('sotw');
  client.want([ALL, { kind: 'listener', name: 'l' }]);
  transport.stream.connect();
  expect(transport.stream.take()).toEqual([
    { type: 'listener', names: ['l'], node: 'n1' },
    { type: 'scoped-routes', names: [] },
  ]);
  expect(list()).toBe('waiting');
  transport.stream.respond('scoped-routes', '1', 'a', [resource('scoped-routes', 's1', 'A'), resource('scoped-routes', 's2', 'B')]);
  await settle();
  expect(list()).toEqual(['A', 'B']);
  expect(told.at(-1)).toContainEqual(ALL);
  expect(transport.stream.take()).toEqual([{ type: 'scoped-routes', version: '1', nonce: 'a', names: [] }]);
  transport.stream.respond('scoped-routes', '2', 'b', [resource('scoped-routes', 's2', 'B'), resource('scoped-routes', 's3', 'C')]);
  await settle();
  expect(list()).toEqual(['B', 'C']);
  expect(told.at(-1)).toContainEqual(ALL);
  // The same again is no news.
  const { length } = told;
  transport.stream.respond('scoped-routes', '3', 'c', [resource('scoped-routes', 's2', 'B'), resource('scoped-routes', 's3', 'C')]);
  await settle();
  expect(told).toHaveLength(length);
  // One that is bad keeps its last good value.
  transport.stream.respond('scoped-routes', '4', 'd', [resource('scoped-routes', 's2', 'bad'), resource('scoped-routes', 's3', 'D')]);
  await settle();
  expect(list()).toEqual(['B', 'D']);
});

test('incremental: a first request without names, additions and removals', async () => {
  const { client, clock, transport, list } = open('delta');
  client.want([ALL]);
  transport.stream.connect();
  expect(transport.stream.takeDelta()).toEqual([{ type: 'scoped-routes', node: 'n1' }]);
  transport.stream.respondDelta('scoped-routes', 'a', [{ name: 's1', version: '1', body: resource('scoped-routes', 's1', 'A') }]);
  await settle();
  expect(list()).toEqual(['A']);
  transport.stream.respondDelta('scoped-routes', 'b', [{ name: 's2', version: '1', body: resource('scoped-routes', 's2', 'B') }], ['s1']);
  await settle();
  expect(list()).toEqual(['B']);
  // The next stream says what is there.
  transport.stream.end(14, '');
  await clock.advance(1000);
  expect(transport.stream.takeDelta()).toEqual([{ type: 'scoped-routes', initial: { s2: '1' }, node: 'n1' }]);
});

test('a collection of an authority: its members and no others, once the first is there', async () => {
  const types = [...Object.values(fakeTypes()), new FakeType('scoped-routes')];
  const server = { ...SERVER, protocol: 'delta' as const };
  const authorities = { a: { servers: [server], clientListenerTemplate: undefined } };
  const { client, transport } = setup({ types, bootstrap: bootstrap({ servers: [server], authorities: authorities as never }) });
  const told: Changes[] = [];
  client.onChange((changes) => void told.push(changes));
  const name = 'xdstp://a/envoy.config.route.v3.ScopedRouteConfiguration/tiers/*';
  const member = (last: string): string => name.replace('*', last);
  client.want([{ kind: 'scoped-routes', name }]);
  transport.stream.connect();
  expect(transport.stream.takeDelta()).toEqual([{ type: 'scoped-routes', sub: [name], node: 'n1' }]);
  expect(client.scopes(name).status).toBe('waiting');
  transport.stream.respondDelta('scoped-routes', 'a', [
    { name: member('one'), version: '1', body: resource('scoped-routes', member('one'), 'A') },
    { name: 'other', version: '1', body: resource('scoped-routes', 'other', 'B') },
  ]);
  await settle();
  expect(client.scopes(name)).toMatchObject({ status: 'present', value: ['A'] });
  expect(told.at(-1)).toContainEqual({ kind: 'scoped-routes', name });
  // The members go with the collection: what is removed while nobody asks is not there when somebody does again.
  const two = { kind: 'scoped-routes', name: member('two') } as const;
  client.want([{ kind: 'scoped-routes', name }, two]);
  transport.stream.respondDelta('scoped-routes', 'b', [
    { name: two.name, version: '1', body: resource('scoped-routes', two.name, 'B') },
    { name: member('three'), version: '1', body: resource('scoped-routes', member('three'), 'C') },
  ]);
  client.want([two]);
  expect(client.describe().resources.map((known) => known.name)).toEqual([two.name]);
  client.want([{ kind: 'scoped-routes', name }, two]);
  transport.stream.respondDelta('scoped-routes', 'c', [
    { name: member('three'), version: '1', body: resource('scoped-routes', member('three'), 'C') },
  ]);
  expect(client.scopes(name)).toMatchObject({ status: 'present', value: ['B', 'C'] });
});

test.each(['sotw', 'delta'] as const)(
  'the last-good file holds them (%s); what the control plane has no more goes when it answers',
  async (protocol) => {
    const folder = mkdtempSync(join(tmpdir(), 'scopes-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const types = () => [...Object.values(fakeTypes()), new FakeType('scoped-routes')];
    const made = () =>
      setup({ types: types(), lastGood: join(folder, 'file'), bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
    const serve = ({ transport }: ReturnType<typeof made>, names: readonly string[]): void => {
      if (protocol === 'sotw')
        transport.stream.respond(
          'scoped-routes',
          '1',
          'a',
          names.map((name) => resource('scoped-routes', name, name)),
        );
      else
        transport.stream.respondDelta(
          'scoped-routes',
          'a',
          names.map((name) => ({ name, version: '1', body: resource('scoped-routes', name, name) })),
        );
    };
    const first = made();
    first.client.want([ALL]);
    first.transport.stream.connect();
    serve(first, ['s1', 's2']);
    await settle();
    await first.client.close();

    const { client, transport, clock, ...rest } = made();
    client.want([ALL]);
    transport.stream.end(14, 'refused');
    await settle();
    expect(client.scopes('*')).toMatchObject({ status: 'present', value: ['s1', 's2'] });
    await clock.advance(1000);
    transport.stream.connect();
    serve({ client, transport, clock, ...rest }, ['s2', 's3']);
    await settle();
    expect(client.scopes('*')).toMatchObject({ status: 'present', value: ['s2', 's3'] });
  },
);

describe.each(['sotw', 'delta'] as const)('%s', (protocol) => {
  const respond = (made: ReturnType<typeof open>, nonce: string, ...names: readonly string[]): void => {
    if (protocol === 'sotw')
      made.transport.stream.respond(
        'scoped-routes',
        nonce,
        nonce,
        names.map((name) => resource('scoped-routes', name, name)),
      );
    else
      made.transport.stream.respondDelta(
        'scoped-routes',
        nonce,
        names.map((name) => ({ name, version: nonce, body: resource('scoped-routes', name, name) })),
      );
  };

  test('an empty list is a list', async () => {
    const made = open(protocol);
    made.client.want([ALL]);
    made.transport.stream.connect();
    respond(made, 'a');
    await settle();
    expect(made.list()).toEqual([]);
    expect(made.told.at(-1)).toEqual([ALL]);
    respond(made, 'b', 's1');
    await settle();
    expect(made.list()).toEqual(['s1']);
  });

  test('no list within 15 s: failed with a reason; a late one revives', async () => {
    const made = open(protocol);
    made.client.want([ALL]);
    made.transport.stream.connect();
    await made.clock.advance(15_000);
    expect(made.list()).toContain('sent no scoped-routes');
    expect(made.told).toEqual([[ALL]]);
    respond(made, 'a', 's1');
    await settle();
    expect(made.list()).toEqual(['s1']);
  });

  test('the same where it is asked for on a stream that stands, as by a listener that has just come', async () => {
    const made = open(protocol);
    made.client.want([{ kind: 'listener', name: 'l' }]);
    made.transport.stream.connect();
    made.client.want([{ kind: 'listener', name: 'l' }, ALL]);
    await made.clock.advance(15_000);
    expect(made.list()).toContain('sent no scoped-routes');
  });

  test('given up and wanted again: known at once, and still up to date', async () => {
    const made = open(protocol);
    made.client.want([ALL]);
    made.transport.stream.connect();
    respond(made, 'a', 's1');
    await settle();
    made.client.want([]);
    respond(made, 'b', 's1', 's2');
    await settle();
    made.client.want([ALL]);
    expect(made.list()).toEqual(['s1', 's2']);
  });

  test('it is no resource that anybody is shown, and nobody asks for it unasked', async () => {
    const made = open(protocol);
    made.client.want([{ kind: 'listener', name: 'l' }]);
    made.transport.stream.connect();
    const sent = protocol === 'sotw' ? made.transport.stream.take() : made.transport.stream.takeDelta();
    expect(sent.map(({ type }) => type)).toEqual(['listener']);
    made.client.want([ALL]);
    respond(made, 'a', 's1');
    await settle();
    expect(made.client.describe().resources.map(({ name }) => name)).not.toContain('*');
  });
});
