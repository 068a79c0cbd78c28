/**
 * The inbound front: runs each call through the stack of its connection's filter chain. A filter that answers never starts the
 * application; the head that the application writes goes back through the filters (design §3.5).
 */
import type { ServerInterceptor } from '@grpc/grpc-js';
import { Metadata, ServerInterceptingCall } from '@grpc/grpc-js';
import type { Cancellable, Peer, RequestHead } from '../../core/call.ts';
import { InboundCall } from '../../core/call.ts';
import type { InboundChain, InboundEngine, InboundListener } from '../../core/engine.ts';
import type { Failure } from '../../core/failure.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import type { Step } from '../../core/handler.ts';
import type { HeaderMap } from '../../core/headers.ts';
import type { Reply, ReplyBody, ReplyHead } from '../../core/reply.ts';
import { failureReply, LocalBody } from '../../core/reply.ts';
import { statusOfReply } from './local-status.ts';
import { MetadataView } from './metadata.ts';
import { peerFrom, peerTls, rememberPeer } from './peer.ts';
import type { Admission, ServerPorts } from './server-ports.ts';
import { factsOf } from './server-ports.ts';

type NextCall = ConstructorParameters<typeof ServerInterceptingCall>[0];
type ServerListener = Parameters<ServerInterceptingCall['start']>[0];
type EndStatus = Parameters<ServerInterceptingCall['sendStatus']>[0];

/** `ownCredentials`: the server was bound with the mesh's credentials, so every connection must have been admitted. */
export function serverInterceptor(engine: InboundEngine, ports: ServerPorts, ownCredentials: boolean): ServerInterceptor {
  // With both interceptors and credentials of the mesh, the call runs through the stack once.
  return (method, call) => (call instanceof InboundFront ? call : new InboundFront(method.path, call, engine, ports, ownCredentials));
}

/** What the application wrote, on the promise path. */
class AppReply implements Reply, ReplyBody {
  readonly status = 200;
  readonly grpcStatus: number | undefined;
  readonly headers: HeaderMap;
  readonly failure = undefined;
  readonly #deliver: () => void;
  constructor(grpcStatus: number | undefined, headers: HeaderMap, deliver: () => void) {
    this.grpcStatus = grpcStatus;
    this.headers = headers;
    this.#deliver = deliver;
  }
  get body(): ReplyBody {
    return this;
  }
  deliver(): void {
    this.#deliver();
  }
  discard(): void {}
}

class InboundFront extends ServerInterceptingCall implements Cancellable {
  readonly #path: string;
  readonly #next: NextCall;
  readonly #engine: InboundEngine;
  readonly #ports: ServerPorts;
  readonly #ownCredentials: boolean;
  #listener: ServerListener | undefined = undefined;
  #call: InboundCall | undefined = undefined;
  #metadata: MetadataView | undefined = undefined;
  #steps: readonly Step<InboundCall>[] | undefined = undefined;
  /** Takes the application's head on the promise path. */
  #answer: ((reply: Reply) => void) | undefined = undefined;
  /** What the application sent while its head is under way through the stack. */
  #held: (() => void)[] | undefined = undefined;
  #headSent = false;
  #refused = false;

  constructor(path: string, next: NextCall, engine: InboundEngine, ports: ServerPorts, ownCredentials: boolean) {
    super(next);
    this.#path = path;
    this.#next = next;
    this.#engine = engine;
    this.#ports = ports;
    this.#ownCredentials = ownCredentials;
  }

  override start(listener: ServerListener): void {
    this.#listener = listener;
    this.#next.start(this);
  }

  // What arrives.

  onReceiveMetadata(metadata: Metadata): void {
    const found = this.#admission();
    if ('kind' in found) {
      this.#refuse(failureReply(found));
    } else if (found.chain === undefined) {
      this.#listener?.onReceiveMetadata(metadata);
    } else if (this.#engine.draining) {
      this.#refuse(failureReply(failure(FAILURES.draining, 'the server takes no new calls')));
    } else {
      this.#begin(metadata, found.listener, found.chain, found.peer);
    }
  }

  onReceiveMessage(message: unknown): void {
    const call = this.#call;
    if (this.#refused) return;
    if (call === undefined) this.#listener?.onReceiveMessage(message);
    else this.#engine.runInContext(call, () => this.#listener?.onReceiveMessage(message));
  }

  onReceiveHalfClose(): void {
    const call = this.#call;
    if (this.#refused) return;
    if (call === undefined) this.#listener?.onReceiveHalfClose();
    else this.#engine.runInContext(call, () => this.#listener?.onReceiveHalfClose());
  }

  onCancel(): void {
    const call = this.#call;
    if (call !== undefined && !call.ended) {
      const late = this.#engine.clock.now() >= call.deadline - 5;
      const failed = failure(
        late ? FAILURES.deadlineExceeded : FAILURES.remoteDisconnect,
        late ? 'the deadline of the client passed' : 'the client left',
      );
      this.#refused = true;
      call.cancel(failed);
      call.end(failed.kind.httpStatus, failed.kind.grpcStatus, failed);
    }
    this.#listener?.onCancel();
  }

  // What the application sends.

  override sendMetadata(metadata: Metadata): void {
    if (this.#refused || this.#headSent) return;
    this.#headSent = true;
    const view = new MetadataView(metadata, true);
    this.#head(undefined, view, () => this.#next.sendMetadata(view.metadata));
  }

  override sendMessage(message: unknown, callback: () => void): void {
    if (this.#refused) return;
    if (!this.#headSent) this.sendMetadata(new Metadata());
    this.#later(() => this.#next.sendMessage(message, callback));
  }

  override sendStatus(status: EndStatus): void {
    if (this.#refused) return;
    if (this.#headSent) {
      this.#later(() => this.#finish(status));
      return;
    }
    this.#headSent = true;
    const view = new MetadataView(status.metadata ?? new Metadata(), true);
    this.#head(status.code, view, () => this.#finish({ code: status.code, details: status.details, metadata: view.metadata }));
  }

  /** A time limit of the mesh: the call ends here, the application hears that it is cancelled. */
  cancel(failed: Failure): void {
    if (!this.#refused) this.#refuse(failureReply(failed));
  }

  #admission(): Admission | Failure {
    const connection = this.#next.getConnectionInfo();
    const admitted = this.#ports.admission(connection);
    if (admitted !== undefined) return admitted;
    if (this.#ownCredentials) return failure(FAILURES.configurationError, 'the connection was not admitted by the mesh');
    // Credentials of the application: the mesh adds its stack, and never weakens what the listener asks for.
    const listener = this.#ports.listenerOf(connection);
    const auth = this.#next.getAuthContext();
    const certificate = auth.sslPeerCertificate;
    const peer = peerFrom(
      connection,
      auth.transportSecurityType === undefined ? undefined : peerTls(certificate, certificate !== undefined, ''),
    );
    if (listener.state === 'passthrough') return { listener, chain: undefined, peer };
    if (listener.state !== 'serving') return failure(FAILURES.configurationError, `the listener is not serving: ${listener.problem}`);
    const chain = listener.chain(factsOf(connection, peer.tls !== undefined));
    if (chain === undefined) return failure(FAILURES.configurationError, 'no filter chain of the listener takes this connection');
    if (chain.security !== undefined) {
      return failure(
        FAILURES.configurationError,
        'the listener asks for TLS of the mesh: bind the server with mesh.grpc.serverCredentials()',
      );
    }
    return { listener, chain, peer };
  }

  #begin(metadata: Metadata, listener: InboundListener, chain: InboundChain, peer: Peer): void {
    const view = new MetadataView(metadata, true);
    const head: RequestHead = {
      protocol: 'grpc',
      method: 'POST',
      scheme: peer.tls === undefined ? 'http' : 'https',
      authority: this.#next.getHost().toLowerCase(),
      path: this.#path,
      headers: view,
    };
    const call = new InboundCall(head, peer, () => this.#runApplication());
    rememberPeer(metadata, peer);
    this.#call = call;
    this.#metadata = view;
    call.pending = this;
    const deadline = this.#next.getDeadline().valueOf();
    const { clock } = this.#engine;
    if (deadline !== Number.POSITIVE_INFINITY) call.deadline = clock.now() + (deadline - clock.wallTime());
    const opened = listener.open(call, chain);
    if ('body' in opened) {
      this.#refuse(opened);
      return;
    }
    const { steps } = opened;
    if (steps === undefined) {
      void listener.handle(call, chain).then((reply) => this.#deliver(reply));
      return;
    }
    for (let i = 0; i < steps.length; i++) {
      const answered = steps[i]?.enter(call);
      if (answered === undefined) continue;
      leave(steps, i, call, answered);
      this.#refuse(answered);
      return;
    }
    this.#steps = steps;
    this.#startApplication();
  }

  #startApplication(): void {
    const { headers } = this.#call?.head ?? {};
    const metadata = headers instanceof MetadataView ? headers.metadata : this.#metadata?.metadata;
    if (this.#call !== undefined && metadata !== undefined)
      this.#engine.runInContext(this.#call, () => this.#listener?.onReceiveMetadata(metadata));
  }

  #runApplication(): Promise<Reply> {
    return new Promise((resolve) => {
      this.#answer = resolve;
      if (this.#refused) resolve(failureReply(failure(FAILURES.remoteDisconnect, 'the client left before the application was started')));
      else this.#startApplication();
    });
  }

  /** The head of the application on its way back through the stack. */
  #head(grpcStatus: number | undefined, headers: MetadataView, send: () => void): void {
    const call = this.#call;
    const reply = new AppReply(grpcStatus, headers, () => this.#release());
    const answer = this.#answer;
    if (answer !== undefined) {
      this.#held = [send];
      answer(reply);
      return;
    }
    if (call !== undefined && this.#steps !== undefined) leave(this.#steps, this.#steps.length - 1, call, reply);
    send();
  }

  #later(send: () => void): void {
    if (this.#held === undefined) send();
    else this.#held.push(send);
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    for (const send of held ?? []) send();
  }

  #deliver(reply: Reply): void {
    if (this.#refused) reply.body.discard();
    else if (reply.body instanceof LocalBody) this.#refuse(reply);
    else reply.body.deliver(this);
  }

  #finish(status: EndStatus): void {
    this.#call?.end(200, status.code, undefined);
    this.#next.sendStatus(status);
  }

  #refuse(reply: Reply): void {
    this.#refused = true;
    this.#held = undefined;
    const status = statusOfReply(reply);
    this.#call?.end(reply.status, status.code, reply.failure);
    this.#next.sendStatus(status);
  }
}

function leave(steps: readonly Step<InboundCall>[], from: number, call: InboundCall, head: ReplyHead): void {
  for (let i = from; i >= 0; i--) steps[i]?.leave?.(call, head);
}
