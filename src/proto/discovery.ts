/**
 * The envelope of the xDS protocol as bytes: requests and responses of both dialects and the `Resource` wrapper
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

/** A google.rpc.Status; its presence makes a request a NACK. */
export interface StatusMessage {
  readonly code: number;
  readonly message: string;
}

export interface DiscoveryRequest {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly resourceNames: readonly string[];
  readonly responseNonce: string;
  readonly errorDetail: StatusMessage | undefined;
  /** Only in the first request of a stream. */
  readonly node: NodeMessage | undefined;
}

export interface DiscoveryResponse {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly nonce: string;
  readonly resources: readonly AnyMessage[];
  readonly resourceErrors: readonly ResourceErrorMessage[];
}

export interface DeltaDiscoveryRequest {
  readonly typeUrl: string;
  readonly resourceNamesSubscribe: readonly string[];
  readonly resourceNamesUnsubscribe: readonly string[];
  /** Only in the first request for a type on a stream (Envoy X-32). */
  readonly initialResourceVersions: Readonly<Record<string, string>>;
  readonly responseNonce: string;
  readonly errorDetail: StatusMessage | undefined;
  readonly node: NodeMessage | undefined;
}

export interface DeltaDiscoveryResponse {
  readonly typeUrl: string;
  readonly systemVersionInfo: string;
  readonly nonce: string;
  readonly resources: readonly WrappedResource[];
  readonly removedResources: readonly string[];
  readonly resourceErrors: readonly ResourceErrorMessage[];
}

/** `envoy.service.discovery.v3.Resource`; no body in a heartbeat (Envoy X-71), nor where an alias leads nowhere. */
export interface WrappedResource {
  readonly name: string;
  readonly version: string;
  readonly aliases: readonly string[];
  readonly resource?: AnyMessage | undefined;
  readonly ttl?: { readonly seconds: bigint; readonly nanos: number } | undefined;
}

/** envoy.service.discovery.v3.ResourceError (xRFC TP3). */
export interface ResourceErrorMessage {
  readonly resourceName?: { readonly name: string } | undefined;
  readonly errorDetail?: StatusMessage | undefined;
}

type Envelope =
  | messages.DiscoveryRequest
  | messages.DiscoveryResponse
  | messages.DeltaDiscoveryRequest
  | messages.DeltaDiscoveryResponse
  | messages.Resource;

function schema<M extends Envelope>(name: string): GenMessage<M> {
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

export function encodeDeltaDiscoveryRequest(request: DeltaDiscoveryRequest): Uint8Array {
  const type = schema<messages.DeltaDiscoveryRequest>('DeltaDiscoveryRequest');
  const { node, errorDetail } = request;
  return toBinary(
    type,
    create(type, {
      typeUrl: request.typeUrl,
      resourceNamesSubscribe: [...request.resourceNamesSubscribe],
      resourceNamesUnsubscribe: [...request.resourceNamesUnsubscribe],
      initialResourceVersions: { ...request.initialResourceVersions },
      responseNonce: request.responseNonce,
      ...(errorDetail === undefined ? {} : { errorDetail }),
      ...(node === undefined ? {} : { node: nodeInit(node) }),
    }),
  );
}

/** envoy.config.core.v3.Node as the runtime takes it. */
export function nodeInit(node: NodeMessage) {
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

/** As `decodeDiscoveryResponse`, of the incremental dialect. */
export function decodeDeltaDiscoveryResponse(bytes: Uint8Array): DeltaDiscoveryResponse {
  return fromBinary(schema<messages.DeltaDiscoveryResponse>('DeltaDiscoveryResponse'), bytes);
}

/** Throws on bytes that are no such message. */
export function decodeWrappedResource(bytes: Uint8Array): WrappedResource {
  return fromBinary(schema<messages.Resource>('Resource'), bytes);
}
