/**
 * One request on its way through the inbound stack: its head as the mesh sees it, and the life of its call. Where no layer waits, the steps
 * run without a promise and the application starts in the same turn.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Cancellable, RequestHead } from '../../core/call.ts';
import { InboundCall } from '../../core/call.ts';
import type { InboundEngine } from '../../core/engine.ts';
import type { Failure } from '../../core/failure.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import type { Step } from '../../core/handler.ts';
import type { HeaderMap } from '../../core/headers.ts';
import type { Reply, ReplyHead } from '../../core/reply.ts';
import { failureReply, LocalBody } from '../../core/reply.ts';
import type { InboundConnection } from './connections.ts';
import { IncomingHeaders } from './headers.ts';
import { HeldReply, onHead, silence, writeLocal } from './response.ts';

/** Gives the request to the application's own listeners. */
export type RunApplication = (request: IncomingMessage, response: ServerResponse) => void;

const EXCHANGE = Symbol('inmesh.exchange');

type Tracked = ServerResponse & { [EXCHANGE]?: InboundExchange };

/** One function for all responses: no closure per request. */
function onClose(this: Tracked): void {
  this[EXCHANGE]?.closed();
}

export class InboundExchange implements RequestHead, Cancellable {
  method: string;
  authority: string;
  path: string;
  readonly #engine: InboundEngine;
  readonly #connection: InboundConnection;
  readonly #request: IncomingMessage;
  readonly #response: Tracked;
  readonly #run: RunApplication;
  readonly call: InboundCall;
  #headers: IncomingHeaders | undefined = undefined;
  #closed = false;

  constructor(
    engine: InboundEngine,
    connection: InboundConnection,
    request: IncomingMessage,
    response: ServerResponse,
    run: RunApplication,
  ) {
    this.#engine = engine;
    this.#connection = connection;
    this.#request = request;
    this.#response = response;
    this.#run = run;
    const { method = 'GET', url = '/', headers } = request;
    this.method = method;
    this.authority = (headers.host ?? '').toLowerCase();
    this.path = url;
    // RFC 9112, 3.2.2: a target in absolute form overrides the Host header.
    if (!url.startsWith('/') && URL.canParse(url) && /^https?:/i.test(url)) {
      const { host, pathname, search } = new URL(url);
      this.authority = host;
      this.path = pathname + search;
    }
    this.call = new InboundCall(this, connection.peer, () => this.#application());
    this.call.pending = this;
  }

  get protocol(): 'http' {
    return 'http';
  }

  get scheme(): string {
    return this.#connection.encrypted ? 'https' : 'http';
  }

  set scheme(_value: string) {
    // The connection says it; a layer cannot make it something else.
  }

  get headers(): HeaderMap {
    return (this.#headers ??= new IncomingHeaders(this.#request));
  }

  start(): void {
    const { call } = this;
    const { listener, chain } = this.#connection;
    const response = this.#response;
    this.#connection.started(response);
    response[EXCHANGE] = this;
    response.on('close', onClose);
    const opened = listener.open(call, chain);
    if (!('handler' in opened)) return this.#answer(opened);
    const { steps } = opened;
    if (steps === undefined) {
      void listener.handle(call, chain).then((reply) => this.#show(reply));
      return;
    }
    let leaves = false;
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i] as Step<InboundCall>;
      const answered = step.enter(call);
      if (answered !== undefined) {
        leave(steps, i, call, answered);
        return this.#answer(answered);
      }
      if (step.leave !== undefined) leaves = true;
    }
    if (call.ended) return;
    if (leaves) onHead(response, (head) => leave(steps, steps.length - 1, call, head));
    this.#start();
  }

  /** The mesh stops the call (a time limit): the application's answer, if it still comes, goes nowhere. */
  cancel(failed: Failure): void {
    if (this.#response.headersSent) {
      this.call.end(this.#response.statusCode, undefined, failed);
      this.#response.destroy();
    } else {
      this.#answer(failureReply(failed));
      silence(this.#response);
    }
  }

  /** The response is over, whole or not. */
  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { call } = this;
    const response = this.#response;
    if (!call.ended) {
      const whole = response.writableFinished;
      call.end(
        response.statusCode,
        undefined,
        whole ? undefined : failure(FAILURES.remoteDisconnect, 'the client went away before the response was complete'),
      );
    }
    this.#connection.finished();
  }

  #start(): void {
    const request = this.#request;
    if (this.path !== request.url) request.url = this.path;
    if (this.method !== request.method) request.method = this.method;
    this.#engine.runInContext(this.call, () => this.#run(request, this.#response));
  }

  /** For the promise path: starts the application, resolves with the head it writes. */
  #application(): Promise<Reply> {
    return new Promise((resolve) => {
      new HeldReply(this.#response, resolve);
      this.#start();
    });
  }

  #show(reply: Reply): void {
    if (this.call.ended) return reply.body.discard();
    if (reply.body instanceof LocalBody) this.#answer(reply);
    else reply.body.deliver(this.#response);
  }

  #answer(reply: Reply): void {
    const { call } = this;
    const response = this.#response;
    call.end(reply.status, reply.grpcStatus, reply.failure);
    for (const name of ['writeHead', 'write', 'end', 'flushHeaders']) Reflect.deleteProperty(response, name);
    if (reply.failure?.kind === FAILURES.draining || reply.failure?.kind === FAILURES.meshClosed) response.shouldKeepAlive = false;
    if (!response.headersSent) writeLocal(response, reply);
  }
}

function leave(steps: readonly Step<InboundCall>[], from: number, call: InboundCall, head: ReplyHead): void {
  for (let i = from; i >= 0; i--) steps[i]?.leave?.(call, head);
}
