/**
 * The envelope of the xDS protocol as proto JSON: what REST servers and files give (Envoy ). One resource that cannot be read
 * costs only itself: it stays in the response, under its name and as bytes that every decoder rejects, so that the session refuses just it.
 */
import { create, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import type { JsonObject } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import type { Any } from '@bufbuild/protobuf/wkt';
import { ProtoProblem, jsonToAny, knows, schemaOf } from './any.ts';
import { RESOURCE_TYPE_URL } from './discovery.ts';
import { withoutUnknownFields } from './unknown-fields.ts';
import type * as messages from './gen/envoy/service/discovery/v3/discovery_pb.js';

const PACKAGE = 'envoy.service.discovery.v3';
const TYPED_STRUCT = 'type.googleapis.com/xds.type.v3.TypedStruct';
/** Field 0 does not exist: these bytes are no message of any type. */
const BROKEN = Uint8Array.of(0);

/** A response with what had to be said while it was read. */
export interface TextResponse {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly nonce: string;
  /** Name and reason of each resource that could not be read, or not all of it. */
  readonly problems: readonly string[];
  /** The whole, for `encodeResponse`. */
  readonly message: messages.DiscoveryResponse;
}

type Envelope = messages.DiscoveryRequest | messages.DiscoveryResponse | messages.Resource;

function schema<M extends Envelope>(name: string): GenMessage<M> {
  const found = schemaOf(`${PACKAGE}.${name}`);
  if (found === undefined) throw new ProtoProblem(`${PACKAGE}.${name} is missing in the generated code`);
  return found as GenMessage<M>;
}

/** A request as `decodeRequest` gave it. */
export type PolledRequest = Pick<messages.DiscoveryRequest, 'typeUrl' | 'versionInfo' | 'resourceNames' | 'node'>;

/** Throws on bytes that are no such message. */
export function decodeRequest(bytes: Uint8Array): PolledRequest {
  return fromBinary(schema<messages.DiscoveryRequest>('DiscoveryRequest'), bytes);
}

/** Canonical JSON of a request, with the given node and version instead of its own. */
export function requestToJson(request: PolledRequest, node: PolledRequest['node'], versionInfo: string): string {
  const message = { ...(request as messages.DiscoveryRequest), versionInfo, ...(node !== undefined && { node }) };
  return JSON.stringify(toJson(schema<messages.DiscoveryRequest>('DiscoveryRequest'), message));
}

/** Messages in `Any`s whose type inmesh has no schema for become a `TypedStruct`, so that they count as that type and nothing is lost. */
export function withKnownTypes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => withKnownTypes(item));
  if (!isRecord(value)) return value;
  const { '@type': typeUrl, ...rest } = value;
  if (typeof typeUrl === 'string' && !knows(typeUrl)) return { '@type': TYPED_STRUCT, typeUrl, value: rest };
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withKnownTypes(inner)]));
}

/**
 * `typeUrl` is what was asked for: where the response does not say, it is that. Yields between resources so that the work can be spread.
 * Throws `ProtoProblem` on what is no response.
 */
export function* responseFromJson(json: unknown, typeUrl: string): Generator<undefined, TextResponse> {
  if (!isRecord(json)) throw new ProtoProblem('a DiscoveryResponse must be an object');
  const { resources, ...rest } = json;
  if (resources !== undefined && resources !== null && !Array.isArray(resources)) throw new ProtoProblem('"resources" must be a list');
  const message = envelope(rest as JsonObject);
  const problems: string[] = [];
  for (const [index, resource] of ((resources ?? []) as readonly unknown[]).entries()) {
    message.resources.push(readResource(resource, index, problems));
    yield undefined;
  }
  message.typeUrl = message.typeUrl || typeUrl;
  return responseOf(message, problems);
}

/** The same for the binary form. */
export function responseFromBytes(bytes: Uint8Array, typeUrl: string): TextResponse {
  let message: messages.DiscoveryResponse;
  try {
    message = fromBinary(schema<messages.DiscoveryResponse>('DiscoveryResponse'), bytes);
  } catch (error) {
    throw new ProtoProblem(reasonOf(error));
  }
  message.typeUrl = message.typeUrl || typeUrl;
  return responseOf(message, []);
}

/** With the given version and nonce, to which the session answers. */
export function encodeResponse({ message }: TextResponse, versionInfo: string, nonce: string): Uint8Array {
  message.versionInfo = versionInfo;
  message.nonce = nonce;
  return toBinary(schema<messages.DiscoveryResponse>('DiscoveryResponse'), message);
}

function responseOf(message: messages.DiscoveryResponse, problems: readonly string[]): TextResponse {
  const { typeUrl, versionInfo, nonce } = message;
  return { typeUrl, versionInfo, nonce, problems, message };
}

function envelope(rest: JsonObject): messages.DiscoveryResponse {
  try {
    // Control planes may be newer than inmesh; in the envelope nothing unknown can matter to what is known.
    return fromJson(schema<messages.DiscoveryResponse>('DiscoveryResponse'), rest, { ignoreUnknownFields: true });
  } catch (error) {
    throw new ProtoProblem(reasonOf(error));
  }
}

function readResource(given: unknown, index: number, problems: string[]): Any {
  const at = `resources[${index}]`;
  if (!isRecord(given) || typeof given['@type'] !== 'string') {
    problems.push(`${at}: must be an object with "@type"`);
    return packed('', BROKEN);
  }
  const typeUrl = given['@type'];
  // The session says which type was expected.
  if (!knows(typeUrl)) return packed(typeUrl, new Uint8Array());
  try {
    return packed(typeUrl, jsonToAny(given).value);
  } catch {
    // Whatever it is, it is found again below.
  }
  const inner = typeUrl === RESOURCE_TYPE_URL && isRecord(given['resource']) ? given['resource'] : undefined;
  const name = nameOf(given) ?? (inner && nameOf(inner));
  const place = `${at} ${JSON.stringify(name ?? '')}`;
  const unknown: string[] = [];
  const rest = withoutUnknownFields(typeUrl, withKnownTypes(given), unknown);
  try {
    const { value } = jsonToAny(rest);
    if (unknown.length > 0) problems.push(`${place}: read without fields that are not known here: ${unknown.join(', ')}`);
    return packed(typeUrl, value);
  } catch (error) {
    problems.push(`${place}: ${reasonOf(error)}`);
    const innerType = inner?.['@type'];
    return broken(name, typeof innerType === 'string' ? innerType : typeUrl);
  }
}

function nameOf(json: JsonRecord): string | undefined {
  const name = json['name'] ?? json['cluster_name'] ?? json['clusterName'];
  return typeof name === 'string' ? name : undefined;
}

function broken(name: string | undefined, typeUrl: string): Any {
  if (name === undefined) return packed(typeUrl, BROKEN);
  const wrapper = schema<messages.Resource>('Resource');
  return packed(RESOURCE_TYPE_URL, toBinary(wrapper, create(wrapper, { name, resource: packed(typeUrl, BROKEN) })));
}

function packed(typeUrl: string, value: Uint8Array): Any {
  return create(AnySchema, { typeUrl, value });
}

type JsonRecord = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
