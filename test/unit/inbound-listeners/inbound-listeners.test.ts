/** The inbound side of bound addresses: states, the address rule of gRFC A36, routes that follow updates, connections that outlive their listener. */
import { describe, expect, test } from 'vitest';
import type { FilterChainConfig, ListenerConfig } from '../../../src/config/listener.ts';
import { InboundCall } from '../../../src/core/call.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { LocalReply } from '../../../src/core/reply.ts';
import { engineSetup, manager, NO_TLS } from '../../support/mesh-engine.ts';
import { hostPatterns } from '../../../src/matching/host-patterns.ts';
import type { EngineSetup } from '../../support/mesh-engine.ts';
import { requestHead, route, routeConfig, virtualHost } from '../routing/builders.ts';

const NAME = 'inbound/127.0.0.1:8080';
const match = {
  destinationPort: undefined,
  prefixRanges: [],
  serverNames: [],
  transportProtocol: '',
  applicationProtocols: [],
  directSourcePrefixRanges: [],
  sourceType: 'any' as const,
  sourcePrefixRanges: [],
  sourcePorts: [],
};
const FACTS = {
  localAddress: '127.0.0.1',
  localPort: 8080,
  remoteAddress: '127.0.0.1',
  remotePort: 5,
  transportProtocol: 'raw_buffer' as const,
  serverName: undefined,
  applicationProtocols: [],
};
const PEER = { remoteAddress: '127.0.0.1', remotePort: 5, localAddress: '127.0.0.1', localPort: 8080, tls: undefined };
const path = (value: string) => ({ path: { kind: 'prefix' as const, value, caseSensitive: true } });
const serving = (...paths: readonly string[]) =>
  routeConfig({
    name: 'r',
    virtualHosts: [virtualHost({ routes: paths.map((p) => route({ match: path(p), action: { kind: 'serve' } })) })],
  });
const chain = (change: Partial<FilterChainConfig> = {}): FilterChainConfig => ({
  name: 'only',
  match,
  tls: undefined,
  http: manager({ routeConfigName: 'r' }),
  ...change,
});
const listenerOf = (change: Partial<ListenerConfig> = {}): ListenerConfig => ({
  name: NAME,
  api: undefined,
  address: { host: '127.0.0.1', port: 8080 },
  direction: 'inbound',
  filterChains: [chain()],
  defaultFilterChain: undefined,
  ...change,
});

function request(url: string): InboundCall {
  return new InboundCall(requestHead({ path: url }), PEER, () => Promise.resolve(new LocalReply(200, new HeaderList(), 'application')));
}

async function ask(setup: EngineSetup, url: string, connection = setup.engine.listen('127.0.0.1', 8080).chain(FACTS)): Promise<string> {
  if (connection === undefined) return 'closed';
  const call = request(url);
  const reply = await setup.engine.listen('127.0.0.1', 8080).handle(call, connection);
  call.end(reply.status, reply.grpcStatus, reply.failure);
  return reply.failure?.kind.details ?? `${reply.status}`;
}

describe('state', () => {
  test('waiting until the configuration is there, then serving; watchers are told', () => {
    const setup = engineSetup({ attach: false });
    const listener = setup.engine.listen('127.0.0.1', 8080);
    let told = 0;
    const stop = listener.onChange(() => told++);
    expect(listener.state).toBe('waiting');
    setup.engine.attach(setup.source, hostPatterns([]), NO_TLS);
    expect([listener.state, setup.source.asked]).toEqual(['waiting', [`listener ${NAME}`]]);
    setup.source.put('listener', NAME, listenerOf()).push();
    expect(listener.state).toBe('waiting');
    setup.source.put('routes', 'r', serving('/')).push();
    expect([listener.state, listener.problem, listener.mode]).toEqual(['serving', '', 'plaintext']);
    expect(told).toBeGreaterThan(0);
    stop();
    const before = told;
    setup.source.fail('listener', NAME, 'deleted').push();
    expect([listener.state, listener.problem, told]).toEqual(['not-serving', `listener "${NAME}": deleted`, before]);
    expect(listener.chain(FACTS)).toBeUndefined();
  });

  test('the same object for the same address', () => {
    const { engine } = engineSetup();
    expect(engine.listen('127.0.0.1', 8080)).toBe(engine.listen('127.0.0.1', 8080));
    expect(engine.listen('127.0.0.1', 8080)).not.toBe(engine.listen('127.0.0.1', 8081));
  });

  test('an address without a configured name is left alone', () => {
    expect(engineSetup().engine.listen('127.0.0.1', 9).state).toBe('passthrough');
  });

  test.each([
    [{ host: '127.0.0.1', port: 8080 }, 'serving', ''],
    [{ host: '0.0.0.0', port: 8080 }, 'serving', ''],
    [{ host: '::', port: 0 }, 'serving', ''],
    [{ host: '10.0.0.1', port: 8080 }, 'not-serving', `listener "${NAME}" is for 10.0.0.1:8080, the server is bound to 127.0.0.1:8080`],
    [{ host: '127.0.0.1', port: 8081 }, 'not-serving', `listener "${NAME}" is for 127.0.0.1:8081, the server is bound to 127.0.0.1:8080`],
    [undefined, 'not-serving', `listener "${NAME}" has no address`],
  ])('an address %j of the resource (gRFC A36)', (address, state, problem) => {
    const { engine, source } = engineSetup();
    const listener = engine.listen('127.0.0.1', 8080);
    source.put('listener', NAME, listenerOf({ address })).put('routes', 'r', serving('/')).push();
    expect([listener.state, listener.problem]).toEqual([state, problem]);
    expect(listener.chain(FACTS) === undefined).toBe(state !== 'serving');
  });
});

test('routes decide what is served; a route update applies to open connections; a connection keeps the routes of its own listener', async () => {
  const setup = engineSetup();
  setup.engine.listen('127.0.0.1', 8080);
  setup.source.put('listener', NAME, listenerOf()).put('routes', 'r', serving('/a')).push();
  const connection = setup.engine.listen('127.0.0.1', 8080).chain(FACTS);
  expect(await ask(setup, '/a', connection)).toBe('200');
  expect(await ask(setup, '/b', connection)).toBe('route_not_found');
  setup.source.put('routes', 'r', serving('/b')).push();
  expect(await ask(setup, '/a', connection)).toBe('route_not_found');
  expect(await ask(setup, '/b', connection)).toBe('200');
  // The listener is replaced: the open connection goes on with what it had, new ones get the new rules.
  setup.source.put('listener', NAME, listenerOf({ filterChains: [chain({ http: manager({ routeConfig: serving('/new') }) })] })).push();
  expect(await ask(setup, '/new')).toBe('200');
  expect(await ask(setup, '/b')).toBe('route_not_found');
  expect(await ask(setup, '/new', connection)).not.toBe('200');
});

test('calls that no route serves are counted too', async () => {
  const setup = engineSetup();
  setup.engine.listen('127.0.0.1', 8080);
  setup.source.put('listener', NAME, listenerOf()).put('routes', 'r', serving('/a')).push();
  await ask(setup, '/a');
  await ask(setup, '/b');
  const inbound = setup.telemetry.describe().filter(({ direction }) => direction === 'inbound');
  expect(inbound.map(({ route: name, started, ended, failures }) => ({ name, started, ended, failures }))).toEqual([
    { name: 'prefix /a', started: 1, ended: 1, failures: {} },
    { name: '', started: 1, ended: 1, failures: { NR: 1 } },
  ]);
});

test('a listener with failed routes refuses requests and says why; a chain without HTTP has none', async () => {
  const setup = engineSetup();
  const listener = setup.engine.listen('127.0.0.1', 8080);
  setup.source.put('listener', NAME, listenerOf()).fail('routes', 'r', 'rejected').push();
  expect(listener.state).toBe('serving');
  expect(await ask(setup, '/a')).toBe('route_not_found');
  setup.source.put('listener', NAME, listenerOf({ filterChains: [chain({ http: undefined })] })).push();
  expect(await ask(setup, '/a')).toBe('route_not_found');
});

test.each([
  [[false, false], 'plaintext'],
  [[true, true], 'tls'],
  [[true, false], 'mixed'],
] as const)('mode of chains with TLS %j', (secure, mode) => {
  const { engine, source } = engineSetup();
  const listener = engine.listen('127.0.0.1', 8080);
  const tls = {} as NonNullable<FilterChainConfig['tls']>;
  source
    .put('listener', NAME, listenerOf({ filterChains: secure.map((s, i) => chain({ name: String(i), tls: s ? tls : undefined })) }))
    .put('routes', 'r', serving('/'))
    .push();
  expect(listener.mode).toBe(mode);
});
