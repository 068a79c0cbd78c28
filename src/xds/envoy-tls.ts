/**
 * TLS to a control plane from the transport socket of a static cluster, by the decoder that serves clusters. Secrets that it names are put
 * in their place first: they must be in the bootstrap or in a file, since there is no control plane yet that could send them.
 */
import { readFileSync } from 'node:fs';
import { ConfigProblem } from '../config/resource.ts';
import type { UpstreamTlsConfig } from '../config/tls.ts';
import { ProtoProblem, jsonToMessage, unpack } from '../proto/any.ts';
import type { JsonObject } from '../proto/any.ts';
import type { TransportSocket } from '../proto/gen/envoy/config/core/v3/base_pb.js';
import type { JsonRecord } from './bootstrap-json.ts';
import { Scope } from './decode/scope.ts';
import { upstreamTls } from './decode/tls.ts';
import { ProtoFields } from './envoy-fields.ts';

export type ParseDocument = (text: string, path: string) => unknown;

/** The secrets that TLS of a bootstrap may name. */
export class BootstrapSecrets {
  readonly #static: readonly ProtoFields[];
  readonly #parse: ParseDocument;
  readonly #elsewhere: boolean;

  /** `elsewhere`: the bootstrap is for another machine, whose files are not here. */
  constructor(statics: readonly ProtoFields[], parse: ParseDocument, elsewhere = false) {
    this.#static = statics;
    this.#parse = parse;
    this.#elsewhere = elsewhere;
  }

  /** The Secret that an SdsSecretConfig names. */
  find(config: ProtoFields): ProtoFields {
    const name = config.requiredString('name');
    const source = config.fields('sds_config');
    if (source === undefined) return this.#pick(this.#static, name, config, 'static_resources.secrets');
    const path = source.fields('path_config_source')?.string('path') ?? source.string('path');
    if (path === undefined || path === '')
      throw config.problem(
        'sds_config',
        'must be a file: TLS to the control plane cannot wait for what the control plane sends',
        'Use path_config_source, or a secret of static_resources',
      );
    return this.#pick(this.#resources(path, config), name, config, path);
  }

  #pick(secrets: readonly ProtoFields[], name: string, config: ProtoFields, place: string): ProtoFields {
    const found = secrets.find((secret) => secret.string('name') === name);
    if (found === undefined) throw config.problem('name', `${JSON.stringify(name)} is not in ${place}`);
    return found;
  }

  #resources(path: string, config: ProtoFields): readonly ProtoFields[] {
    let document: unknown;
    try {
      document = this.#parse(readFileSync(path, 'utf8'), path);
    } catch (error) {
      // Words of a parser quote the text, which may be a key.
      const code = (error as NodeJS.ErrnoException).code;
      if (this.#elsewhere && code === 'ENOENT') return [standIn(path, config)];
      throw config.problem(
        'sds_config',
        code === undefined || code.startsWith('ERR_')
          ? `names ${path}, which is no JSON or YAML`
          : `names ${path}, which cannot be read: ${code}`,
      );
    }
    return new ProtoFields(document, '', path, config.unsupported).messages('resources');
  }
}

/** For a file that cannot be looked into: whatever may be asked of the secret. */
function standIn(path: string, config: ProtoFields): ProtoFields {
  const file = { filename: path };
  const secret = {
    name: config.requiredString('name'),
    tls_certificate: { certificate_chain: file, private_key: file },
    validation_context: { trusted_ca: file },
  };
  return new ProtoFields(secret, '', path, config.unsupported);
}

/** Undefined: the socket says plaintext. Problems are `MeshError`s of the bootstrap. */
export function controlPlaneTls(socket: ProtoFields, secrets: BootstrapSecrets): UpstreamTlsConfig | undefined {
  const scope = new Scope('cluster', {
    filters: [],
    lbPolicies: [],
    certificateProviders: new Set(),
    unsupported: (_kind, field) => void socket.unsupported.add(field),
  });
  try {
    const packed = jsonToMessage('envoy.config.core.v3.TransportSocket', withSecrets(socket, secrets) as JsonObject);
    return upstreamTls(unpack<TransportSocket & { readonly $typeName: string }>(packed), socket.path, scope);
  } catch (error) {
    if (error instanceof ConfigProblem) throw socket.problemAt(error.field === '' ? socket.path : error.field, error.reason);
    if (error instanceof ProtoProblem) throw socket.problem('', `cannot be read: ${error.message}`, PROTO_CURE);
    throw error;
  }
}

export const PROTO_CURE = 'Fields are named as in the .proto files, values as in proto JSON';

function withSecrets(socket: ProtoFields, secrets: BootstrapSecrets): JsonRecord {
  const typed = socket.fields('typed_config');
  const common = typed?.fields('common_tls_context');
  if (typed === undefined || common === undefined) return socket.raw;
  const plain = { ...common.raw };
  const certificates = common
    .messages('tls_certificate_sds_secret_configs')
    .map((config) => secretPart(config, 'tls_certificate', secrets));
  if (certificates.length > 0) put(plain, 'tls_certificate_sds_secret_configs', 'tls_certificates', certificates);
  const validation = common.fields('validation_context_sds_secret_config');
  if (validation !== undefined)
    put(plain, 'validation_context_sds_secret_config', 'validation_context', secretPart(validation, 'validation_context', secrets));
  const combined = common.fields('combined_validation_context');
  const named = combined?.fields('validation_context_sds_secret_config');
  if (combined !== undefined && named !== undefined) {
    const merged = merge(combined.fields('default_validation_context')?.raw ?? {}, secretPart(named, 'validation_context', secrets));
    put(plain, 'combined_validation_context', 'validation_context', merged);
  }
  return {
    ...without(socket.raw, 'typed_config'),
    typed_config: { ...without(typed.raw, 'common_tls_context'), common_tls_context: plain },
  };
}

function secretPart(config: ProtoFields, part: string, secrets: BootstrapSecrets): JsonRecord {
  const found = secrets.find(config).fields(part);
  if (found === undefined) throw config.problem('name', `names a secret without ${part}`);
  return found.raw;
}

/** The default with what the secret adds, as Envoy merges them: lists grow, other fields of the secret win. */
function merge(base: JsonRecord, over: JsonRecord): JsonRecord {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = merged[key];
    merged[key] = Array.isArray(before) && Array.isArray(value) ? [...(before as unknown[]), ...(value as unknown[])] : value;
  }
  return merged;
}

function put(record: Record<string, unknown>, old: string, key: string, value: unknown): void {
  for (const name of [old, camel(old)]) delete record[name];
  record[key] = value;
}

function without(record: JsonRecord, key: string): JsonRecord {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key && name !== camel(key)));
}

function camel(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
