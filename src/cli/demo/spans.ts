/**
 * Spans without any SDK: an observer that takes the W3C trace context of each sampled call, opens a span below it and writes its own id
 * into the headers that go on (docs/decisions/0003). The mesh carries the context from inbound to outbound calls by itself.
 */
import { randomBytes } from 'node:crypto';
import type { Attempt, Call } from '../../core/call.ts';
import type { Clock } from '../../core/clock.ts';
import type { Observer } from '../../core/observer.ts';
import type { Span } from './messages.ts';

/** Version 00, and only with the sampled flag: all other calls cost one look-up. */
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/;

interface OpenSpan {
  readonly traceId: string;
  readonly parentId: string;
  readonly id: string;
  endpoint: string;
}

export function traceparent(traceId: string, spanId: string): string {
  return `00-${traceId}-${spanId}-01`;
}

export class SpanRecorder implements Observer {
  readonly #process: string;
  readonly #clock: Clock;
  readonly #emit: (span: Span) => void;
  readonly #open = new WeakMap<Call, OpenSpan>();

  constructor(process: string, clock: Clock, emit: (span: Span) => void) {
    this.#process = process;
    this.#clock = clock;
    this.#emit = emit;
  }

  onCallStart(call: Call): void {
    const { headers } = call.head;
    const match = TRACEPARENT.exec(headers.get('traceparent') ?? '');
    if (match === null) return;
    const [, traceId = '', parentId = ''] = match;
    const id = randomBytes(8).toString('hex');
    headers.set('traceparent', traceparent(traceId, id));
    this.#open.set(call, { traceId, parentId, id, endpoint: '' });
  }

  onAttemptEnd(attempt: Attempt): void {
    const open = this.#open.get(attempt.call);
    if (open !== undefined) open.endpoint = attempt.endpoint?.address ?? '';
  }

  onCallEnd(call: Call): void {
    const open = this.#open.get(call);
    if (open === undefined) return;
    this.#open.delete(call);
    const { head } = call;
    const inbound = call.direction === 'inbound';
    const ok = call.failure === undefined && (head.protocol === 'grpc' ? call.grpcStatus === 0 : call.status < 400);
    this.#emit({
      process: this.#process,
      traceId: open.traceId,
      id: open.id,
      parentId: open.parentId,
      kind: inbound ? 'server' : 'client',
      protocol: head.protocol,
      title: head.protocol === 'grpc' ? head.path.slice(1) : `${head.method} ${inbound ? '' : head.authority}${head.path}`,
      start: performance.timeOrigin + call.startedAt,
      end: performance.timeOrigin + this.#clock.now(),
      ok,
      peer: inbound ? (call.peer.tls?.uriSans[0] ?? '') : open.endpoint,
    });
  }
}
