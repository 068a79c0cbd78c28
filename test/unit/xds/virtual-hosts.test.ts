/** Virtual hosts over the wire (VHDS): asked for by a host, sent under another name with an alias, removed by that other name (Envoy ). */
import { expect, test } from 'vitest';
import type { ResourceKey } from '../../../src/config/resource.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { FakeType, SERVER, bootstrap, fakeTypes, resource } from './fake-control-plane.ts';
import { setup } from './setup.ts';

const key = (name: string): ResourceKey => ({ kind: 'virtual-host', name });
const body = (name: string) => resource('virtual-host', name, name);

function open() {
  const types = [...Object.values(fakeTypes()), Object.assign(new FakeType('virtual-host'), { namedByWrapper: true })];
  const made = setup({ types, bootstrap: bootstrap({ servers: [{ ...SERVER, protocol: 'delta' }] }) });
  const state = (name: string): unknown => {
    const found = made.client.get('virtual-host', name);
    return found.status === 'present' ? found.value : found.status === 'failed' ? found.reason : found.status;
  };
  return { ...made, state };
}

test('an alias answers, the name in the resource does not matter, and a removal of the resource removes what the alias asked for', async () => {
  const { client, transport, state } = open();
  client.want([key('r/a'), key('r/b'), key('r/none')]);
  transport.stream.connect();
  expect(transport.stream.takeDelta()).toEqual([{ type: 'virtual-host', sub: ['r/a', 'r/b', 'r/none'], node: 'n1' }]);
  transport.stream.respondDelta(
    'virtual-host',
    '1',
    [{ name: 'r/v1', version: '1', body: body('v1'), aliases: ['r/a', 'r/b', 'r/not-asked'] }],
    ['r/none'],
  );
  await settle();
  expect(['r/a', 'r/b', 'r/none', 'r/not-asked'].map(state)).toEqual(['v1', 'v1', 'cp:1 has no virtual-host of this name', 'waiting']);
  transport.stream.respondDelta('virtual-host', '2', [], ['r/v1']);
  await settle();
  // Unlike other resources (gRFC A88): it is part of a table, and not in it any more.
  expect([state('r/a'), state('r/b')]).toEqual(['deleted by cp:1', 'deleted by cp:1']);
  transport.stream.respondDelta('virtual-host', '3', [{ name: 'r/v1', version: '2', body: body('v1'), aliases: ['r/a'] }]);
  await settle();
  expect([state('r/a'), state('r/b')]).toEqual(['v1', 'deleted by cp:1']);
});

test('an alias without a resource: there is none', async () => {
  const { client, transport, state } = open();
  client.want([key('r/a')]);
  transport.stream.connect();
  transport.stream.respondDelta('virtual-host', '1', [{ name: 'r/a', version: '1', aliases: ['r/a'] }]);
  await settle();
  expect(state('r/a')).toBe('cp:1 has no virtual-host of this name');
  transport.stream.respondDelta('virtual-host', '2', [{ name: 'r/a', version: '2', body: body('v') }]);
  await settle();
  expect(state('r/a')).toBe('v');
});

test('a removal of a name that nobody asked for, and of one that was given up, is ignored', async () => {
  const { client, transport, state } = open();
  client.want([key('r/a'), key('r/b')]);
  transport.stream.connect();
  transport.stream.respondDelta('virtual-host', '1', [
    { name: 'r/v1', version: '1', body: body('v1'), aliases: ['r/a'] },
    { name: 'r/v2', version: '1', body: body('v2'), aliases: ['r/b'] },
  ]);
  await settle();
  client.want([key('r/b')]);
  transport.stream.respondDelta('virtual-host', '2', [], ['r/v1', 'r/v3']);
  await settle();
  expect([state('r/a'), state('r/b')]).toEqual(['waiting', 'v2']);
});
