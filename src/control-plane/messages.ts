/** The server's half of the xDS envelope, both dialects: requests from bytes, responses to bytes (envoy.service.discovery.v3). */
import type { AnyMessage } from '../core/extension.ts';
import { pack, typeUrlOf, unpack } from '../proto/any.ts';
import type { ResourceErrorMessage, WrappedResource } from '../proto/discovery.ts';

const PACKAGE = 'envoy.service.discovery.v3';
const REQUEST = typeUrlOf(`${PACKAGE}.DiscoveryRequest`);
const DELTA_REQUEST = typeUrlOf(`${PACKAGE}.DeltaDiscoveryRequest`);
const CONTROL_PLANE = { identifier: 'inmesh' };

export type Dialect = 'sotw' | 'delta';

export interface RequestNode {
  readonly id: string;
  readonly cluster: string;
  /** google.protobuf.Struct as JSON. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

interface AnyRequest {
  readonly typeUrl: string;
  readonly responseNonce: string;
  /** Its presence makes the request a NACK. */
  readonly errorDetail?: { readonly code: number; readonly message: string } | undefined;
  readonly node?: RequestNode | undefined;
}

export interface AdsRequest extends AnyRequest {
  readonly versionInfo: string;
  readonly resourceNames: readonly string[];
}

export interface DeltaRequest extends AnyRequest {
  readonly resourceNamesSubscribe: readonly string[];
  readonly resourceNamesUnsubscribe: readonly string[];
  readonly initialResourceVersions: Readonly<Record<string, string>>;
}

export interface AdsResponse {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly nonce: string;
  readonly resources: readonly AnyMessage[];
  /** Their names, in the same order; not sent. */
  readonly names: readonly string[];
  readonly resourceErrors?: readonly ResourceErrorMessage[];
}

export interface DeltaResponse {
  readonly typeUrl: string;
  readonly systemVersionInfo: string;
  readonly nonce: string;
  readonly resources: readonly WrappedResource[];
  readonly removedResources: readonly string[];
  readonly resourceErrors?: readonly ResourceErrorMessage[];
}

/** Throws on bytes that are no such message. */
export function decodeRequest(bytes: Uint8Array): AdsRequest {
  return unpack<AdsRequest>({ typeUrl: REQUEST, value: bytes });
}

/** Throws on bytes that are no such message. */
export function decodeDeltaRequest(bytes: Uint8Array): DeltaRequest {
  return unpack<DeltaRequest>({ typeUrl: DELTA_REQUEST, value: bytes });
}

export function encodeResponse({ names: _names, ...response }: AdsResponse): Uint8Array {
  return pack(`${PACKAGE}.DiscoveryResponse`, { ...response, controlPlane: CONTROL_PLANE }).value;
}

export function encodeDeltaResponse(response: DeltaResponse): Uint8Array {
  return pack(`${PACKAGE}.DeltaDiscoveryResponse`, { ...response, controlPlane: CONTROL_PLANE }).value;
}

/** google.protobuf.Duration. */
export function durationOf(ms: number): { readonly seconds: bigint; readonly nanos: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** In the wrapper that state-of-the-world responses need for a time to live (Envoy X-70). */
export function wrap(resource: WrappedResource): AnyMessage {
  return pack(`${PACKAGE}.Resource`, { ...resource });
}
