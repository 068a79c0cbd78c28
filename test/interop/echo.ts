/** The peers' Echo service (`go/echo/echo.proto`) for grpc-js: stubs through a mesh, and a server behind one. */
import { fileURLToPath } from 'node:url';
import type {
  ChannelOptions,
  Client,
  ClientDuplexStream,
  ServiceDefinition,
  ServiceError,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ChannelCredentials, makeClientConstructor, Metadata, Server, status } from '@grpc/grpc-js';
import type { ServerDuplexStream, ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { onTestFinished } from 'vitest';
import type { Mesh } from '../../src/index.ts';
import { until } from './harness.ts';
import { portOf } from '../support/byte-server.ts';

export interface SayReply {
  readonly text: string;
  readonly server: string;
  readonly peer_id: string;
  readonly peer_address: string;
  readonly metadata: Readonly<Record<string, string>>;
}

interface SayRequest {
  readonly text: string;
}

interface EchoStub extends Client {
  Say(
    request: SayRequest,
    metadata: Metadata,
    options: { readonly deadline?: number },
    done: (error: ServiceError | null, reply?: SayReply) => void,
  ): unknown;
  Chat(metadata: Metadata): ClientDuplexStream<SayRequest, SayReply>;
}

const definition = loadSync(fileURLToPath(new URL('go/echo/echo.proto', import.meta.url)), { keepCase: true, defaults: true });
const service = definition['inmesh.peers.v1.Echo'] as ServiceDefinition;
const EchoConstructor = makeClientConstructor(service, 'Echo');

export interface Echo {
  readonly stub: EchoStub;
  /** The reply; a refusal is thrown as grpc-js gives it. */
  say(headers?: Readonly<Record<string, string>>, timeoutMs?: number): Promise<SayReply>;
  /** The server that answered, or the name of the status. */
  answer(headers?: Readonly<Record<string, string>>): Promise<string>;
  /** Sends the texts one by one and each after the reply to the one before; the replies, or the name of the status. */
  chat(texts: readonly string[], headers?: Readonly<Record<string, string>>): Promise<readonly SayReply[] | string>;
}

function metadataOf(headers: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

export const nameOf = (code: number): string => status[code] ?? String(code);

/** A stub through a mesh, as an application would make it. */
export function echoClient(mesh: Mesh, target: string, options: ChannelOptions = {}): Echo {
  const stub = new EchoConstructor(target, ChannelCredentials.createInsecure(), mesh.grpc.channelOptions(options)) as unknown as EchoStub;
  onTestFinished(() => stub.close());
  const say: Echo['say'] = (headers = {}, timeoutMs = 10_000) =>
    new Promise((resolve, reject) => {
      stub.Say({ text: 'hello' }, metadataOf(headers), { deadline: Date.now() + timeoutMs }, (error, reply) =>
        reply === undefined ? reject(error) : resolve(reply),
      );
    });
  return {
    stub,
    say,
    answer: (headers) =>
      say(headers).then(
        (reply) => reply.server,
        (error: ServiceError) => nameOf(error.code),
      ),
    chat: (texts, headers = {}) =>
      new Promise((resolve) => {
        const call = stub.Chat(metadataOf(headers));
        const replies: SayReply[] = [];
        const next = (): void => {
          const text = texts[replies.length];
          if (text === undefined) call.end();
          else call.write({ text });
        };
        call.on('data', (reply: SayReply) => {
          replies.push(reply);
          next();
        });
        call.on('error', () => undefined);
        call.on('status', ({ code }: { readonly code: number }) => resolve(code === status.OK ? replies : nameOf(code)));
        next();
      }),
  };
}

/** What the server saw: reply of the same form as the Go server's. */
const replyOf = (
  name: string,
  call: ServerUnaryCall<SayRequest, SayReply> | ServerDuplexStream<SayRequest, SayReply>,
  text: string,
): SayReply => ({
  text,
  server: name,
  peer_id: /URI:(\S+?)(?:,|$)/.exec(call.getAuthContext().sslPeerCertificate?.subjectaltname ?? '')?.[1] ?? '',
  peer_address: call.getPeer(),
  metadata: Object.fromEntries(Object.entries(call.metadata.getMap()).map(([key, value]) => [key, String(value)])),
});

/** A grpc-js server with the inbound stack of `mesh`, once it serves. */
export async function echoServer(mesh: Mesh, name: string, port: number): Promise<void> {
  const server = new Server({ interceptors: mesh.grpc.serverInterceptors() });
  const implementation: UntypedServiceImplementation = {
    Say: (call: ServerUnaryCall<SayRequest, SayReply>, done: sendUnaryData<SayReply>) => done(null, replyOf(name, call, call.request.text)),
    Chat: (call: ServerDuplexStream<SayRequest, SayReply>) => {
      call.on('data', ({ text }: SayRequest) => call.write(replyOf(name, call, text)));
      call.on('end', () => call.end());
    },
  };
  server.addService(service, implementation);
  await portOf(server, `127.0.0.1:${port}`, mesh.grpc.serverCredentials());
  onTestFinished(() => server.forceShutdown());
  await until('the server has its listener', () =>
    mesh.describe().listeners.some((listener) => listener.name.endsWith(`:${port}`) && listener.status === 'ready'),
  );
}
