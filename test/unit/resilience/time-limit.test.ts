import { expect, test } from 'vitest';
import type { ForwardActionConfig, MaxStreamDurationConfig } from '../../../src/config/routes.ts';
import { Attempt } from '../../../src/core/call.ts';
import type { OutboundCall } from '../../../src/core/call.ts';
import type { FailureKind } from '../../../src/core/failure.ts';
import { failure, FAILURES } from '../../../src/core/failure.ts';
import { attemptTimeLimit, callTimeLimit } from '../../../src/resilience/time-limit.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import type { CallOptions } from './fakes.ts';
import { retryPolicy, startedCall } from './fakes.ts';

const duration = (more: Partial<MaxStreamDurationConfig>): MaxStreamDurationConfig => ({
  maxStreamDurationMs: undefined,
  grpcTimeoutHeaderMaxMs: undefined,
  grpcTimeoutHeaderOffsetMs: undefined,
  ...more,
});

interface Limits {
  readonly timeoutMs?: number;
  readonly onRoute?: Partial<MaxStreamDurationConfig>;
  readonly managerMs?: number;
  /** Of the application, in milliseconds from the start. */
  readonly deadline?: number;
}

function enter(call: OutboundCall, { timeoutMs, onRoute, managerMs }: Limits) {
  const action = { timeoutMs, maxStreamDuration: onRoute === undefined ? undefined : duration(onRoute) } as ForwardActionConfig;
  return callTimeLimit(action, { maxStreamDurationMs: managerMs }).step?.enter(call);
}

/** When and with what the call is cancelled; undefined: never. */
async function limitOf(options: CallOptions, limits: Limits): Promise<readonly [FailureKind, number] | undefined> {
  const clock = new FakeClock();
  const call = startedCall(clock, options);
  if (limits.deadline !== undefined) call.deadline = clock.now() + limits.deadline;
  const answered = enter(call, limits);
  if (answered?.failure !== undefined) {
    call.end(answered.status, answered.grpcStatus, answered.failure);
    return [answered.failure.kind, 0];
  }
  const start = clock.now();
  let at = 0;
  call.pending = { cancel: () => (at = clock.now() - start) };
  await clock.advance(100_000);
  const found = call.cancelled === undefined ? undefined : ([call.cancelled.kind, at] as const);
  call.end(200, undefined, undefined);
  expect(clock.pending).toBe(0);
  return found;
}

const { responseTimeout, maxStreamDuration, deadlineExceeded } = FAILURES;
const GRPC: CallOptions = { protocol: 'grpc' };
const header = (value: string): CallOptions => ({ headers: { 'x-envoy-upstream-rq-timeout-ms': value } });
const overHttp = (value: string): CallOptions => ({ headers: { 'grpc-timeout': value } });

test.each<[string, CallOptions, Limits, readonly [FailureKind, number] | undefined]>([
  ['HTTP: 15 s where the route says nothing', {}, {}, [responseTimeout, 15_000]],
  ['HTTP: the timeout of the route', {}, { timeoutMs: 300 }, [responseTimeout, 300]],
  ['HTTP: 0 is no limit', {}, { timeoutMs: 0 }, undefined],
  ['HTTP: with max_stream_duration on the route there is no timeout', {}, { onRoute: {} }, undefined],
  ['HTTP: max_stream_duration instead', {}, { timeoutMs: 300, onRoute: { maxStreamDurationMs: 2000 } }, [maxStreamDuration, 2000]],
  ['HTTP: of the connection manager beside the timeout: the sooner one', {}, { managerMs: 2000 }, [maxStreamDuration, 2000]],
  ['HTTP: the other way round', {}, { managerMs: 20_000 }, [responseTimeout, 15_000]],
  ['HTTP: the route says 0 against the connection manager', {}, { managerMs: 2000, onRoute: { maxStreamDurationMs: 0 } }, undefined],
  ['HTTP: the header overrides the timeout', header('70'), { timeoutMs: 300 }, [responseTimeout, 70]],
  ['HTTP: also to a longer one', header('70000'), { timeoutMs: 300 }, [responseTimeout, 70_000]],
  ['HTTP: and where there was none', header('70'), { timeoutMs: 0 }, [responseTimeout, 70]],
  ['HTTP: 0 in the header is no limit', header('0'), { timeoutMs: 300 }, undefined],
  ['HTTP: nonsense in the header counts for nothing', header('1e3'), { timeoutMs: 300 }, [responseTimeout, 300]],
  ['HTTP: the header does not lift the stream duration', header('70000'), { managerMs: 2000 }, [maxStreamDuration, 2000]],
  ['HTTP: grpc-timeout counts only where the route says so', overHttp('50m'), { timeoutMs: 300 }, [responseTimeout, 300]],
  ['HTTP: grpc-timeout', overHttp('50m'), { onRoute: { grpcTimeoutHeaderMaxMs: 0 } }, [maxStreamDuration, 50]],
  ['HTTP: grpc-timeout, capped', overHttp('2S'), { onRoute: { grpcTimeoutHeaderMaxMs: 700 } }, [maxStreamDuration, 700]],
  [
    'HTTP: grpc-timeout, less the offset',
    overHttp('2S'),
    { onRoute: { grpcTimeoutHeaderMaxMs: 0, grpcTimeoutHeaderOffsetMs: 500 } },
    [maxStreamDuration, 1500],
  ],
  [
    'HTTP: nothing left of grpc-timeout is over at once',
    overHttp('1S'),
    { onRoute: { grpcTimeoutHeaderMaxMs: 0, grpcTimeoutHeaderOffsetMs: 1000 } },
    [maxStreamDuration, 0],
  ],
  [
    'HTTP: no grpc-timeout: max_stream_duration',
    {},
    { onRoute: { grpcTimeoutHeaderMaxMs: 0, maxStreamDurationMs: 900 } },
    [maxStreamDuration, 900],
  ],
  ['gRPC: the route timeout does not count (A31)', GRPC, { timeoutMs: 300 }, undefined],
  ['gRPC: no 15 s', GRPC, {}, undefined],
  [
    'gRPC: grpc_timeout_header_max first',
    GRPC,
    { onRoute: { grpcTimeoutHeaderMaxMs: 100, maxStreamDurationMs: 200 }, managerMs: 50 },
    [maxStreamDuration, 100],
  ],
  ['gRPC: then max_stream_duration', GRPC, { onRoute: { maxStreamDurationMs: 200 }, managerMs: 50 }, [maxStreamDuration, 200]],
  ['gRPC: then that of the connection manager', GRPC, { managerMs: 50 }, [maxStreamDuration, 50]],
  ['gRPC: 0 is no limit', GRPC, { onRoute: { grpcTimeoutHeaderMaxMs: 0, maxStreamDurationMs: 200 } }, undefined],
  ['gRPC: a sooner deadline of the application', GRPC, { managerMs: 50, deadline: 20 }, [deadlineExceeded, 20]],
  ['gRPC: a later deadline of the application', GRPC, { managerMs: 50, deadline: 80 }, [maxStreamDuration, 50]],
  ['gRPC: the deadline of the application alone', GRPC, { deadline: 80 }, [deadlineExceeded, 80]],
  ['gRPC: a deadline that has passed fails at once', GRPC, { deadline: -1 }, [deadlineExceeded, 0]],
  ['gRPC: the HTTP header does not count', { ...GRPC, ...header('70') }, {}, undefined],
])('%s', async (_name, options, limits, expected) => {
  expect(await limitOf(options, limits)).toEqual(expected);
});

test('headers that are meant for the mesh do not go on to the upstream', () => {
  const clock = new FakeClock();
  const call = startedCall(clock, {
    headers: { 'x-envoy-upstream-rq-timeout-ms': '70', 'x-envoy-upstream-rq-per-try-timeout-ms': '20', 'x-other': '1' },
  });
  enter(call, {});
  expect([...call.head.headers.entries()]).toEqual([['x-other', '1']]);
  expect(call.perTryTimeoutMs).toBe(20);
  expect(call.deadline).toBe(clock.now() + 70);
});

test('a limit replaces a longer one that was armed before', async () => {
  const clock = new FakeClock();
  const call = startedCall(clock);
  call.deadline = clock.now() + 900;
  call.timeLimit = failure(deadlineExceeded, 'app');
  call.timer = clock.set(call, 900);
  enter(call, { timeoutMs: 300 });
  expect(clock.pending).toBe(1);
  await clock.advance(300);
  expect(call.cancelled?.kind).toBe(responseTimeout);
  call.end(504, undefined, call.cancelled);
});

test.each<[string, CallOptions, number, number | undefined, number | undefined]>([
  ['the per-try limit', {}, 100, 1000, 100],
  ['none', {}, 0, 1000, undefined],
  ['as long as the call: ignored', {}, 1000, 1000, undefined],
  ['without a limit of the call', {}, 100, undefined, 100],
  ['from the header', { headers: { 'x-envoy-upstream-rq-per-try-timeout-ms': '40' } }, 100, 1000, 40],
  ['switched off by the header', { headers: { 'x-envoy-upstream-rq-per-try-timeout-ms': '0' } }, 100, 1000, undefined],
  ['not for gRPC (A44)', GRPC, 100, undefined, undefined],
])('an attempt: %s', async (_name, options, perTryTimeoutMs, timeoutMs, expected) => {
  const clock = new FakeClock();
  const call = startedCall(clock, options);
  enter(call, { timeoutMs: timeoutMs ?? 0 });
  const attempt = new Attempt(call, 1);
  attemptTimeLimit({} as ForwardActionConfig, retryPolicy({ perTryTimeoutMs }))?.step?.enter(attempt);
  const start = clock.now();
  let at: number | undefined;
  attempt.pending = { cancel: () => (at = clock.now() - start) };
  await clock.advance(2000);
  expect(at).toBe(expected);
  if (expected !== undefined) expect(attempt.cancelled?.kind).toBe(FAILURES.perTryTimeout);
  attempt.end(200, undefined, undefined);
  call.end(200, undefined, undefined);
  expect(clock.pending).toBe(0);
});

test('without a retry policy there is no layer for attempts', () => {
  expect(attemptTimeLimit({} as ForwardActionConfig, undefined)).toBeUndefined();
});
