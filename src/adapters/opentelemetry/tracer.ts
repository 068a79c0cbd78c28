/**
 * Spans: one CLIENT span per outbound call with a child per attempt when there is more than one, one SERVER span per inbound call, and
 * W3C (or whatever the application configured) propagation in and out through the registered propagators.
 */
import type { Context, Span, TextMapGetter, TextMapSetter } from '@opentelemetry/api';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Attempt, Call, InboundCall, OutboundCall } from '../../core/call.ts';
import type { HeaderMap } from '../../core/headers.ts';
import type { Observer } from '../../core/observer.ts';
import type { Tracer } from '../../telemetry/tracer.ts';
import { ATTR, endAttributes, errorType, isGrpc, methodOf, rpcMethod, spanAttributes } from './attributes.ts';

const getter: TextMapGetter<HeaderMap> = {
  get: (headers, key) => headers.get(key.toLowerCase()),
  keys: (headers) => Array.from(headers.entries(), ([name]) => name),
};

const setter: TextMapSetter<HeaderMap> = {
  set: (headers, key, value) => headers.set(key.toLowerCase(), value),
};

/** What `call.span` holds. */
class CallSpan {
  readonly span: Span;
  readonly context: Context;
  /** The first attempt, kept until it is known whether there will be a second. */
  first: Attempt | undefined = undefined;
  firstEndedAt = 0;

  constructor(span: Span, parent: Context) {
    this.span = span;
    this.context = trace.setSpan(parent, span);
  }
}

class SpanObserver implements Observer {
  readonly #tracer = trace.getTracer('inmesh');

  onCallStart(call: Call): void {
    const { head } = call;
    const inbound = call.direction === 'inbound';
    const parent = inbound ? propagation.extract(context.active(), head.headers, getter) : context.active();
    const name = isGrpc(call) ? rpcMethod(head.path) : methodOf(head.method);
    // All times are the clock's, so that a child never begins before its parent by the difference of two clocks.
    const options = { kind: inbound ? SpanKind.SERVER : SpanKind.CLIENT, attributes: spanAttributes(call), startTime: call.startedAt };
    const span = this.#tracer.startSpan(name, options, parent);
    const own = new CallSpan(span, parent);
    call.span = own;
    if (!inbound) propagation.inject(own.context, head.headers, setter);
  }

  onCallEnd(call: Call): void {
    const own = call.span;
    if (!(own instanceof CallSpan)) return;
    const { labels, cluster } = targetOf(call);
    finish(own.span, isGrpc(call), call.direction === 'inbound', call);
    if (labels !== undefined && labels.route !== '') own.span.setAttribute(ATTR.routeName, labels.route);
    if (cluster !== undefined) own.span.setAttribute(ATTR.cluster, cluster);
    if (call.direction === 'outbound' && call.attempts > 1) own.span.setAttribute(ATTR.attempts, call.attempts);
    own.span.end(call.target?.clock.now());
  }

  onAttemptStart(attempt: Attempt): void {
    const own = attempt.call.span;
    if (!(own instanceof CallSpan)) return;
    if (attempt.number === 1) {
      own.first = attempt;
      return;
    }
    this.#catchUp(own);
    const span = this.#attemptSpan(own, attempt);
    attempt.span = span;
    // The upstream of this try must become a child of this try.
    propagation.inject(trace.setSpan(own.context, span), attempt.call.head.headers, setter);
  }

  onAttemptEnd(attempt: Attempt): void {
    const own = attempt.call.span;
    if (!(own instanceof CallSpan)) return;
    if (attempt.number === 1 && attempt.span === undefined) {
      // OpenTelemetry takes times of performance.now(), which is what the real clock gives.
      own.firstEndedAt = performanceNow(attempt);
      return;
    }
    const span = attempt.span as Span | undefined;
    if (span === undefined) return;
    finish(span, isGrpc(attempt.call), false, attempt);
    span.end(performanceNow(attempt));
  }

  /** The second attempt began: the first gets its span after the fact. */
  #catchUp(own: CallSpan): void {
    const { first } = own;
    if (first === undefined) return;
    own.first = undefined;
    const span = this.#attemptSpan(own, first);
    finish(span, isGrpc(first.call), false, first);
    span.end(own.firstEndedAt);
  }

  #attemptSpan(own: CallSpan, attempt: Attempt): Span {
    const { call, endpoint } = attempt;
    const name = isGrpc(call) ? rpcMethod(call.head.path) : methodOf(call.head.method);
    const span = this.#tracer.startSpan(
      name,
      { kind: SpanKind.CLIENT, attributes: spanAttributes(call), startTime: attempt.startedAt },
      own.context,
    );
    if (attempt.number > 1) span.setAttribute(ATTR.resendCount, attempt.number - 1);
    if (endpoint !== undefined) span.setAttributes({ [ATTR.peerAddress]: endpoint.host, [ATTR.peerPort]: endpoint.port });
    return span;
  }
}

function performanceNow(attempt: Attempt): number {
  return attempt.call.target?.clock.now() ?? attempt.startedAt;
}

function targetOf(call: OutboundCall | InboundCall): { labels: { readonly route: string } | undefined; cluster: string | undefined } {
  return { labels: call.target?.labels, cluster: call.direction === 'outbound' ? call.target?.cluster?.name : undefined };
}

function finish(span: Span, grpc: boolean, server: boolean, ended: Call | Attempt): void {
  span.setAttributes(endAttributes(grpc, server, ended));
  const { failure } = ended;
  if (failure !== undefined && failure.kind.flag !== '') span.setAttribute(ATTR.flag, failure.kind.flag);
  if (errorType(grpc, server, ended) !== undefined) {
    span.setStatus(failure === undefined ? { code: SpanStatusCode.ERROR } : { code: SpanStatusCode.ERROR, message: failure.message });
  }
}

export function createTracer(): Tracer {
  return {
    observer: new SpanObserver(),
    runInContext<R>(call: InboundCall, run: () => R): R {
      return call.span instanceof CallSpan ? context.with(call.span.context, run) : run();
    },
  };
}
