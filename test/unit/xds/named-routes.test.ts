/** Route configurations by name, without listeners: names, the listener that stands for them, and calls through the engine. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hostPatterns } from '../../../src/matching/host-patterns.ts';
import { NamedRoutesSource, routeConfigName } from '../../../src/xds/named-routes.ts';
import type { FakeSource } from '../../support/mesh-engine.ts';
import { detailsOf, engineSetup, NO_TLS } from '../../support/mesh-engine.ts';
import { forward, route, routeConfig, virtualHost } from '../routing/builders.ts';

test.each([
  ['%port%', 'reviews:9080', '9080'],
  ['%port%', 'reviews', '80'],
  ['%port%', '[::1]:8080', '8080'],
  ['%port%', '[::1]', '80'],
  ['%host%:%port%', 'reviews', 'reviews:80'],
  ['%s', 'reviews:9080', 'reviews:9080'],
  ['http_proxy', 'reviews:9080', 'http_proxy'],
  ['%host%/%host%', 'a', 'a/a'],
  [
    'xdstp://x/envoy.config.route.v3.RouteConfiguration/%s?b=%port%&a=1',
    '[::1]:8',
    'xdstp://x/envoy.config.route.v3.RouteConfiguration/%5B::1%5D:8?a=1&b=8',
  ],
])('%s of %s', (template, authority, expected) => {
  expect(routeConfigName(template, authority)).toBe(expected);
});

test('what an authority holds is never taken for a placeholder', () => {
  fc.assert(
    fc.property(fc.constantFrom('%port%', '%host%', '%s', 'a'), fc.integer({ min: 1, max: 65_535 }), (host, port) => {
      expect(routeConfigName('%s|%host%|%port%', `${host}:${port}`)).toBe(`${host}:${port}|${host}|${port}`);
    }),
  );
});

function setup(templates: readonly string[] = ['%port%']) {
  const made = engineSetup({ attach: false });
  made.engine.attach(new NamedRoutesSource(made.source, templates), hostPatterns(['*']), NO_TLS);
  return made;
}

/** As istiod sends it: one virtual host for each service of the port, the catch-all last. */
const port9080 = (source: FakeSource, ...names: readonly string[]) =>
  source.put(
    'routes',
    '9080',
    routeConfig({
      name: '9080',
      ignorePortInHostMatching: true,
      virtualHosts: names.map((name) =>
        virtualHost({
          name: `${name}:9080`,
          domains: name === 'block_all' ? ['*'] : [`${name}.default.svc.cluster.local`, name],
          routes: [
            name === 'block_all'
              ? route({ action: { kind: 'direct-response', status: 502, body: '' } })
              : route({ action: forward({ cluster: { kind: 'cluster', name: `outbound|9080||${name}` } }) }),
          ],
        }),
      ),
    }),
  );

test('a call asks for the routes of its port and for nothing else; the virtual host is that of its host, with or without the port', async () => {
  const { source, send, transport, engine, call } = setup();
  expect(engine.open(call('reviews:9080'))).toBeUndefined();
  expect(source.asked).toEqual(['routes 9080']);
  port9080(source, 'reviews', 'ratings', 'block_all').cluster('outbound|9080||reviews', 1).cluster('outbound|9080||ratings', 2).push();
  expect((await send('reviews:9080')).reply.status).toBe(200);
  expect((await send('ratings.default.svc.cluster.local:9080')).reply.status).toBe(200);
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  expect((await send('unknown:9080')).reply.status).toBe(502);
  // One root for all hosts of a port.
  expect([...(engine.roots?.values() ?? [])].map(({ name }) => name)).toEqual(['rds:9080']);
  expect(source.asked.filter((key) => key.startsWith('listener'))).toEqual([]);
});

test('another port is another route configuration; one that is not there fails with its reason', async () => {
  const { source, send } = setup();
  port9080(source, 'reviews').cluster('outbound|9080||reviews', 1).fail('routes', '80', 'sent nothing').push();
  expect((await send('reviews:9080')).reply.status).toBe(200);
  const { failure } = (await send('reviews')).reply;
  expect(detailsOf(failure)).toBe('route_not_found');
  expect(failure?.message).toBe('route configuration "80": sent nothing');
});

test('an update of endpoints recompiles nothing: the listener that nobody sent keeps its identity', () => {
  const { source, engine } = setup();
  engine.roots?.lookup('reviews:9080');
  port9080(source, 'reviews').cluster('outbound|9080||reviews', 1).push();
  const plan = [...(engine.roots?.values() ?? [])][0]?.plan;
  expect(plan).toBeDefined();
  for (let port = 1; port < 3000; port++) engine.source?.get('listener', `rds:${port}`);
  source.cluster('outbound|9080||reviews', 1, 2).push();
  source
    .put('endpoints', 'outbound|9080||reviews', { clusterName: '', localities: [], dropOverloads: [], overprovisioningFactor: 140 })
    .push();
  port9080(source, 'reviews').push();
  expect([...(engine.roots?.values() ?? [])][0]?.plan?.snapshot.listener).toBe(plan?.snapshot.listener);
});

test('several templates: the best that is there, the next one meanwhile', async () => {
  const { source, send, transport } = setup(['%host%:%port%', '%port%']);
  port9080(source, 'reviews').cluster('outbound|9080||reviews', 1).cluster('own', 2).push();
  await send('reviews:9080');
  expect(source.asked).toContain('routes reviews:9080');
  source
    .put(
      'routes',
      'reviews:9080',
      routeConfig({ virtualHosts: [virtualHost({ routes: [route({ action: forward({ cluster: { kind: 'cluster', name: 'own' } }) })] })] }),
    )
    .push();
  await send('reviews:9080');
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
});
