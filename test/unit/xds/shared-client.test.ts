/** Meshes with the same bootstrap share one client: one stream, the union of what they want, each told of every change, closed with the last. */
import { expect, onTestFinished, test } from 'vitest';
import type { Bootstrap } from '../../../src/config/bootstrap.ts';
import type { ConfigSource, ResourceKey } from '../../../src/config/resource.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { shareClient, sharingKey } from '../../../src/xds/shared-client.ts';
import { bootstrap, resource, SERVER } from './fake-control-plane.ts';
import { RecordingLogger, setup } from './setup.ts';

const A: ResourceKey = { kind: 'listener', name: 'a' };
const B: ResourceKey = { kind: 'listener', name: 'b' };
let keys = 0;

function shared() {
  const base = setup();
  const key = `test ${++keys}`;
  const logger: { client: RecordingLogger | undefined } = { client: undefined };
  let opened = 0;
  const view = (log = silentLogger): ConfigSource => {
    const made = shareClient(key, log, (clientLog) => {
      opened++;
      logger.client = clientLog as RecordingLogger;
      return base.client;
    });
    onTestFinished(() => made.close());
    return made;
  };
  return { ...base, key, view, opened: () => opened, clientLog: () => logger.client };
}

test('one client and one stream; want is the union, the rest is forwarded', async () => {
  const { client, transport, view, opened } = shared();
  const [one, two] = [view(), view()];
  expect([opened(), one.name, one.candidates('x:1'), one.listeners(), one.inboundListener('h', 1)]).toEqual([
    1,
    client.name,
    ['x:1', 'x'],
    [],
    undefined,
  ]);
  one.want([A]);
  two.want([A, B]);
  expect(transport.streams.length).toBe(1);
  expect(transport.stream.connect().take().at(-1)).toMatchObject({ type: 'listener', names: ['a', 'b'] });
  transport.stream.respond('listener', '1', 'n', [resource('listener', 'a', 'A'), resource('listener', 'b', 'B')]);
  for (const each of [one, two])
    expect([each.get('listener', 'a'), each.describe()]).toEqual([client.get('listener', 'a'), client.describe()]);
  expect(one.get('listener', 'a')).toMatchObject({ status: 'present', value: 'A' });
  transport.stream.take();
  // What one gives up and another wants stays; what nobody wants goes.
  two.want([B]);
  expect(transport.stream.take()).toEqual([]);
  one.want([]);
  expect(transport.stream.take()).toMatchObject([{ names: ['b'] }]);
  await settle();
});

test('each view is told of a change, also when the one before it throws', () => {
  const { transport, view } = shared();
  const log = new RecordingLogger();
  const [one, two] = [view(log), view()];
  let told = 0;
  one.onChange(() => {
    throw new Error('broken');
  });
  two.onChange(() => told++);
  one.want([A]);
  transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
  expect(told).toBe(1);
  expect(log.lines.join()).toMatch(/^error a configuration could not be applied .*broken/);
});

test('a change in which one view gives up what the next one takes asks for nothing in between', () => {
  const { transport, view } = shared();
  const [one, two] = [view(), view()];
  one.want([A, B]);
  one.onChange(() => one.want([A]));
  two.onChange(() => two.want([B]));
  transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a'), resource('listener', 'b')]);
  // The ACK alone: the union is what it was, so no request without "b" and none with it again.
  const requests = transport.stream.take();
  expect(requests.filter(({ names }) => !names.includes('b'))).toEqual([]);
  expect(two.get('listener', 'b').status).toBe('present');
});

test('a view that comes later is told of what is known, in a turn of its own', async () => {
  const { transport, view } = shared();
  const one = view();
  one.want([A]);
  transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
  const late = view();
  let [told, others] = [0, 0];
  late.onChange(() => told++);
  one.onChange(() => others++);
  late.want([A]);
  expect(told).toBe(0);
  await settle();
  expect([told, others]).toEqual([1, 0]);
});

test('close: the others go on, a closed view is silent, the last closes the client, the next opens another', async () => {
  const { client, transport, view, opened } = shared();
  const [one, two] = [view(), view()];
  let [first, second] = [0, 0];
  one.onChange(() => first++);
  two.onChange(() => second++);
  one.want([A]);
  two.want([B]);
  const { stream } = transport;
  stream.connect().take();
  await one.close();
  await one.close();
  one.want([A]);
  expect(stream.take()).toMatchObject([{ names: ['b'] }]);
  stream.respond('listener', '1', 'n', [resource('listener', 'b')]);
  expect([first, second, stream.ended, transport.closed]).toEqual([0, 1, false, false]);
  const closed = two.close();
  // Opened while the old one is being closed: it must not get a client that is about to go.
  view();
  expect(opened()).toBe(2);
  await closed;
  expect([stream.ended, client.describe().connected]).toEqual([true, false]);
});

test('what the client logs is told once to each logger of a mesh that is open', async () => {
  const { view, clientLog } = shared();
  const [log, other] = [new RecordingLogger(), new RecordingLogger()];
  const views = [view(log), view(log), view(other)];
  const say = clientLog();
  say?.warn('one', { a: 1 });
  await views[2]?.close();
  say?.error('two');
  say?.info('three');
  expect([log.lines, other.lines]).toEqual([['warn one {"a":1}', 'error two {}', 'info three {}'], ['warn one {"a":1}']]);
});

test('the registry is behind a global symbol, for several installs of one version', () => {
  const { view, key } = shared();
  view();
  const registry = Reflect.get(globalThis, Symbol.for('inmesh.xds.1')) as Map<string, unknown>;
  expect(registry.has(key)).toBe(true);
});

const of = (change: Partial<Bootstrap> = {}, wildcard = false, version = '1'): string => sharingKey(bootstrap(change), wildcard, version);
const node = bootstrap().node;

test('shared: the same bootstrap from another place, its metadata in another order', () => {
  expect(of({ origin: 'elsewhere' })).toBe(of());
  expect(of({ node: { ...node, metadata: { a: 1, b: { c: 1, d: 2 } } } })).toBe(
    of({ node: { ...node, metadata: { b: { d: 2, c: 1 }, a: 1 } } }),
  );
});

test.each<[string, string]>([
  ['node', of({ node: { ...node, id: 'other' } })],
  ['metadata', of({ node: { ...node, metadata: { a: 1 } } })],
  ['server', of({ servers: [{ ...SERVER, uri: 'cp:2' }] })],
  ['order of servers', of({ servers: [{ ...SERVER, uri: 'cp:2' }, SERVER] })],
  [
    'credentials',
    of({
      servers: [
        {
          ...SERVER,
          credentials: {
            type: 'tls',
            certificateFile: undefined,
            privateKeyFile: undefined,
            caCertificateFile: '/ca',
            refreshIntervalMs: 1,
          },
        },
      ],
    }),
  ],
  ['token file', of({ servers: [{ ...SERVER, callCredentials: [{ type: 'jwt_token_file', path: '/a' }] }] })],
  ['metadata of its streams', of({ servers: [{ ...SERVER, metadata: [{ key: 'x-consul-token', parts: ['one'] }] }] })],
  ['keep-alive', of({ servers: [{ ...SERVER, keepalive: { intervalMs: 1000 } }] })],
  ['static resource', of({ staticResources: [{ typeUrl: 'x', value: Uint8Array.of(1) }] })],
  ['authorities', of({ authorities: { a: { servers: [SERVER], clientListenerTemplate: 'xdstp://a/%s' } } })],
  [
    'providers',
    of({
      certificateProviders: {
        p: {
          plugin: 'file_watcher',
          certificateFile: undefined,
          privateKeyFile: undefined,
          caCertificateFile: '/ca',
          refreshIntervalMs: 1,
        },
      },
    }),
  ],
  ['template', of({ clientListenerTemplate: 'x/%s' })],
  ['wildcard', of({}, true)],
  ['version', of({}, false, '2')],
])('not shared: another %s', (_name, other) => {
  expect(other).not.toBe(of());
});

test('two identities: two keys, and the key tells nothing of either', () => {
  const withToken = (token: string): string =>
    of({ servers: [{ ...SERVER, metadata: [{ key: 'x-consul-token', parts: [token] }] }], staticResources: [] });
  expect(withToken('secret-one')).not.toBe(withToken('secret-two'));
  expect(withToken('secret-one')).toBe(withToken('secret-one'));
  expect(withToken('secret-one')).not.toMatch(/secret|consul/);
});
