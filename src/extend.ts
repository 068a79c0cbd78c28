/** `inmesh/extend`: the interfaces that third-party filters, LB policies, layers and observers implement. */
export type { Attempt, Call, InboundCall, OutboundCall, Peer, PeerTls, RequestHead } from './core/call.ts';
export type { Alarm, Clock, Timer } from './core/clock.ts';
export type { Cluster, Endpoint, HealthStatus, HostSet, LbPolicy, Picker } from './core/endpoint.ts';
export type { AnyMessage, Deps, FilterFactory, LbPolicyFactory, ParseContext } from './core/extension.ts';
export type { Failure, FailureKind } from './core/failure.ts';
export { describeFailure, failure, FAILURES } from './core/failure.ts';
export type { Handler, Layer, Step } from './core/handler.ts';
export { stepLayer } from './core/handler.ts';
export type { HeaderMap } from './core/headers.ts';
export { HeaderList } from './core/headers.ts';
export type { Logger } from './core/log.ts';
export type { Observer } from './core/observer.ts';
export type { Random } from './core/random.ts';
export type { Reply, ReplyHead } from './core/reply.ts';
export { failureReply, LocalReply } from './core/reply.ts';
export { ConfigProblem } from './config/resource.ts';
