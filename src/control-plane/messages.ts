/** The server's half of the xDS envelope: requests from bytes, responses to bytes (envoy.service.discovery.v3). */
import type { AnyMessage } from '../core/extension.ts';
import { pack, typeUrlOf, unpack } from '../proto/any.ts';

const REQUEST = typeUrlOf('envoy.service.discovery.v3.DiscoveryRequest');

export interface AdsRequest {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly resourceNames: readonly string[];
  readonly responseNonce: string;
  /** Its presence makes the request a NACK. */
  readonly errorDetail?: { readonly code: number; readonly message: string } | undefined;
  readonly node?: { readonly id: string; readonly cluster: string } | undefined;
}

export interface AdsResponse {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly nonce: string;
  readonly resources: readonly AnyMessage[];
}

/** Throws on bytes that are no such message. */
export function decodeRequest(bytes: Uint8Array): AdsRequest {
  return unpack<AdsRequest>({ typeUrl: REQUEST, value: bytes });
}

export function encodeResponse(response: AdsResponse): Uint8Array {
  return pack('envoy.service.discovery.v3.DiscoveryResponse', { ...response, controlPlane: { identifier: 'inmesh' } }).value;
}
