/**
 * The inbound call that the application is serving now, carried by AsyncLocalStorage, and the headers that are passed on from it when no
 * SDK does (W3C, B3, request id). The storage is made on first use: before Node 24 its mere existence makes every await dearer.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Call, InboundCall } from '../core/call.ts';

/** Passed on untouched when the application did not set them itself. */
export const FORWARDED_HEADERS = [
  'traceparent',
  'tracestate',
  'baggage',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'x-request-id',
] as const;

export class InboundContext {
  #storage: AsyncLocalStorage<InboundCall> | undefined;

  run<R>(call: InboundCall, run: () => R): R {
    this.#storage ??= new AsyncLocalStorage();
    return this.#storage.run(call, run);
  }

  current(): InboundCall | undefined {
    return this.#storage?.getStore();
  }
}

/** Copies the trace headers of the inbound call to the outbound one, where the application did not set its own. */
export function forwardHeaders(inbound: InboundCall, outbound: Call): void {
  const from = inbound.head.headers;
  const to = outbound.head.headers;
  for (const name of FORWARDED_HEADERS) {
    if (to.has(name)) continue;
    const value = from.get(name);
    if (value !== undefined) to.set(name, value);
  }
}
