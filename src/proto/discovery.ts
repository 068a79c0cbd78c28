/**
 * The envelope of the xDS protocol as bytes: DiscoveryRequest, DiscoveryResponse and the `Resource` wrapper
 * (envoy.service.discovery.v3). What is in an envelope is not looked at here.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { JsonObject } from '@bufbuild/protobuf';
import type { AnyMessage } from '../core/extension.ts';
import { DiscoveryRequestSchema, DiscoveryResponseSchema, ResourceSchema } from './gen/envoy/service/discovery/v3/discovery_pb.js';

export const RESOURCE_TYPE_URL = 'type.googleapis.com/envoy.service.discovery.v3.Resource';

export interface NodeMessage {
  readonly id: string;
  readonly cluster: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly locality: { readonly region: string; readonly zone: string; readonly subZone: string };
  readonly userAgentName: string;
  readonly userAgentVersion: string;
  readonly clientFeatures: readonly string[];
}

export interface DiscoveryRequest {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly resourceNames: readonly string[];
  readonly responseNonce: string;
  /** A google.rpc.Status; its presence makes the request a NACK. */
  readonly errorDetail: { readonly code: number; readonly message: string } | undefined;
  /** Only in the first request of a stream. */
  readonly node: NodeMessage | undefined;
}

export interface DiscoveryResponse {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly nonce: string;
  readonly resources: readonly AnyMessage[];
}

/** `envoy.service.discovery.v3.Resource`; no body in a heartbeat. */
export interface WrappedResource {
  readonly name: string;
  readonly resource: AnyMessage | undefined;
}

export function encodeDiscoveryRequest(request: DiscoveryRequest): Uint8Array {
  const { node, errorDetail } = request;
  return toBinary(
    DiscoveryRequestSchema,
    create(DiscoveryRequestSchema, {
      typeUrl: request.typeUrl,
      versionInfo: request.versionInfo,
      resourceNames: [...request.resourceNames],
      responseNonce: request.responseNonce,
      ...(errorDetail === undefined ? {} : { errorDetail }),
      ...(node === undefined ? {} : { node: nodeInit(node) }),
    }),
  );
}

function nodeInit(node: NodeMessage) {
  return {
    id: node.id,
    cluster: node.cluster,
    metadata: node.metadata as JsonObject,
    locality: node.locality,
    userAgentName: node.userAgentName,
    userAgentVersionType: { case: 'userAgentVersion' as const, value: node.userAgentVersion },
    clientFeatures: [...node.clientFeatures],
  };
}

/** The bytes of the resources are views of `bytes`. Throws on bytes that are no such message. */
export function decodeDiscoveryResponse(bytes: Uint8Array): DiscoveryResponse {
  return fromBinary(DiscoveryResponseSchema, bytes);
}

/** Throws on bytes that are no such message. */
export function decodeWrappedResource(bytes: Uint8Array): WrappedResource {
  const { name, resource } = fromBinary(ResourceSchema, bytes);
  return { name, resource };
}
