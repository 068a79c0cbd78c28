/** `mesh.describe()` as plain data: states, listeners, clusters with endpoints and limits in use, and what is missing. */
import { expect, test } from 'vitest';
import { describe } from '../../../src/describe.ts';
import type { Reply } from '../../../src/core/reply.ts';
import { hostPatterns } from '../../../src/matching/host-patterns.ts';
import { apiListener, clusterConfig, endpointsOf, engineSetup, finish, NO_TLS, routesTo } from '../../support/mesh-engine.ts';

test('the state over a life', async () => {
  const { engine, source, clock } = engineSetup({ attach: false });
  expect(describe(engine)).toEqual({
    state: 'waiting',
    problem: '',
    include: undefined,
    hosts: [],
    callsInFlight: 0,
    source: undefined,
    listeners: [],
    clusters: [],
    metrics: [],
  });
  engine.attach(source, hostPatterns(['shop']), NO_TLS);
  expect(describe(engine)).toMatchObject({
    state: 'running',
    include: ['shop'],
    source: { name: 'fake' },
    listeners: [{ name: 'shop', status: 'waiting', missing: ['listener "shop"'], stacks: {} }],
  });
  const closing = engine.close(1000);
  // Nothing is in flight, so it closes at once.
  await clock.advance(0);
  await closing;
  expect(describe(engine).state).toBe('closed');
});

test('failed: no source can come', () => {
  const { engine } = engineSetup({ attach: false });
  engine.abandon('no way', hostPatterns(['a']));
  expect(describe(engine)).toMatchObject({ state: 'failed', problem: 'no way', include: ['a'] });
});

test('listeners: what is missing, why one failed, and its stacks once used', async () => {
  const { engine, source, send } = engineSetup({ include: ['shop', 'cart'] });
  source
    .put('listener', 'shop', apiListener('shop', 'r'))
    .put('routes', 'r', routesTo('r', 'c'))
    .put('cluster', 'c', clusterConfig('c'))
    .fail('listener', 'cart', 'gone')
    .push();
  expect(describe(engine).listeners).toEqual([
    { name: 'shop', status: 'waiting', reason: '', missing: ['endpoints "c"'], problems: [], stacks: {} },
    { name: 'cart', status: 'failed', reason: 'listener "cart": gone', missing: [], problems: [], stacks: {} },
  ]);
  source.put('endpoints', 'c', endpointsOf('c', 1)).push();
  await send('shop');
  expect(describe(engine).listeners[0]).toMatchObject({
    status: 'ready',
    missing: [],
    stacks: { 'vh/to c -> c': ['time-limit', 'attempt', 'admission', 'pick-endpoint', 'send'] },
  });
});

test('clusters: endpoints as they are, and what is in use while a call runs', async () => {
  const { engine, source, call, clock } = engineSetup({ include: ['shop'] });
  const breaker = { errorThresholdPercentage: 50, volumeThreshold: 20, resetTimeoutMs: 1000, windowMs: 1000 };
  const at = endpointsOf('c', 1, 2);
  const [place] = at.localities;
  if (place === undefined) throw new Error('no locality');
  const endpoints = {
    ...at,
    localities: [
      {
        ...place,
        locality: 'r/z/s',
        priority: 0,
        endpoints: place.endpoints.map((e, i) => (i === 1 ? { ...e, health: 'draining' as const, weight: 5 } : e)),
      },
    ],
  };
  source
    .put('listener', 'shop', apiListener('shop', routesTo('r', 'c')))
    .put('cluster', 'c', clusterConfig('c', { breaker, panicThreshold: 0 }))
    .put('endpoints', 'c', endpoints)
    .push();
  const one = call('shop');
  let reply: Reply | undefined;
  void engine.handle(one).then((r) => (reply = r));
  await clock.advance(0);
  expect(describe(engine)).toMatchObject({
    callsInFlight: 1,
    clusters: [
      {
        name: 'c',
        lbPolicy: 'round_robin',
        tls: false,
        tlsProblem: '',
        breaker: 'closed',
        requests: 1,
        pending: 0,
        retries: 0,
        note: '',
        endpoints: [
          {
            address: '10.0.0.1:80',
            locality: 'r/z/s',
            priority: 0,
            weight: 1,
            health: 'unknown',
            ejected: false,
            active: 1,
            connections: 1,
          },
          {
            address: '10.0.0.2:80',
            locality: 'r/z/s',
            priority: 0,
            weight: 5,
            health: 'draining',
            ejected: false,
            active: 0,
            connections: 0,
          },
        ],
      },
    ],
  });
  await clock.advance(10);
  finish(one, reply as unknown as Reply);
  expect(describe(engine).clusters[0]).toMatchObject({ requests: 0, endpoints: [{ active: 0 }, { active: 0 }] });
  source.fail('endpoints', 'c', 'timed out').push();
  expect(describe(engine).clusters[0]).toMatchObject({ endpoints: [], note: 'endpoints "c": timed out' });
  expect(JSON.parse(JSON.stringify(describe(engine)))).toBeDefined();
  await engine.close(0);
});

test('hosts: which rule applied to what was asked about, and the listener or the reason', async () => {
  const { engine, source, send, call } = engineSetup({ attach: false });
  engine.include = hostPatterns(['shop', 'cart', '*.local']);
  engine.includeRule = 'option';
  expect([engine.includes('shop'), engine.includes('example.com')]).toEqual([true, false]);
  expect(describe(engine).hosts).toEqual([
    { authority: 'shop', included: true, by: 'option', reason: 'the configuration is awaited' },
    { authority: 'example.com', included: false, by: 'option' },
  ]);
  engine.attach(source, engine.include, NO_TLS);
  source
    .put('listener', 'shop', apiListener('shop', routesTo('r', 'c')))
    .cluster('c', 1)
    .put('listener', 'target', apiListener('target', routesTo('r2', 'c')))
    .fail('listener', 'cart', 'gone')
    .push();
  await send('shop');
  await send('cart');
  // No pattern names it, so only an `xds:///` target can have brought it here.
  await send('target');
  expect(engine.open(call('late.local'))).toBeUndefined();
  const hosts = describe(engine).hosts.toSorted((a, b) => (a.authority < b.authority ? -1 : 1));
  expect(hosts).toEqual([
    { authority: 'cart', included: true, by: 'option', reason: 'listener "cart": gone' },
    { authority: 'example.com', included: false, by: 'option' },
    { authority: 'late.local', included: true, by: 'option', reason: 'asked for listener "late.local"' },
    { authority: 'shop', included: true, by: 'option', listener: 'shop' },
    { authority: 'target', included: true, by: 'xds target', listener: 'target' },
  ]);
  // Looking changes nothing: nothing more is asked for, and it says the same again.
  const { asked } = source;
  expect(describe(engine).hosts.length).toBe(5);
  expect(source.asked).toEqual(asked);
  expect(JSON.parse(JSON.stringify(describe(engine))).hosts).toEqual(describe(engine).hosts);
});

test('hosts: without patterns those of the file; without a source the problem', () => {
  const { engine, source } = engineSetup();
  source.put('listener', 'shop', apiListener('shop', routesTo('r', 'c'))).push();
  engine.includes('shop');
  expect(describe(engine).hosts).toMatchObject([{ authority: 'shop', included: true, by: 'mesh.yaml hosts' }]);
  const broken = engineSetup({ attach: false }).engine;
  broken.abandon('no way', hostPatterns(['a']));
  broken.includes('a');
  expect(describe(broken).hosts).toMatchObject([{ authority: 'a', included: true, reason: 'no way' }]);
});

test('hosts: the newest 1000', () => {
  const { engine } = engineSetup({ include: ['shop'] });
  for (let i = 0; i < 1005; i++) engine.includes(`h${i}`);
  const { hosts } = describe(engine);
  expect([hosts.length, hosts[0]?.authority, hosts.at(-1)?.authority]).toEqual([1000, 'h5', 'h1004']);
});
