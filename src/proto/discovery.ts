/**
 * The envelope of the xDS protocol as bytes: DiscoveryRequest, DiscoveryResponse and the `Resource` wrapper
 * (envoy.service.discovery.v3). What is in an envelope is not looked at here.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { JsonObject } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import type { AnyMessage } from '../core/extension.ts';
import { ProtoProblem, schemaOf } from './any.ts';
import type * as messages from './gen/envoy/service/discovery/v3/discovery_pb.js';

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

function schema<M extends messages.DiscoveryRequest | messages.DiscoveryResponse | messages.Resource>(name: string): GenMessage<M> {
  const found = schemaOf(`envoy.service.discovery.v3.${name}`);
  if (found === undefined) throw new ProtoProblem(`envoy.service.discovery.v3.${name} is missing in the generated code`);
  return found as GenMessage<M>;
}

export function encodeDiscoveryRequest(request: DiscoveryRequest): Uint8Array {
  const type = schema<messages.DiscoveryRequest>('DiscoveryRequest');
  const { node, errorDetail } = request;
  return toBinary(
    type,
    create(type, {
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
  return fromBinary(schema<messages.DiscoveryResponse>('DiscoveryResponse'), bytes);
}

/** Throws on bytes that are no such message. */
export function decodeWrappedResource(bytes: Uint8Array): WrappedResource {
  const { name, resource } = fromBinary(schema<messages.Resource>('Resource'), bytes);
  return { name, resource };
}
