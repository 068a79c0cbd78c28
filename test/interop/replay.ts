/**
 * Replays what a real control plane sent, byte for byte, on a socket: a message goes out once its type was asked for and the last one was
 * answered. Captures: test/interop/captures (private keys blanked).
 */
import { readFileSync } from 'node:fs';
import { Server } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { fromBinary } from '@bufbuild/protobuf';
import { onTestFinished } from 'vitest';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import { byteStream, portOf } from '../support/byte-server.ts';

export interface Capture {
  readonly transport: 'sotw' | 'delta';
  readonly messages: readonly { readonly type: string; readonly raw: string }[];
}

export function readCapture(name: string): Capture {
  return JSON.parse(readFileSync(new URL(`captures/${name}.json`, import.meta.url), 'utf8')) as Capture;
}

/** One message, as far as tests look into it. */
export interface Message {
  readonly bytes: Buffer;
  readonly typeUrl: string;
  readonly nonce: string;
  readonly names: readonly string[];
  readonly removed: readonly string[];
}

export function messagesOf({ transport, messages }: Capture): readonly Message[] {
  return messages.map(({ raw }) => {
    const bytes = Buffer.from(raw, 'base64');
    if (transport === 'sotw') {
      const { typeUrl, nonce } = fromBinary(DiscoveryResponseSchema, bytes);
      return { bytes, typeUrl, nonce, names: [], removed: [] };
    }
    const { typeUrl, nonce, resources, removedResources } = fromBinary(DeltaDiscoveryResponseSchema, bytes);
    return { bytes, typeUrl, nonce, names: resources.map(({ name }) => name), removed: removedResources };
  });
}

export interface Replay {
  readonly address: string;
  /** Types of the messages that nobody asked for. */
  waiting(): readonly string[];
  /** Texts of the NACKs. */
  readonly nacks: readonly string[];
  /** How many answers each nonce had. */
  readonly answers: ReadonlyMap<string, number>;
}

export async function startReplay(capture: Capture): Promise<Replay> {
  const { transport } = capture;
  const messages = messagesOf(capture);
  const nacks: string[] = [];
  const answers = new Map<string, number>();
  const waiting = [...messages];
  let last: Message | undefined;
  const accept = (call: ServerDuplexStream<Buffer, Buffer>): void => {
    const asked = new Set<string>();
    call.on('data', (bytes: Buffer) => {
      const request = transport === 'sotw' ? fromBinary(DiscoveryRequestSchema, bytes) : fromBinary(DeltaDiscoveryRequestSchema, bytes);
      asked.add(request.typeUrl);
      // State of the world repeats the nonce in later changes of names: only the first is the answer.
      if (request.responseNonce !== '' && (transport === 'delta' || !answers.has(request.responseNonce)))
        answers.set(request.responseNonce, (answers.get(request.responseNonce) ?? 0) + 1);
      if (request.errorDetail !== undefined) nacks.push(request.errorDetail.message);
      if (last !== undefined && !answers.has(last.nonce)) return;
      // In their order; what was not asked for yet is passed over, since Envoy asks for more than a client of names on demand.
      const at = waiting.findIndex(({ typeUrl }) => asked.has(typeUrl));
      if (at < 0) return;
      [last] = waiting.splice(at, 1);
      if (last !== undefined) call.write(last.bytes);
    });
    call.on('end', () => call.end());
    call.on('error', () => undefined);
  };
  const server = new Server();
  const path = `/envoy.service.discovery.v3.AggregatedDiscoveryService/${transport === 'sotw' ? 'Stream' : 'Delta'}AggregatedResources`;
  const method = byteStream(path);
  server.addService({ stream: method }, { stream: accept });
  const port = await portOf(server);
  onTestFinished(() => server.forceShutdown());
  return {
    address: `127.0.0.1:${port}`,
    waiting: () => [...new Set(waiting.map(({ typeUrl }) => typeUrl.slice(typeUrl.lastIndexOf('.') + 1)))],
    nacks,
    answers,
  };
}
