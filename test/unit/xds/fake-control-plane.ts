/** A scripted control plane in memory: an `AdsTransport` whose far side is the test. Resources are two strings: a name and a text. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../../src/core/transport.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import type { Bootstrap, XdsServerConfig } from '../../../src/config/bootstrap.ts';
import type { DecodeContext, Decoded, ResourceType } from '../../../src/xds/resource-type.ts';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
  ResourceSchema,
} from '../../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import type { DeltaDiscoveryRequest, DiscoveryRequest } from '../../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import { RESOURCE_TYPE_URL } from '../../../src/proto/discovery.ts';

/** Request as tests write it: only what is set. */
export interface PlainRequest {
  readonly type: ResourceKind;
  readonly version?: string;
  readonly nonce?: string;
  readonly names: readonly string[];
  readonly nack?: string;
  readonly node?: string;
}

/** The same of the incremental dialect. */
export interface PlainDelta {
  readonly type: ResourceKind;
  readonly sub?: readonly string[];
  readonly unsub?: readonly string[];
  readonly initial?: Readonly<Record<string, string>>;
  readonly nonce?: string;
  readonly nack?: string;
  readonly node?: string;
}

/** One resource of an incremental response. */
export interface DeltaEntry {
  readonly name: string;
  readonly version: string;
  /** Undefined: no body. */
  readonly body?: Any;
  readonly aliases?: readonly string[];
  readonly ttlMs?: number;
}

function kindOf(typeUrl: string): ResourceKind {
  return (Object.keys(TYPE_URLS) as ResourceKind[]).find((kind) => TYPE_URLS[kind] === typeUrl) ?? 'secret';
}

export function plain(request: DiscoveryRequest): PlainRequest {
  return {
    type: kindOf(request.typeUrl),
    ...(request.versionInfo !== '' && { version: request.versionInfo }),
    ...(request.responseNonce !== '' && { nonce: request.responseNonce }),
    names: request.resourceNames,
    ...(request.errorDetail && { nack: `${request.errorDetail.code}: ${request.errorDetail.message}` }),
    ...(request.node && { node: request.node.id }),
  };
}

export function plainDelta(request: DeltaDiscoveryRequest): PlainDelta {
  const { resourceNamesSubscribe: sub, resourceNamesUnsubscribe: unsub, initialResourceVersions: initial } = request;
  return {
    type: kindOf(request.typeUrl),
    ...(sub.length > 0 && { sub }),
    ...(unsub.length > 0 && { unsub }),
    ...(Object.keys(initial).length > 0 && { initial }),
    ...(request.responseNonce !== '' && { nonce: request.responseNonce }),
    ...(request.errorDetail && { nack: `${request.errorDetail.code}: ${request.errorDetail.message}` }),
    ...(request.node && { node: request.node.id }),
  };
}

export interface Any {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

function field(number: number, text: string): Uint8Array[] {
  const bytes = Buffer.from(text);
  const length: number[] = [];
  let rest = bytes.length;
  for (; rest > 127; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  length.push(rest);
  return [Uint8Array.of((number << 3) | 2, ...length), bytes];
}

/** A text beginning with `bad` is rejected, `throw` makes the decoder throw, `mute` has no readable name, `late` has it after the text. */
export function resource(kind: ResourceKind, name: string, text = ''): Any {
  const parts = [
    ...(text.startsWith('mute') || text.startsWith('late') ? [] : field(1, name)),
    ...field(2, text),
    ...(text.startsWith('late') ? field(1, name) : []),
  ];
  return { typeUrl: TYPE_URLS[kind], value: Buffer.concat(parts) };
}

export function wrapped(name: string, inner: Any | undefined, ttlMs?: number): Any {
  return {
    typeUrl: RESOURCE_TYPE_URL,
    value: toBinary(
      ResourceSchema,
      create(ResourceSchema, {
        name,
        ...(inner && { resource: { $typeName: 'google.protobuf.Any', ...inner } }),
        ...(ttlMs !== undefined && { ttl: duration(ttlMs) }),
      }),
    ),
  };
}

function duration(ms: number) {
  return { $typeName: 'google.protobuf.Duration', seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 } as const;
}

export class FakeType<K extends ResourceKind> implements ResourceType<K> {
  readonly kind: K;
  readonly typeUrl: string;
  readonly fullState: boolean;
  /** How often something was decoded. */
  decoded = 0;

  constructor(kind: K) {
    this.kind = kind;
    this.typeUrl = TYPE_URLS[kind];
    this.fullState = kind === 'listener' || kind === 'cluster' || kind === 'scoped-routes';
  }

  decode(bytes: Uint8Array, context: DecodeContext): Decoded<never> {
    this.decoded++;
    const fields = readFields(bytes);
    const name = fields.get(1) ?? '';
    const text = fields.get(2) ?? '';
    if (text.startsWith('throw')) throw new RangeError('fault in the decoder');
    if (text.startsWith('mute'))
      return { ok: false, name: '', errors: [{ kind: this.kind, name: '', field: '', reason: `cannot be read (${text})` }] };
    if (text.startsWith('bad')) return { ok: false, name, errors: [{ kind: this.kind, name, field: 'some.field', reason: text }] };
    if (text.startsWith('extra')) context.unsupported(this.kind, 'extra', name);
    return { ok: true, name, value: text as never };
  }
}

function readFields(bytes: Uint8Array): Map<number, string> {
  const fields = new Map<number, string>();
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at++] ?? 0;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0;
      length |= (byte & 0x7f) << shift;
      if (byte < 128) break;
    }
    fields.set(tag >> 3, Buffer.from(bytes.subarray(at, at + length)).toString());
    at += length;
  }
  return fields;
}

export function fakeTypes(): {
  listener: FakeType<'listener'>;
  routes: FakeType<'routes'>;
  cluster: FakeType<'cluster'>;
  endpoints: FakeType<'endpoints'>;
} {
  return {
    listener: new FakeType('listener'),
    routes: new FakeType('routes'),
    cluster: new FakeType('cluster'),
    endpoints: new FakeType('endpoints'),
  };
}

export class FakeStream implements AdsStream {
  readonly events: AdsStreamEvents;
  readonly method: string;
  readonly sent: DiscoveryRequest[] = [];
  readonly sentDelta: DeltaDiscoveryRequest[] = [];
  /** Index of the first request that `take` has not returned. */
  #taken = 0;
  paused = false;
  cancelled = false;
  ended = false;

  constructor(events: AdsStreamEvents, method = '') {
    this.events = events;
    this.method = method;
  }

  send(bytes: Uint8Array): void {
    if (this.ended) throw new Error('send after the end');
    if (this.method.includes('/Delta')) this.sentDelta.push(fromBinary(DeltaDiscoveryRequestSchema, bytes));
    else this.sent.push(fromBinary(DiscoveryRequestSchema, bytes));
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  cancel(): void {
    this.cancelled = true;
    this.end(1, 'cancelled');
  }

  /** Requests since the last `take`. */
  take(): PlainRequest[] {
    const requests = this.sent.slice(this.#taken).map(plain);
    this.#taken = this.sent.length;
    return requests;
  }

  takeDelta(): PlainDelta[] {
    const requests = this.sentDelta.slice(this.#taken).map(plainDelta);
    this.#taken = this.sentDelta.length;
    return requests;
  }

  respondDelta(
    kind: ResourceKind,
    nonce: string,
    entries: readonly DeltaEntry[],
    removedResources: readonly string[] = [],
    errors: Readonly<Record<string, readonly [code: number, message: string]>> = {},
  ): void {
    if (this.paused) throw new Error('a message while paused');
    const message = create(DeltaDiscoveryResponseSchema, {
      typeUrl: TYPE_URLS[kind],
      nonce,
      resources: entries.map(({ name, version, body, aliases = [], ttlMs }) => ({
        $typeName: 'envoy.service.discovery.v3.Resource' as const,
        name,
        version,
        aliases: [...aliases],
        ...(body && { resource: { $typeName: 'google.protobuf.Any' as const, ...body } }),
        ...(ttlMs !== undefined && { ttl: duration(ttlMs) }),
      })),
      removedResources: [...removedResources],
      resourceErrors: errorsOf(errors),
    });
    this.events.onMessage(toBinary(DeltaDiscoveryResponseSchema, message));
  }

  connect(): this {
    this.events.onConnected();
    return this;
  }

  respond(
    kind: ResourceKind | `other:${string}`,
    version: string,
    nonce: string,
    resources: readonly Any[],
    errors: Readonly<Record<string, readonly [code: number, message: string]>> = {},
  ): void {
    if (this.paused) throw new Error('a message while paused');
    this.events.onMessage(responseBytes(kind, version, nonce, resources, errors));
  }

  end(code: number, details = ''): void {
    if (this.ended) return;
    this.ended = true;
    this.events.onEnd(code, details);
  }
}

function errorsOf(errors: Readonly<Record<string, readonly [code: number, message: string]>>) {
  return Object.entries(errors).map(([name, [code, message]]) => ({
    $typeName: 'envoy.service.discovery.v3.ResourceError' as const,
    resourceName: { $typeName: 'envoy.service.discovery.v3.ResourceName' as const, name },
    errorDetail: { $typeName: 'google.rpc.Status' as const, code, message, details: [] },
  }));
}

export function responseBytes(
  kind: ResourceKind | `other:${string}`,
  version: string,
  nonce: string,
  resources: readonly Any[],
  errors: Readonly<Record<string, readonly [code: number, message: string]>> = {},
): Uint8Array {
  const typeUrl = kind.startsWith('other:') ? kind.slice(6) : TYPE_URLS[kind as ResourceKind];
  const message = create(DiscoveryResponseSchema, {
    typeUrl,
    versionInfo: version,
    nonce,
    resources: resources.map((any) => ({ $typeName: 'google.protobuf.Any' as const, ...any })),
    resourceErrors: errorsOf(errors),
  });
  return toBinary(DiscoveryResponseSchema, message);
}

export class FakeTransport implements AdsTransport {
  readonly streams: FakeStream[] = [];
  /** Set: `open` ends the stream at once with this status. */
  refuse: { code: number; details: string } | undefined;
  closed = false;

  open(method: string, events: AdsStreamEvents): AdsStream {
    const stream = new FakeStream(events, method);
    this.streams.push(stream);
    if (this.refuse !== undefined) stream.end(this.refuse.code, this.refuse.details);
    return stream;
  }

  close(): void {
    this.closed = true;
  }

  get stream(): FakeStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error('no stream was opened');
    return stream;
  }
}

export const SERVER: XdsServerConfig = { uri: 'cp:1', credentials: { type: 'insecure' }, features: [], protocol: 'sotw', aggregated: true };

export function bootstrap(change: Partial<Bootstrap> = {}): Bootstrap {
  return {
    format: 'grpc',
    servers: [SERVER],
    sources: {},
    clusters: {},
    staticResources: [],
    runtime: [],
    unsupported: [],
    node: { id: 'n1', cluster: 'c', locality: { region: '', zone: '', subZone: '' }, metadata: {} },
    certificateProviders: {},
    serverListenerTemplate: undefined,
    clientListenerTemplate: '%s',
    authorities: {},
    origin: 'test',
    ...change,
  };
}
