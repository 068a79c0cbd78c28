/** HTTP filters over ECDS (Envoy X-92): waiting, swapping, defaults, and that a filter without its configuration lets nothing pass. */
import { describe, expect, test } from 'vitest';
import type { ExtensionConfig } from '../../../src/config/extension.ts';
import type { FilterDiscoveryConfig, HttpFilterConfig, HttpManagerConfig, ListenerConfig } from '../../../src/config/listener.ts';
import type { FilterOverride, FilterOverrides, RouteEntryConfig } from '../../../src/config/routes.ts';
import { describe as describeMesh } from '../../../src/describe.ts';
import { InboundCall } from '../../../src/core/call.ts';
import type { Call } from '../../../src/core/call.ts';
import type { FilterFactory } from '../../../src/core/extension.ts';
import type { Handler } from '../../../src/core/handler.ts';
import { stack, stepLayer } from '../../../src/core/handler.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { LocalReply } from '../../../src/core/reply.ts';
import { FilterChain } from '../../../src/filters/chain.ts';
import { hostPatterns } from '../../../src/matching/host-patterns.ts';
import { apiListener, engineSetup, manager, NO_TLS } from '../../support/mesh-engine.ts';
import type { EngineSetup } from '../../support/mesh-engine.ts';
import { FakeClock, SeededRandom } from '../../../src/testing/index.ts';
import { forward, requestHead, route, routeConfig, virtualHost } from '../routing/builders.ts';

const [MARK, OTHER, FOREIGN] = ['test/mark', 'test/other', 'test/foreign'];

/** Answers with its configuration, by its own name; `pass` lets through. */
function answering(typeUrl: string, name: string): FilterFactory<unknown> {
  return {
    typeUrls: [typeUrl, `${typeUrl}-route`],
    directions: ['outbound', 'inbound'],
    parse: () => undefined,
    layer: (config) => {
      const { text } = config as { readonly text: string };
      if (text === 'pass') return undefined;
      return stepLayer<Call>(name, { enter: () => new LocalReply(200, new HeaderList(), `${name}:${text}`) });
    },
  };
}
const FACTORIES = [answering(MARK, 'mark'), answering(OTHER, 'other'), answering(FOREIGN, 'foreign')];

const discovered = (change: Partial<FilterDiscoveryConfig> = {}, filter: Partial<HttpFilterConfig> = {}): HttpFilterConfig => ({
  name: 'f',
  typeUrl: '',
  disabled: false,
  terminal: false,
  config: undefined,
  discovery: { typeUrls: [MARK, OTHER], fallback: undefined, withoutWarming: false, ...change },
  ...filter,
});
const extension = (text: string, typeUrl = MARK): ExtensionConfig => ({ name: 'f', typeUrl, terminal: false, config: { text } });
const FALLBACK = { typeUrl: MARK, config: { text: 'default' } };

function listenerWith(name: string, filter: HttpFilterConfig, overrides: FilterOverrides = {}): ListenerConfig {
  const routes = routeConfig({ virtualHosts: [virtualHost({ routes: [route({ action: forward(), filterOverrides: overrides })] })] });
  return { ...apiListener(name, routes), api: manager({ routeConfig: routes, filters: [filter] }) };
}

function start(filter: HttpFilterConfig, overrides?: FilterOverrides): EngineSetup {
  const setup = engineSetup({ include: ['shop', 'plain'], parts: { filters: FACTORIES } });
  setup.source
    .put('listener', 'shop', listenerWith('shop', filter, overrides))
    .cluster('c', 1)
    .push();
  return setup;
}

async function ask({ send }: EngineSetup, host = 'shop'): Promise<string> {
  const { reply } = await send(host);
  if (reply.failure !== undefined) return `${reply.status} ${reply.failure.kind.flag} ${reply.failure.message}`;
  return 'text' in reply.body ? String(reply.body.text) : 'upstream';
}

const state = ({ engine }: EngineSetup): string => [...(engine.roots?.values() ?? [])].find(({ name }) => name === 'shop')?.status ?? '';

describe('waiting', () => {
  test('the listener waits for the configuration, and says so', async () => {
    const setup = start(discovered());
    setup.engine.roots?.demand('shop');
    expect([state(setup), describeMesh(setup.engine).listeners[0]?.missing]).toEqual(['waiting', ['extension-config "f"']]);
    expect(setup.source.asked).toContain('extension-config f');
    setup.source.put('extension-config', 'f', extension('first')).push();
    expect([state(setup), await ask(setup)]).toEqual(['ready', 'mark:first']);
  });

  test('with a default it waits all the same, unless the default counts at once', async () => {
    const waiting = start(discovered({ fallback: FALLBACK }));
    waiting.engine.roots?.demand('shop');
    expect(state(waiting)).toBe('waiting');
    waiting.source.fail('extension-config', 'f', 'timed out').push();
    expect([state(waiting), await ask(waiting)]).toEqual(['ready', 'mark:default']);

    const ready = start(discovered({ fallback: FALLBACK, withoutWarming: true }));
    expect(await ask(ready)).toBe('mark:default');
    ready.source.put('extension-config', 'f', extension('now')).push();
    expect(await ask(ready)).toBe('mark:now');
  });

  test('while a newer listener waits for its filter, the older one serves and follows its own', async () => {
    const setup = start(discovered());
    setup.source.put('extension-config', 'f', extension('one')).push();
    expect(await ask(setup)).toBe('mark:one');
    setup.source.put('listener', 'shop', listenerWith('shop', discovered({}, { name: 'g' }))).push();
    expect(await ask(setup)).toBe('mark:one');
    expect(setup.source.asked.filter((key) => key.startsWith('extension-config'))).toEqual(['extension-config f', 'extension-config g']);
    setup.source.put('extension-config', 'f', extension('two')).push();
    expect(await ask(setup)).toBe('mark:two');
    setup.source.put('extension-config', 'g', extension('three')).push();
    expect(await ask(setup)).toBe('mark:three');
    expect(setup.source.asked.filter((key) => key.startsWith('extension-config'))).toEqual(['extension-config g']);
  });
});

describe('a filter without its configuration lets nothing pass', () => {
  const over = (change: Partial<FilterOverride>): FilterOverrides => ({ f: { disabled: false, config: undefined, ...change } });
  const MISSING = '500 NFCF filter "f": its configuration: does not exist';

  test.each<[string, HttpFilterConfig, FilterOverrides, string]>([
    ['it failed', discovered(), {}, MISSING],
    [
      'the configuration of a route does not stand in for it',
      discovered(),
      over({ config: { text: 'route' }, typeUrl: `${MARK}-route` }),
      MISSING,
    ],
    ['disabled at the route', discovered(), over({ disabled: true }), 'upstream'],
    ['disabled in the listener', discovered({}, { disabled: true }), {}, 'upstream'],
    ['disabled in the listener, configured at the route', discovered({}, { disabled: true }), over({ config: { text: 'route' } }), MISSING],
    ['a terminal one', discovered({}, { terminal: true }), {}, MISSING],
    ['a terminal one that a route would disable', discovered({}, { terminal: true }), over({ disabled: true }), MISSING],
    ['negative control: a default stands in', discovered({ fallback: FALLBACK }), {}, 'mark:default'],
  ])('%s', async (_name, filter, overrides, expected) => {
    const setup = start(filter, overrides);
    setup.source.fail('extension-config', 'f').push();
    expect(await ask(setup)).toBe(expected);
  });

  test('gRPC calls get UNAVAILABLE; describe says which filter; it heals', async () => {
    const setup = start(discovered());
    setup.source.fail('extension-config', 'f', 'rejected').push();
    const { reply } = await setup.send('shop', { protocol: 'grpc' });
    expect(reply.failure?.kind.grpcStatus).toBe(14);
    const { problems, stacks } = describeMesh(setup.engine).listeners[0] ?? {};
    expect(problems).toEqual(['filter "f": its configuration: rejected']);
    expect(Object.values(stacks ?? {})[0]?.[0]).toBe('f (missing)');
    setup.source.put('extension-config', 'f', extension('pass')).push();
    expect([await ask(setup), describeMesh(setup.engine).listeners[0]?.problems]).toEqual(['upstream', []]);
    setup.source.fail('extension-config', 'f', 'deleted').push();
    expect(await ask(setup)).toBe('500 NFCF filter "f": its configuration: deleted');
  });
});

describe('types', () => {
  test('one that the listener does not list: the last good one stays, and describe says why', async () => {
    const setup = start(discovered());
    setup.source.put('extension-config', 'f', extension('good')).push();
    expect(await ask(setup)).toBe('mark:good');
    setup.source.put('extension-config', 'f', extension('strange', FOREIGN)).push();
    expect(await ask(setup)).toBe('mark:good');
    const problem = `filter "f": its configuration is of type ${FOREIGN}, which type_urls does not list`;
    expect(describeMesh(setup.engine).listeners[0]?.problems).toEqual([problem]);
    setup.source.put('extension-config', 'f', extension('new', OTHER)).push();
    expect([await ask(setup), describeMesh(setup.engine).listeners[0]?.problems]).toEqual(['other:new', []]);
  });

  test('the first is not listed: the default, else nothing passes', async () => {
    const [without, fallback] = [start(discovered()), start(discovered({ fallback: FALLBACK }))];
    for (const { source } of [without, fallback]) source.put('extension-config', 'f', extension('strange', FOREIGN)).push();
    expect(await ask(without)).toMatch(/^500 NFCF filter "f": its configuration is of type test\/foreign/);
    expect(await ask(fallback)).toBe('mark:default');
  });

  test('two listeners that want different types of one name: each by itself', async () => {
    const setup = start(discovered({ typeUrls: [MARK] }));
    setup.source
      .put('listener', 'plain', listenerWith('plain', discovered({ typeUrls: [OTHER] })))
      .put('extension-config', 'f', extension('x'))
      .push();
    expect(await ask(setup)).toBe('mark:x');
    expect(await ask(setup, 'plain')).toMatch(/^500 NFCF/);
    setup.source.put('extension-config', 'f', extension('y', OTHER)).push();
    expect([await ask(setup), await ask(setup, 'plain')]).toEqual(['mark:x', 'other:y']);
  });

  test('the configuration of a route is for filters of its own type only', async () => {
    const setup = start(discovered(), { f: { disabled: false, config: { text: 'route' }, typeUrl: `${MARK}-route` } });
    setup.source.put('extension-config', 'f', extension('listener')).push();
    expect(await ask(setup)).toBe('mark:route');
    setup.source.put('extension-config', 'f', extension('listener', OTHER)).push();
    expect(await ask(setup)).toBe('other:listener');
  });
});

test('an update makes the stacks of its listener anew, of no other, and indexes no table', async () => {
  const setup = start(discovered());
  const fixed: HttpFilterConfig = { name: 'f', typeUrl: MARK, disabled: false, terminal: false, config: { text: 'fixed' } };
  setup.source.put('listener', 'plain', listenerWith('plain', fixed)).put('extension-config', 'f', extension('one')).push();
  const target = (host: string): unknown => {
    const call = setup.call(host);
    setup.engine.open(call);
    const { target: found } = call;
    call.end(200, undefined, undefined);
    return found;
  };
  const table = (host: string): unknown => {
    const found = setup.engine.roots?.lookup(host);
    return found?.status === 'ready' ? found.tables[0] : undefined;
  };
  await ask(setup);
  await ask(setup, 'plain');
  const before = [target('shop'), target('plain'), table('shop'), table('plain')];
  setup.source.put('extension-config', 'f', extension('two')).push();
  const after = [target('shop'), target('plain'), table('shop'), table('plain')];
  expect(after.map((value, index) => value === before[index])).toEqual([false, true, true, true]);
  expect(await ask(setup)).toBe('mark:two');
  // The same again changes nothing.
  setup.source.push();
  setup.source.pushAll();
  expect(target('shop')).not.toBe(before[0]);
  expect(target('shop')).toBe(target('shop'));
});

/** A server's listener with one open connection. */
function startInbound(): {
  readonly setup: EngineSetup;
  request(path?: string): Promise<string>;
  replace(filter?: HttpFilterConfig): void;
} {
  const setup = engineSetup({ attach: false, parts: { filters: FACTORIES } });
  const serve = (value: string): RouteEntryConfig =>
    route({ match: { path: { kind: 'prefix', value, caseSensitive: true } }, action: { kind: 'serve' } });
  const managerWith = (filter: HttpFilterConfig): HttpManagerConfig =>
    manager({ routeConfig: routeConfig({ virtualHosts: [virtualHost({ routes: [serve('/late'), serve('/')] })] }), filters: [filter] });
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
  const put = (filter: HttpFilterConfig): void =>
    void setup.source.put('listener', 'inbound/127.0.0.1:8080', {
      name: 'inbound/127.0.0.1:8080',
      api: undefined,
      address: { host: '127.0.0.1', port: 8080 },
      direction: 'inbound',
      filterChains: [{ name: 'only', match, tls: undefined, http: managerWith(filter) }],
      defaultFilterChain: undefined,
    });
  put(discovered());
  setup.engine.attach(setup.source, hostPatterns([]), NO_TLS);
  const listener = setup.engine.listen('127.0.0.1', 8080);
  expect(listener.state).toBe('waiting');
  setup.source.put('extension-config', 'f', extension('one')).push();
  const peer = { remoteAddress: '127.0.0.1', remotePort: 5, localAddress: '127.0.0.1', localPort: 8080, tls: undefined };
  const facts = { ...peer, transportProtocol: 'raw_buffer' as const, serverName: undefined, applicationProtocols: [] };
  const chain = listener.chain(facts);
  if (chain === undefined) throw new Error('no chain');
  return {
    setup,
    replace(filter = discovered()) {
      put(filter);
      setup.source.push();
    },
    async request(path = '/') {
      const call = new InboundCall(requestHead({ path }), peer, () =>
        Promise.resolve(new LocalReply(200, new HeaderList(), 'application')),
      );
      const reply = await listener.handle(call, chain);
      call.end(reply.status, reply.grpcStatus, reply.failure);
      return reply.failure?.kind.details ?? ('text' in reply.body ? String(reply.body.text) : '');
    },
  };
}

test('inbound: connections that are open follow the filter', async () => {
  const { setup, request } = startInbound();
  expect(await request()).toBe('mark:one');
  setup.source.put('extension-config', 'f', extension('pass')).push();
  expect(await request()).toBe('application');
  setup.source.fail('extension-config', 'f').push();
  expect(await request()).toBe('filter_config_missing');
});

test('inbound: a connection that outlives its listener keeps the filters that it had last, also on routes that nobody had called', async () => {
  const { setup, request, replace } = startInbound();
  expect(await request()).toBe('mark:one');
  setup.source.put('extension-config', 'f', extension('two')).push();
  replace();
  expect([await request(), await request('/late')]).toEqual(['mark:two', 'mark:two']);
  // Those of the new listener are none of its.
  setup.source.put('extension-config', 'f', extension('pass')).push();
  expect([await request(), await request('/late')]).toEqual(['mark:two', 'mark:two']);
});

test('a filter that nobody filled in lets nothing pass either', async () => {
  const chain = new FilterChain(FACTORIES, { clock: new FakeClock(), random: new SeededRandom(1), log: silentLogger });
  const layers = chain.layers([discovered()], [], 'inbound');
  const application: Handler<Call> = { handle: () => Promise.resolve(new LocalReply(200, new HeaderList(), 'application')) };
  const { failure } = await stack(layers, application).handle(undefined as unknown as Call);
  expect(failure?.kind.details).toBe('filter_config_missing');
});

test('inbound: a listener without filters does not open those connections', async () => {
  const { request, replace } = startInbound();
  replace({ name: 'router', typeUrl: '', disabled: false, terminal: true, config: undefined });
  expect([await request(), await request('/late')]).toEqual(['mark:one', 'mark:one']);
});
