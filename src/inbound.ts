/** The inbound stack, as a list: what a request to the application goes through. Innermost, the application runs. */
import type { Call, InboundCall } from './core/call.ts';
import { failure, FAILURES } from './core/failure.ts';
import type { Handler, Layer, Step } from './core/handler.ts';
import { stack, stepsOf } from './core/handler.ts';
import type { Reply } from './core/reply.ts';
import { failureReply } from './core/reply.ts';
import { mutateHeaders } from './routing/mutate-headers.ts';
import type { RouteContext } from './routing/route-table.ts';

export interface InboundRoute {
  readonly where: RouteContext;
  readonly filters: readonly Layer<Call>[];
}

export interface InboundStack {
  readonly handler: Handler<InboundCall>;
  readonly steps: readonly Step<InboundCall>[] | undefined;
  readonly names: readonly string[];
}

const application: Handler<InboundCall> = {
  handle: (call) => call.runApplication(),
};

/** The route matched but does not serve: gRFC A36 wants UNAVAILABLE, and only after the filters of the route have run. */
const notServed: Handler<InboundCall> = {
  handle: (): Promise<Reply> =>
    Promise.resolve(failureReply(failure(FAILURES.routeNotFound, 'the matched route does not serve requests here'))),
};

export function inbound(route: InboundRoute, answer: Handler<InboundCall> | undefined): InboundStack {
  const serves = route.where.route.action.kind === 'serve' || route.where.route.action.kind === 'forward';
  const headers = mutateHeaders(route.where);
  const layers: Layer<InboundCall>[] = headers === undefined ? [...route.filters] : [...route.filters, headers];
  const innermost = serves ? application : (answer ?? notServed);
  return {
    handler: stack(layers, innermost),
    steps: serves ? stepsOf(layers) : undefined,
    names: [...layers.map((l) => l.name), serves ? 'application' : 'answer'],
  };
}
