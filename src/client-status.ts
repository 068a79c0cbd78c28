/**
 * What CSDS answers about this process (gRFC A40, `envoy.service.status.v3`): every resource with its bytes, version, status and last error,
 * and the fields without effect. Private keys and other secrets are overwritten. The service itself is `adapters/grpc/csds.ts`.
 */
import type { ConfigSource, ResourceContent, ResourceDescription, UnsupportedField } from './config/resource.ts';
import type { AnyMessage } from './core/extension.ts';
import { holdsEncodedKey } from './core/key-marks.ts';
import { TYPE_URLS } from './config/resource.ts';
import { ProtoProblem, jsonToMessage, pack, typeUrlOf, unpack } from './proto/any.ts';
import { nodeInit } from './proto/discovery.ts';

const REQUEST = 'envoy.service.status.v3.ClientStatusRequest';
const RESPONSE = 'envoy.service.status.v3.ClientStatusResponse';
const SECRET = 'envoy.extensions.transport_sockets.tls.v3.Secret';
/** Of the entry that lists the fields without effect; its body is a `google.protobuf.Struct`. */
const UNSUPPORTED_NAME = 'inmesh/unsupported-fields';
const REDACTED = { specifier: { case: 'inlineString' as const, value: '[redacted]' } };

/** `envoy.admin.v3.ClientResourceStatus`. */
const STATUS: Readonly<Record<ResourceDescription['status'], number>> = {
  REQUESTED: 1,
  DOES_NOT_EXIST: 2,
  ACKED: 3,
  NACKED: 4,
  RECEIVED_ERROR: 5,
  TIMEOUT: 6,
};

interface Request {
  readonly nodeMatchers: readonly unknown[];
  readonly excludeResourceContents: boolean;
}

/** Bytes of a `ClientStatusResponse` for those of a `ClientStatusRequest`, or why the request is refused. */
export function answerClientStatus(source: ConfigSource | undefined, bytes: Uint8Array): Uint8Array | { readonly refused: string } {
  let request: Request;
  try {
    request = unpack<Request>({ typeUrl: typeUrlOf(REQUEST), value: bytes });
  } catch (error) {
    if (error instanceof ProtoProblem) return { refused: error.message };
    throw error;
  }
  // gRFC A40: a client knows only itself.
  if (request.nodeMatchers.length > 0) return { refused: 'node_matchers are not supported: this server tells of its own process only' };
  if (source === undefined) return pack(RESPONSE, {}).value;
  const status = source.status?.();
  const description = source.describe();
  const contents: Iterable<ResourceContent> =
    status?.resources() ?? description.resources.map((resource) => ({ ...resource, raw: undefined, fixed: true }));
  const configs = Array.from(contents, (content) => configOf(content, !request.excludeResourceContents));
  if (description.unsupported.length > 0) configs.push(unsupportedConfig(description.unsupported));
  return pack(RESPONSE, { config: [{ ...(status && { node: nodeInit(status.node) }), genericXdsConfigs: configs }] }).value;
}

function configOf(content: ResourceContent, whole: boolean): Readonly<Record<string, unknown>> {
  const { typeUrl, name, version, status, failed, error, updatedAt, raw, fixed } = content;
  const value = raw === undefined || !whole ? undefined : withoutSecrets(typeUrl, raw);
  return {
    typeUrl,
    name,
    versionInfo: version,
    clientStatus: STATUS[status],
    isStaticResource: fixed,
    ...(value && { xdsConfig: { typeUrl, value } }),
    ...(updatedAt > 0 && { lastUpdated: timestamp(updatedAt) }),
    ...(failed
      ? { errorState: { details: failed.details, versionInfo: failed.version, lastUpdateAttempt: timestamp(failed.at) } }
      : error !== undefined && { errorState: { details: error } }),
  };
}

function timestamp(ms: number): { readonly seconds: bigint; readonly nanos: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

function unsupportedConfig(fields: readonly UnsupportedField[]): Readonly<Record<string, unknown>> {
  const list = fields.map(({ kind, field, resource }) => ({ kind, field, resource }));
  const packed = jsonToMessage('google.protobuf.Struct', { fields: list });
  return { typeUrl: packed.typeUrl, name: UNSUPPORTED_NAME, xdsConfig: packed, clientStatus: STATUS.ACKED, isStaticResource: true };
}

interface Secret {
  readonly type: { case: string | undefined; value?: unknown };
}

/** `raw` is a copy that may be written to. Undefined: a secret in it cannot be overwritten. */
function withoutSecrets(typeUrl: string, raw: Uint8Array): Uint8Array | undefined {
  if (typeUrl !== TYPE_URLS.secret) return overwriteKeys(raw);
  const secret = unpack<Secret>({ typeUrl, value: raw } satisfies AnyMessage);
  if (secret.type.case === 'validationContext') return raw;
  if (secret.type.case === 'tlsCertificate') {
    const certificate = secret.type.value as { privateKey?: unknown; password?: unknown };
    // Only `certificate_chain` is public: everything else of the message could hold or open a key.
    const { certificateChain } = certificate as { certificateChain?: unknown };
    const kept = { ...(certificateChain !== undefined && { certificateChain }), privateKey: REDACTED };
    return pack(SECRET, { name: (secret as unknown as { name: string }).name, type: { case: 'tlsCertificate', value: kept } }).value;
  }
  return pack(SECRET, { name: (secret as unknown as { name: string }).name }).value;
}

const BEGIN = Buffer.from('PRIVATE KEY-----');
const END = Buffer.from('-----END');
const CROSS = 'x'.charCodeAt(0);

/** PEM keys inside other resources; the length stays, so the message around them does. */
function overwriteKeys(raw: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(raw);
  if (holdsEncodedKey(bytes)) return undefined;
  for (let from = bytes.indexOf(BEGIN); from >= 0; from = bytes.indexOf(BEGIN, from)) {
    const body = from + BEGIN.length;
    const end = bytes.indexOf(END, body);
    bytes.fill(CROSS, body, end < 0 ? bytes.length : end);
    if (end < 0) break;
    from = end + END.length;
    // Past the mark of the end, which has the same words.
    const next = bytes.indexOf(BEGIN, from);
    if (next >= 0 && next - from < 20) from = next + BEGIN.length;
  }
  return bytes;
}
