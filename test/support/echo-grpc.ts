/** A real grpc-js server with one method of each kind over raw buffers, and stubs for it as proto-loader and static code make them. */
import type { Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import type {
  ClientOptions,
  sendUnaryData,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
} from '@grpc/grpc-js';
import { ChannelCredentials, makeClientConstructor, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { ServerOptions, ServiceDefinition, Client } from '@grpc/grpc-js';
import { portOf } from './byte-server.ts';

const same = (value: Buffer): Buffer => value;
const method = (name: string, requestStream: boolean, responseStream: boolean): ServiceDefinition[string] => ({
  path: `/echo.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

export const echoService: ServiceDefinition = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  expand: method('Expand', false, true),
  chat: method('Chat', true, true),
};

/** What a test may tell the server: `fail` n times with a status before it answers, be slow, show metadata. */
export interface EchoState {
  calls: number;
  cancelled: number;
  /** Statuses to answer with first, without metadata (trailers-only), one per call. */
  readonly fail: number[];
  delayMs: number;
  lastMetadata: Metadata | undefined;
  lastPeer: string;
  lastIdentity: string | undefined;
  lastDeadline: Date | number;
  lastCall: ServerUnaryCall<Buffer, Buffer> | undefined;
  readonly received: string[];
}

export interface Echo {
  readonly port: number;
  readonly server: Server;
  readonly state: EchoState;
  close(): void;
}

export async function startEcho(
  options: ServerOptions = {},
  credentials: ServerCredentials = ServerCredentials.createInsecure(),
  port = 0,
): Promise<Echo> {
  const state: EchoState = {
    calls: 0,
    cancelled: 0,
    fail: [],
    delayMs: 0,
    lastMetadata: undefined,
    lastPeer: '',
    lastIdentity: undefined,
    lastDeadline: 0,
    lastCall: undefined,
    received: [],
  };
  const server = new Server(options);
  const refuse = (): { code: number; details: string; metadata: Metadata } | undefined => {
    state.calls++;
    const code = state.fail.shift();
    if (code === undefined) return undefined;
    const metadata = new Metadata();
    metadata.set('x-refused', String(state.calls));
    return { code, details: `refused with ${status[code]}`, metadata };
  };
  const trailers = (): Metadata => {
    const metadata = new Metadata();
    metadata.set('x-trailer', 'end');
    metadata.set('x-trailer-bin', Buffer.from([1, 2, 3]));
    return metadata;
  };
  const head = (call: { metadata: Metadata; sendMetadata(m: Metadata): void }): void => {
    state.lastMetadata = call.metadata;
    const metadata = new Metadata();
    metadata.set('x-head', String(call.metadata.get('x-ask')[0] ?? 'none'));
    call.sendMetadata(metadata);
  };
  server.addService(echoService, {
    unary(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      state.lastPeer = call.getPeer();
      state.lastIdentity = call.getAuthContext().sslPeerCertificate?.subjectaltname;
      state.lastDeadline = call.getDeadline();
      state.lastCall = call;
      // grpc-js emits this after an answer as well.
      let answered = false;
      call.on('cancelled', () => (state.cancelled += answered ? 0 : 1));
      const refused = refuse();
      if (refused !== undefined) {
        answered = true;
        return done(refused);
      }
      state.lastMetadata = call.metadata;
      const answer = (): void => {
        answered = true;
        head(call);
        done(null, call.request, trailers());
      };
      if (state.delayMs > 0) setTimeout(answer, state.delayMs);
      else answer();
    },
    collect(call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      call.on('cancelled', () => state.cancelled++);
      const chunks: Buffer[] = [];
      const refusal = state.fail.length > 0;
      if (refusal) {
        // Answers only after the first message, so that messages were sent before the attempt failed.
        call.once('data', () => done(refuse() ?? null));
        return;
      }
      state.calls++;
      call.on('data', (chunk: Buffer) => chunks.push(chunk));
      call.on('end', () => {
        state.received.push(...chunks.map(String));
        done(null, Buffer.concat(chunks), trailers());
      });
    },
    expand(call: ServerWritableStream<Buffer, Buffer>) {
      call.on('cancelled', () => state.cancelled++);
      const refused = refuse();
      if (refused !== undefined) {
        call.emit('error', refused);
        return;
      }
      head(call);
      const count = Number(call.request.toString());
      const next = (i: number): void => {
        if (call.cancelled) return;
        if (i === count) {
          call.end(trailers());
          return;
        }
        call.write(Buffer.from(`m${i}`));
        if (state.delayMs > 0) setTimeout(() => next(i + 1), state.delayMs);
        else next(i + 1);
      };
      next(0);
    },
    chat(call: ServerDuplexStream<Buffer, Buffer>) {
      call.on('cancelled', () => state.cancelled++);
      const refused = refuse();
      if (refused !== undefined) {
        call.emit('error', refused);
        return;
      }
      head(call);
      call.on('data', (chunk: Buffer) => call.write(chunk));
      call.on('end', () => call.end(trailers()));
    },
  });
  const bound = await portOf(server, `127.0.0.1:${port}`, credentials);
  return { port: bound, server, state, close: () => server.forceShutdown() };
}

const EchoConstructor = makeClientConstructor(echoService, 'Echo');

/** A stub with the types of its methods left to the caller, as grpc-js makes them. */
export function echoStub(
  target: string,
  options: ClientOptions,
  credentials: ChannelCredentials = ChannelCredentials.createInsecure(),
): EchoStub {
  return new EchoConstructor(target, credentials, options) as unknown as EchoStub;
}

type Callback = (error: ServiceErrorLike | null, value?: Buffer) => void;
interface ServiceErrorLike extends Error {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}
type UnaryCall = import('@grpc/grpc-js').ClientUnaryCall;
type CallOptions = import('@grpc/grpc-js').CallOptions;
export interface EchoStub extends Client {
  unary(request: Buffer, metadata: Metadata, options: CallOptions, callback: Callback): UnaryCall;
  collect(metadata: Metadata, options: CallOptions, callback: Callback): import('@grpc/grpc-js').ClientWritableStream<Buffer>;
  expand(request: Buffer, metadata: Metadata, options: CallOptions): import('@grpc/grpc-js').ClientReadableStream<Buffer>;
  chat(metadata: Metadata, options: CallOptions): import('@grpc/grpc-js').ClientDuplexStream<Buffer, Buffer>;
}

export interface Outcome {
  readonly code: number;
  readonly details: string;
  readonly value: string;
  readonly head: Metadata | undefined;
  readonly trailers: Metadata | undefined;
  readonly peer: string;
}

export function unary(stub: EchoStub, text: string | Buffer, metadata = new Metadata(), options: CallOptions = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    let head: Metadata | undefined;
    const call = stub.unary(Buffer.from(text), metadata, options, (error, value) => {
      // The callback runs before the 'status' event.
      process.nextTick(() =>
        resolve({
          code: error?.code ?? 0,
          details: error?.details ?? '',
          value: String(value ?? ''),
          head,
          trailers,
          peer: call.getPeer(),
        }),
      );
    });
    let trailers: Metadata | undefined;
    call.on('metadata', (m: Metadata) => (head = m));
    call.on('status', (s: { metadata: Metadata }) => (trailers = s.metadata));
  });
}

export function collect(stub: EchoStub, messages: readonly string[], options: CallOptions = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const call = stub.collect(new Metadata(), options, (error, value) =>
      resolve({
        code: error?.code ?? 0,
        details: error?.details ?? '',
        value: String(value ?? ''),
        head: undefined,
        trailers: undefined,
        peer: call.getPeer(),
      }),
    );
    for (const message of messages) call.write(Buffer.from(message));
    call.end();
  });
}

export interface StreamOutcome {
  readonly code: number;
  readonly details: string;
  readonly values: string[];
  readonly head: Metadata | undefined;
  readonly trailers: Metadata | undefined;
}

function drain(call: import('@grpc/grpc-js').ClientReadableStream<Buffer>): Promise<StreamOutcome> {
  return new Promise((resolve) => {
    const values: string[] = [];
    let head: Metadata | undefined;
    call.on('metadata', (m: Metadata) => (head = m));
    call.on('data', (chunk: Buffer) => values.push(String(chunk)));
    call.on('error', () => undefined);
    call.on('status', (s: { code: number; details: string; metadata: Metadata }) =>
      resolve({ code: s.code, details: s.details, values, head, trailers: s.metadata }),
    );
  });
}

export function expand(stub: EchoStub, count: number, options: CallOptions = {}): Promise<StreamOutcome> {
  return drain(stub.expand(Buffer.from(String(count)), new Metadata(), options));
}

export function chat(stub: EchoStub, messages: readonly string[], options: CallOptions = {}): Promise<StreamOutcome> {
  const call = stub.chat(new Metadata(), options);
  const outcome = drain(call);
  for (const message of messages) call.write(Buffer.from(message));
  call.end();
  return outcome;
}

/** A TCP relay in front of a server, whose connections a test can break without any HTTP/2 farewell. */
export async function startRelay(port: number): Promise<{ port: number; cut(): void; close(): void }> {
  const sockets = new Set<Socket>();
  const relay = createServer((socket) => {
    const upstream = connect(port, '127.0.0.1');
    for (const side of [socket, upstream]) {
      sockets.add(side);
      side.on('error', () => undefined);
      side.on('close', () => sockets.delete(side));
    }
    socket.pipe(upstream).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return { port: (relay.address() as { port: number }).port, cut, close: () => (cut(), void relay.close()) };
}
