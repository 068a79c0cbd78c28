/**
 * `retry_on` against the golden table (Envoy; gRFC A44). A case is a status with perhaps a header, `grpc N` for a trailers-only
 * status (`?`: ordinary headers), or the name of a failure.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { HeaderMatcherConfig } from '../../../src/config/matchers.ts';
import type { RetryPolicyConfig } from '../../../src/config/routes.ts';
import { Attempt } from '../../../src/core/call.ts';
import { failure, FAILURES } from '../../../src/core/failure.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import type { ReplyHead } from '../../../src/core/reply.ts';
import { failureReply } from '../../../src/core/reply.ts';
import { retryJudge } from '../../../src/resilience/retry-conditions.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { retryPolicy, startedCall } from '../../unit/resilience/fakes.ts';

interface Row {
  readonly protocol?: 'grpc';
  /** Comma list, as in the message. */
  readonly on: string;
  readonly codes?: readonly number[];
  readonly headers?: readonly string[];
  readonly request?: readonly string[];
  readonly sent?: string;
  readonly yes: readonly string[];
  readonly no: readonly string[];
}

const rows = JSON.parse(readFileSync(new URL('table.json', import.meta.url), 'utf8')) as readonly Row[];
const clock = new FakeClock();
const present = (name: string): HeaderMatcherConfig => ({
  name,
  match: { kind: 'present', present: true },
  invert: false,
  treatMissingAsEmpty: false,
});

function headOf(text: string): ReplyHead {
  const kind = FAILURES[text as keyof typeof FAILURES];
  if (kind !== undefined) return failureReply(failure(kind, 'scripted'));
  const grpc = /^grpc (\d+|\?)$/.exec(text);
  if (grpc !== null)
    return { status: 200, grpcStatus: grpc[1] === '?' ? undefined : Number(grpc[1]), headers: new HeaderList(), failure: undefined };
  const [, status, name, value] = /^(\d+)(?: ([a-z-]+): (\S+))?$/.exec(text) ?? [];
  const headers = new HeaderList(name === undefined ? [] : [[name, value ?? '']]);
  return { status: Number(status), grpcStatus: undefined, headers, failure: undefined };
}

describe.each(rows.map((row) => [`${row.protocol ?? 'http'} ${row.on}`, row] as const))('%s', (_name, row) => {
  const judge = retryJudge(
    retryPolicy({
      on: row.on.split(',').filter((token) => token !== '') as RetryPolicyConfig['on'],
      retriableStatusCodes: row.codes ?? [],
      retriableHeaders: (row.headers ?? []).map(present),
      retriableRequestHeaders: (row.request ?? []).map(present),
    }),
  );
  const judged = (text: string, begun = true): boolean => {
    const call = startedCall(clock, { protocol: row.protocol ?? 'http', headers: row.sent === undefined ? {} : { [row.sent]: '1' } });
    const attempt = new Attempt(call, 1);
    if (begun) attempt.begin(0);
    return judge.retriable(call, attempt, headOf(text));
  };

  test('retries what it names, and nothing else', () => expect([...row.yes, ...row.no].filter((text) => judged(text))).toEqual(row.yes));
  test('never retries what a layer answered before the attempt began', () =>
    expect([...row.yes, ...row.no].filter((text) => judged(text, false))).toEqual([]));
});

test('statusOnly says whether headers matter', () => {
  expect(retryJudge(retryPolicy({ on: ['5xx', 'reset'] })).statusOnly).toBe(true);
  expect(retryJudge(retryPolicy({ on: ['5xx', 'envoy-ratelimited'] })).statusOnly).toBe(false);
  expect(retryJudge(retryPolicy({ on: ['retriable-headers'], retriableHeaders: [present('x')] })).statusOnly).toBe(false);
});
