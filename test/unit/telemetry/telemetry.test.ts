/** Cells, header forwarding and the late tracer, without any SDK. */
import { describe, expect, test } from 'vitest';
import { InboundCall } from '../../../src/core/call.ts';
import type { Call } from '../../../src/core/call.ts';
import { FAILURES } from '../../../src/core/failure.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { ObserverSet } from '../../../src/core/observer.ts';
import { LocalReply } from '../../../src/core/reply.ts';
import { FORWARDED_HEADERS } from '../../../src/telemetry/inbound-context.ts';
import { Telemetry } from '../../../src/telemetry/telemetry.ts';
import type { Tracer } from '../../../src/telemetry/tracer.ts';
import { FakeClock } from '../../../src/testing/index.ts';
import { apiListener, clusterConfig, endpointsOf, engineSetup } from '../../support/mesh-engine.ts';
import { forward, requestHead, route, routeConfig, virtualHost } from '../routing/builders.ts';
import type { Line } from '../../support/scripted-transport.ts';

const LABELS = { listener: 'l', routeConfig: 'rc', virtualHost: 'vh', route: 'r', cluster: 'c' };
const retry = {
  on: ['5xx' as const, 'connect-failure' as const],
  numRetries: 2,
  perTryTimeoutMs: 0,
  baseIntervalMs: 1,
  maxIntervalMs: 1,
  retriableStatusCodes: [],
  retriableHeaders: [],
  retriableRequestHeaders: [],
  avoidPreviousHosts: false,
  hostSelectionMaxAttempts: 1,
  rateLimitedBackOff: undefined,
};

test('counters equal what was sent: by class, flag, attempts and retries; totals survive a new plan', async () => {
  const reply = (status: number): Line => ({ kind: 'reply', status, delayMs: 4 });
  const refused: Line = { kind: 'failure', failure: FAILURES.connectionFailure, delayMs: 1 };
  const { source, send, telemetry } = engineSetup({
    include: ['shop'],
    lines: [reply(200), reply(204), reply(503), reply(200), refused, refused, refused, reply(404)],
  });
  const routes = (name: string) =>
    routeConfig({ name: 'rc', virtualHosts: [virtualHost({ routes: [route({ name, action: forward({ retry }) })] })] });
  source
    .put('listener', 'shop', apiListener('shop', routes('main')))
    .put('cluster', 'c', clusterConfig('c'))
    .put('endpoints', 'c', endpointsOf('c', 1))
    .push();
  for (let i = 0; i < 4; i++) await send('shop');
  // The same labels in another plan.
  source.put('listener', 'shop', apiListener('shop', routes('main'))).push();
  await send('shop');
  source.put('endpoints', 'c', endpointsOf('c')).push();
  await send('shop');
  const [cell, ...others] = telemetry.describe();
  expect(others).toEqual([]);
  expect(cell).toMatchObject({
    direction: 'outbound',
    listener: 'shop',
    routeConfig: 'rc',
    virtualHost: 'vh',
    route: 'main',
    cluster: 'c',
    started: 6,
    ended: 6,
    inFlight: 0,
    byClass: { '2xx': 3, '4xx': 1, '5xx': 2 },
    failures: { UF: 1, UH: 1 },
    attempts: 8,
    retries: 3,
    attemptFailures: { UF: 3 },
  });
  expect(cell?.latencyMs.count).toBe(6);
  source
    .put('endpoints', 'c', endpointsOf('c', 1))
    .put('listener', 'shop', apiListener('shop', routes('renamed')))
    .push();
  await send('shop');
  expect(telemetry.describe().map(({ route: name, started }) => [name, started])).toEqual([
    ['main', 6],
    ['renamed', 1],
  ]);
});

describe('forwarded headers', () => {
  const inbound = (headers: Readonly<Record<string, string>>): InboundCall =>
    new InboundCall(requestHead({}, headers), { remoteAddress: '', remotePort: 0, localAddress: '', localPort: 0, tls: undefined }, () =>
      Promise.resolve(new LocalReply(200, new HeaderList(), '')),
    );
  const sent = (
    context: Readonly<Record<string, string>> | undefined,
    own: Readonly<Record<string, string>> = {},
    tracer?: Tracer,
  ): HeaderList => {
    const telemetry = new Telemetry({ clock: new FakeClock(), observers: [], tracer: () => tracer, bridge: () => undefined });
    const { call } = engineSetup();
    const outbound = call('shop', {}, own);
    const start = (): void => telemetry.observers('outbound', LABELS).forEach((observer) => observer.onCallStart?.(outbound));
    if (context === undefined) start();
    else telemetry.runInContext(inbound(context), start);
    return outbound.head.headers as HeaderList;
  };
  const all = Object.fromEntries(FORWARDED_HEADERS.map((name) => [name, `value of ${name}`]));

  test('all of them, from the inbound call; no others', () => {
    const headers = sent({ ...all, authorization: 'secret', cookie: 'a=b', 'x-other': '1' });
    expect(Object.fromEntries(headers.entries())).toEqual(all);
  });
  test('none outside an inbound call', () => {
    expect([...sent(undefined).entries()]).toEqual([]);
  });
  test('what the application sets itself wins', () => {
    expect(sent(all, { traceparent: 'mine' }).get('traceparent')).toBe('mine');
  });
  test('what a tracer writes wins, too', () => {
    const tracer: Tracer = {
      observer: { onCallStart: (call: Call) => call.head.headers.set('traceparent', 'of the tracer') },
      runInContext: (_call, run) => run(),
    };
    expect(sent(all, {}, tracer).get('traceparent')).toBe('of the tracer');
    expect(sent(all, {}, tracer).get('x-request-id')).toBe('value of x-request-id');
  });
  test('the context lasts over awaits and timers, and ends with the request', async () => {
    const telemetry = new Telemetry({ clock: new FakeClock(), observers: [], tracer: () => undefined, bridge: () => undefined });
    const { call } = engineSetup();
    const get = (): string | undefined => {
      const outbound = call('shop');
      telemetry.observers('outbound', LABELS).forEach((observer) => observer.onCallStart?.(outbound));
      return outbound.head.headers.get('x-request-id');
    };
    const during = telemetry.runInContext(inbound({ 'x-request-id': '7' }), async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return get();
    });
    expect(get()).toBeUndefined();
    expect(await during).toBe('7');
  });
});

test('a tracer that appears later is used for later calls; one call is never half traced', () => {
  const events: string[] = [];
  const tracer: Tracer = {
    observer: {
      onCallStart: (call) => {
        call.span = {};
        events.push('start');
      },
      onCallEnd: () => void events.push('end'),
    },
    runInContext: (_call, run) => run(),
  };
  let current: Tracer | undefined;
  const telemetry = new Telemetry({ clock: new FakeClock(), observers: [], tracer: () => current, bridge: () => undefined });
  const observers = telemetry.observers('outbound', LABELS);
  const { call } = engineSetup();
  const [before, after] = [call('shop'), call('shop')];
  observers.forEach((o) => o.onCallStart?.(before));
  current = tracer;
  observers.forEach((o) => o.onCallEnd?.(before));
  observers.forEach((o) => o.onCallStart?.(after));
  observers.forEach((o) => o.onCallEnd?.(after));
  expect(events).toEqual(['start', 'end']);
});

test('a tracer that throws takes neither counting nor forwarding away', () => {
  const oops = (): never => {
    throw new Error('tracer');
  };
  const tracer: Tracer = {
    observer: { onCallStart: oops, onCallEnd: oops, onAttemptStart: oops, onAttemptEnd: oops },
    runInContext: (_call, run) => run(),
  };
  const telemetry = new Telemetry({ clock: new FakeClock(), observers: [], tracer: () => tracer, bridge: () => undefined });
  const { call } = engineSetup();
  const one = call('shop');
  one.span = {};
  const observers = new ObserverSet(telemetry.observers('outbound', LABELS));
  observers.callStart(one);
  one.status = 200;
  observers.callEnd(one);
  expect(telemetry.describe()).toMatchObject([{ started: 1, ended: 1, byClass: { '2xx': 1 } }]);
});
