/** The engine on simulated time: waiting for the first configuration, include patterns, ready, drain and close. */
import { describe, expect, test } from 'vitest';
import { FAILURES } from '../../../src/core/failure.ts';
import type { Reply } from '../../../src/core/reply.ts';
import { hostPatterns } from '../../../src/matching/host-patterns.ts';
import { apiListener, detailsOf, engineSetup, FakeSource, finish, NO_TLS, routesTo } from '../../support/mesh-engine.ts';
import type { EngineSetup } from '../../support/mesh-engine.ts';
import { forward, route, routeConfig, virtualHost } from '../routing/builders.ts';

const serveShop = (source: FakeSource): FakeSource =>
  source.put('listener', 'shop', apiListener('shop', routesTo('r', 'c'))).cluster('c', 1);

/** The promise and what became of it so far. */
function track<T>(promise: Promise<T>): { value: T | undefined; error: unknown } {
  const state: { value: T | undefined; error: unknown } = { value: undefined, error: undefined };
  promise.then(
    (value) => (state.value = value),
    (error: unknown) => (state.error = error),
  );
  return state;
}

describe('a call before the configuration', () => {
  test('waits, and is served when it comes', async () => {
    const { engine, source, clock, call } = engineSetup({ include: ['shop'] });
    const one = call('shop');
    expect(engine.open(one)).toBeUndefined();
    const state = track(engine.handle(one));
    await clock.advance(14_000);
    expect(state.value).toBeUndefined();
    serveShop(source).push();
    await clock.advance(10);
    expect(state.value?.status).toBe(200);
    finish(one, state.value as Reply);
  });

  test('fails after startTimeout with a code of its own that names what was asked for', async () => {
    const { engine, source, clock, call, telemetry } = engineSetup({ include: ['shop'], parts: { startTimeoutMs: 15_000 } });
    source.problem = '127.0.0.1:1: UNAVAILABLE: refused';
    const one = call('shop:8080');
    const state = track(engine.handle(one));
    await clock.advance(14_999);
    expect(state.value).toBeUndefined();
    await clock.advance(1);
    expect(state.value?.failure).toMatchObject({ kind: { details: 'configuration_timeout', flag: 'NC', httpStatus: 503, grpcStatus: 14 } });
    expect(state.value?.failure?.message).toBe(
      'no configuration for "shop:8080" within 15000 ms (asked for listeners "shop:8080", "shop"); control plane: 127.0.0.1:1: UNAVAILABLE: refused',
    );
    finish(one, state.value as Reply);
    // It is counted like any other.
    expect(telemetry.describe()).toMatchObject([{ route: '', started: 1, ended: 1, failures: { NC: 1 } }]);
  });

  test('waits as well while no source is attached', async () => {
    const { engine, source, clock, call } = engineSetup({ attach: false });
    const one = call('shop');
    const state = track(engine.handle(one));
    await clock.advance(1000);
    engine.attach(serveShop(source), hostPatterns(['shop']), NO_TLS);
    await clock.advance(10);
    expect(state.value?.status).toBe(200);
    finish(one, state.value as Reply);
  });

  test('fails at once when no source can come, and says why', async () => {
    const { engine, clock, call } = engineSetup({ attach: false });
    const one = call('shop');
    const state = track(engine.handle(one));
    await clock.advance(1);
    engine.abandon('xDS could not be started: no such module', hostPatterns(['shop']));
    await clock.advance(0);
    expect(state.value?.failure).toMatchObject({ message: 'xDS could not be started: no such module' });
    finish(one, state.value as Reply);
    await expect(engine.ready(100)).rejects.toMatchObject({ code: 'ERR_MESH_CONFIG' });
  });

  test('can be cancelled, and does not wait longer than its deadline', async () => {
    const { engine, clock, call } = engineSetup({ include: ['shop'] });
    const one = call('shop');
    const state = track(engine.handle(one));
    await clock.advance(10);
    one.cancel({ kind: FAILURES.remoteDisconnect, message: 'gone', cause: undefined });
    await clock.advance(0);
    expect(detailsOf(state.value?.failure)).toBe('downstream_remote_disconnect');
    finish(one, state.value as Reply);
    const two = call('shop');
    two.deadline = clock.now() + 300;
    const second = track(engine.handle(two));
    await clock.advance(299);
    expect(second.value).toBeUndefined();
    await clock.advance(1);
    // The caller's limit is the caller's failure, not the configuration's.
    expect(detailsOf(second.value?.failure)).toBe('downstream_deadline_exceeded');
    finish(two, second.value as Reply);
    expect(clock.pending).toBe(0);
  });

  test('hosts that no call waits for any more are forgotten beyond a thousand', async () => {
    const { engine, source, clock, call } = engineSetup({ include: ['*.test'], parts: { startTimeoutMs: 10_000 } });
    const ask = (count: number, from: number): void => {
      for (let n = from; n < from + count; n++) {
        const one = call(`h${n}.test`);
        void engine.handle(one).then((reply) => finish(one, reply));
      }
    };
    ask(1100, 0);
    expect(source.wanted).toHaveLength(1100);
    await clock.advance(5000);
    ask(2, 0);
    await clock.advance(15_002);
    // The last calls for all but two ended more than startTimeout ago; of those, what makes half of the room stays.
    ask(1, 2000);
    const hosts = source.wanted.map(({ name }) => name);
    expect(hosts).toHaveLength(501);
    expect(hosts).toEqual(expect.arrayContaining(['h0.test', 'h1.test', 'h1099.test', 'h2000.test']));
    expect(hosts).not.toContain('h2.test');
    // Asked for again, and served.
    const again = call('h2.test');
    const state = track(engine.handle(again));
    source.put('listener', 'h2.test', apiListener('h2.test', routesTo('r', 'c'))).cluster('c', 1);
    source.push();
    await clock.advance(10);
    expect(state.value?.status).toBe(200);
    finish(again, state.value as Reply);
    await clock.advance(10_000);
  });

  test('a thousand wait together and all are woken', async () => {
    const { engine, source, clock, call } = engineSetup({ include: ['shop'] });
    const calls = Array.from({ length: 1000 }, () => call('shop'));
    const states = calls.map((one) => track(engine.handle(one)));
    serveShop(source).push();
    await clock.advance(10);
    expect(states.filter(({ value }) => value?.status === 200)).toHaveLength(1000);
    calls.forEach((one, i) => finish(one, states[i]?.value as Reply));
    expect(clock.pending).toBe(0);
  });
});

describe('ready', () => {
  test('waits for every included host, and not for patterns', async () => {
    const { engine, source, clock } = engineSetup({ include: ['shop', 'cart', '*.svc'] });
    const state = track(engine.ready(5000).then(() => 'ready'));
    serveShop(source).push();
    await clock.advance(0);
    expect(state.value).toBeUndefined();
    source.put('listener', 'cart', apiListener('cart', routesTo('r2', 'c'))).push();
    await clock.advance(0);
    expect(state.value).toBe('ready');
  });

  test('ERR_MESH_START_TIMEOUT names what is missing and what the control plane says', async () => {
    const { engine, source, clock } = engineSetup({ include: ['shop', 'cart'] });
    source.problem = 'cp:1: UNAVAILABLE';
    serveShop(source).push();
    const state = track(engine.ready(5000));
    await clock.advance(4999);
    expect(state.error).toBeUndefined();
    await clock.advance(1);
    expect(state.error).toMatchObject({
      code: 'ERR_MESH_START_TIMEOUT',
      message: 'no complete configuration within 5000 ms, still waiting for cart. The control plane says: cp:1: UNAVAILABLE',
    });
  });

  test('ERR_MESH_CONFIG when nothing can work', async () => {
    const { engine, source } = engineSetup({ include: ['shop'] });
    source.fail('listener', 'shop', 'rejected: no route').push();
    await expect(engine.ready(5000)).rejects.toMatchObject({
      code: 'ERR_MESH_CONFIG',
      message: 'no listener could be configured: listener "shop": rejected: no route',
    });
  });

  test('one host that is broken does not stop the others from being ready', async () => {
    const { engine, source } = engineSetup({ include: ['shop', 'cart'] });
    serveShop(source).fail('listener', 'cart').push();
    await engine.ready(5000);
  });

  test('of several candidates for a host, one that is there is enough', async () => {
    const { engine, source } = engineSetup({ include: ['shop:8080'] });
    serveShop(source).push();
    await engine.ready(5000);
    expect(source.asked).toContain('listener shop:8080');
  });

  test('ERR_MESH_CLOSED when it is closed meanwhile', async () => {
    const { engine, clock } = engineSetup({ include: ['shop'] });
    const state = track(engine.ready(5000));
    await engine.close(0);
    await clock.advance(0);
    expect(state.error).toMatchObject({ code: 'ERR_MESH_CLOSED' });
    await expect(engine.ready(1)).rejects.toMatchObject({ code: 'ERR_MESH_CLOSED' });
  });
});

describe('which hosts belong to the mesh', () => {
  test.each([
    [['shop'], ['shop', 'shop:80', 'shop:8080'], ['shops', 'a.shop', 'other']],
    [['shop:8080'], ['shop:8080'], ['shop', 'shop:80']],
    [
      ['*.svc.cluster.local'],
      ['a.svc.cluster.local', 'a.b.svc.cluster.local:81'],
      ['svc.cluster.local', '.svc.cluster.local', 'a.svc.cluster.local.evil'],
    ],
    [['*'], ['anything', '[::1]:80'], []],
    [[], [], ['shop']],
  ])('include %j', (include, inside, outside) => {
    const { engine } = engineSetup({ include });
    for (const host of inside) expect([host, engine.includes(host)]).toEqual([host, true]);
    for (const host of outside) expect([host, engine.includes(host)]).toEqual([host, false]);
  });

  test('without patterns: the hosts that the source has', () => {
    class Listed extends FakeSource {
      override candidates(authority: string): readonly string[] {
        return super.candidates(authority).filter((name) => this.listed.includes(name));
      }
    }
    const source = new Listed();
    const { engine } = engineSetup({ attach: false });
    source.listed = ['shop'];
    engine.attach(serveShop(source), undefined, NO_TLS);
    expect([engine.includes('shop'), engine.includes('shop:80'), engine.includes('cart')]).toEqual([true, true, false]);
    // A host that comes later is found: answers are remembered only until something changes.
    source.listed = ['shop', 'cart'];
    source.put('listener', 'cart', apiListener('cart', routesTo('r2', 'c'))).push();
    expect(engine.includes('cart')).toBe(true);
  });
});

describe('close', () => {
  const running = async (setup: EngineSetup): Promise<{ finishIt: () => void }> => {
    serveShop(setup.source).push();
    const one = setup.call('shop');
    const reply = track(setup.engine.handle(one));
    await setup.clock.advance(10);
    return { finishIt: () => finish(one, reply.value as Reply) };
  };

  test('waits for calls in flight, and no longer', async () => {
    const setup = engineSetup({ include: ['shop'] });
    const { finishIt } = await running(setup);
    const state = track(setup.engine.close(5000).then(() => 'closed'));
    await setup.clock.advance(3000);
    expect([state.value, setup.engine.draining, setup.engine.closed]).toEqual([undefined, true, false]);
    finishIt();
    await setup.clock.advance(0);
    expect([state.value, setup.source.closed, setup.transport.closed]).toEqual(['closed', true, 1]);
  });

  test('gives up after drainMs', async () => {
    const setup = engineSetup({ include: ['shop'] });
    const { finishIt } = await running(setup);
    const state = track(setup.engine.close(5000).then(() => 'closed'));
    await setup.clock.advance(4999);
    expect(state.value).toBeUndefined();
    await setup.clock.advance(1);
    expect(state.value).toBe('closed');
    finishIt();
  });

  test('calls of the application go on while it drains, so that requests being served can end', async () => {
    const setup = engineSetup({ include: ['shop'] });
    const { finishIt } = await running(setup);
    const state = track(setup.engine.close(5000).then(() => 'closed'));
    await setup.clock.advance(100);
    expect((await setup.send('shop')).reply.status).toBe(200);
    finishIt();
    await setup.clock.advance(0);
    expect(state.value).toBe('closed');
  });

  test('afterwards calls fail with mesh_closed, at once', async () => {
    const { engine, source, send } = engineSetup({ include: ['shop'] });
    serveShop(source).push();
    await engine.close(0);
    expect(detailsOf((await send('shop')).reply.failure)).toBe('mesh_closed');
    await engine.close(0);
  });

  test('calls that wait for the configuration are failed', async () => {
    const { engine, clock, call } = engineSetup({ include: ['shop'] });
    const one = call('shop');
    const state = track(engine.handle(one));
    await clock.advance(1);
    await engine.close(0);
    await clock.advance(0);
    expect(detailsOf(state.value?.failure)).toBe('mesh_closed');
    finish(one, state.value as Reply);
  });

  test('a source that comes too late is closed, with its certificates', async () => {
    const { engine, source } = engineSetup({ attach: false });
    await engine.close(0);
    let tlsClosed = false;
    engine.attach(source, undefined, { ...NO_TLS, close: () => void (tlsClosed = true) });
    expect([source.closed, tlsClosed]).toEqual([true, true]);
  });
});

test('a cluster that is removed while a call pauses before its retry serves the retry, and leaves no connection behind', async () => {
  const retry = {
    on: ['connect-failure' as const],
    numRetries: 1,
    perTryTimeoutMs: 0,
    baseIntervalMs: 1000,
    maxIntervalMs: 1000,
    retriableStatusCodes: [],
    retriableHeaders: [],
    retriableRequestHeaders: [],
    avoidPreviousHosts: false,
    hostSelectionMaxAttempts: 1,
    rateLimitedBackOff: undefined,
  };
  const setup = engineSetup({ include: ['shop'], lines: [{ kind: 'failure', failure: FAILURES.connectionFailure, delayMs: 1 }] });
  const { engine, source, clock, call, transport } = setup;
  const to = (cluster: string) =>
    routeConfig({
      virtualHosts: [virtualHost({ routes: [route({ action: forward({ cluster: { kind: 'cluster', name: cluster }, retry }) })] })],
    });
  source
    .put('listener', 'shop', apiListener('shop', to('c')))
    .cluster('c', 1)
    .cluster('d', 2)
    .push();
  const one = call('shop');
  const state = track(engine.handle(one));
  await clock.advance(1);
  expect(transport.sent).toHaveLength(1);
  source.put('listener', 'shop', apiListener('shop', to('d'))).push();
  await clock.advance(0);
  expect([engine.clusters?.get('c'), transport.closed]).toEqual([undefined, 1]);
  await clock.advance(2000);
  expect([state.value?.status, transport.sent.length]).toEqual([200, 2]);
  finish(one, state.value as Reply);
  await clock.advance(0);
  expect(transport.closed).toBe(2);
});

test('a layer that throws fails its call with filter_failed, nothing else', async () => {
  const { engine, source, send } = engineSetup({
    include: ['shop'],
    parts: {
      attemptLayers: [
        {
          name: 'broken',
          wrap: () => ({ handle: () => Promise.reject(new Error('oops')) }),
        },
      ],
    },
  });
  serveShop(source).push();
  const { reply } = await send('shop');
  expect(reply.failure).toMatchObject({ kind: { details: 'filter_failed' }, message: expect.stringContaining('oops') });
  expect(engine.clusters?.get('c')).toMatchObject({ requests: 0, pending: 0 });
});

test('observers that throw harm nobody', async () => {
  const ended: number[] = [];
  const { source, send } = engineSetup({
    include: ['shop'],
    observers: [
      {
        onCallStart: () => {
          throw new Error('observer');
        },
        onCallEnd: (call) => void ended.push(call.status),
      },
    ],
  });
  serveShop(source).push();
  expect((await send('shop')).reply.status).toBe(200);
  expect(ended).toEqual([200]);
});
