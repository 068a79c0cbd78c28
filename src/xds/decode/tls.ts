/**
 * Transport sockets (gRPC rules 16, 32, 33; gRFCs A29, A82; Envoy §6). Whatever is not understood rejects the resource, and nothing
 * ever becomes plaintext: only an absent socket and raw_buffer mean that.
 */
import type { ConfigSourceConfig } from '../../config/config-source.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { CommonTlsConfig, DownstreamTlsConfig, IdentitySourceConfig, SecretReference, UpstreamTlsConfig } from '../../config/tls.ts';
import type { AnyMessage } from '../../core/extension.ts';
import { typeNameOf } from '../../proto/any.ts';
import type { TransportSocket } from '../../proto/gen/envoy/config/core/v3/base_pb.js';
import type { CertificateValidationContext, TlsParameters } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.js';
import type {
  CommonTlsContext,
  DownstreamTlsContext,
  UpstreamTlsContext,
} from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.js';
import type { SdsSecretConfig } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import { unwrap } from './any.ts';
import { timedSource } from './config-source.ts';
import type { Scope } from './scope.ts';
import { survey } from './survey.ts';
import { certificate, provider, roots, sanMatchers, validationContext } from './tls-material.ts';
import type { Validation } from './tls-material.ts';

const UPSTREAM = 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext';
const DOWNSTREAM = 'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext';
const RAW_BUFFER = 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer';
const RAW_BUFFER_NAME = 'envoy.transport_sockets.raw_buffer';
const MAX_SNI_BYTES = 255;
const VERSIONS = [undefined, 'older', 'older', 'TLSv1.2', 'TLSv1.3'] as const;

/** A secret without a source is one of the bootstrap's static ones, or comes over the aggregated stream. */
function sdsSecret(config: SdsSecretConfig, path: string, scope: Scope): SecretReference {
  if (config.name === '') throw new ConfigProblem(`${path}.name`, 'must not be empty');
  if (config.sdsConfig === undefined) return { name: config.name };
  const { source, ...timed } = timedSource(config.sdsConfig, `${path}.sds_config`, scope);
  return { name: config.name, ...timed, ...(source && { source: apart(source, config.name) }) };
}

/**
 * A stream for each secret, as Envoy has it, unless the stream is one for all types: servers such as SPIRE's agent refuse a whole request for the
 * sake of one name in it, which then costs nobody else.
 */
function apart(source: ConfigSourceConfig, name: string): ConfigSourceConfig {
  if (source.kind !== 'api' || source.aggregated || source.protocol === 'rest') return source;
  return { ...source, id: `${source.id} ${JSON.stringify(name)}` };
}

function identity(common: CommonTlsContext, path: string, scope: Scope): IdentitySourceConfig | undefined {
  if (common.tlsCertificateProviderInstance !== undefined) {
    return provider(common.tlsCertificateProviderInstance, `${path}.tls_certificate_provider_instance`, scope);
  }
  const [secret] = common.tlsCertificateSdsSecretConfigs;
  if (secret !== undefined) {
    const at = `${path}.tls_certificate_sds_secret_configs`;
    // Envoy T-2: a client has one; of several a server would choose by what the client can.
    if (common.tlsCertificateSdsSecretConfigs.length > 1) throw new ConfigProblem(at, 'more than one certificate is not supported');
    if (common.tlsCertificates.length > 0) throw new ConfigProblem(at, 'cannot be set beside tls_certificates');
    return { kind: 'sds', ...sdsSecret(secret, `${at}[0]`, scope) };
  }
  const found = certificate(common.tlsCertificates, `${path}.tls_certificates`);
  const old = common.tlsCertificateCertificateProviderInstance;
  if (found !== undefined || old === undefined) return found;
  return provider(old, `${path}.tls_certificate_certificate_provider_instance`, scope);
}

/** Envoy T-1: what the secret says replaces the default's single fields and is added to its lists; the secret's part comes later. */
function combined(context: CertificateValidationContext | undefined, secret: SecretReference, path: string, scope: Scope): Validation {
  const at = `${path}.default_validation_context`;
  const fallback = context && roots(context, at, scope);
  return {
    roots: { kind: 'sds', ...secret, ...(fallback && { fallback }) },
    sanMatchers: context === undefined ? [] : sanMatchers(context, at),
  };
}

function validation(common: CommonTlsContext, path: string, scope: Scope): Validation {
  const chosen = common.validationContextType;
  switch (chosen.case) {
    case 'validationContext':
      return validationContext(chosen.value, `${path}.validation_context`, scope);
    case 'combinedValidationContext': {
      const at = `${path}.combined_validation_context`;
      const { defaultValidationContext: context, validationContextCertificateProviderInstance: old } = chosen.value;
      const secret = chosen.value.validationContextSdsSecretConfig;
      if (secret !== undefined) return combined(context, sdsSecret(secret, `${at}.validation_context_sds_secret_config`, scope), at, scope);
      const fallback = old && provider(old, `${at}.validation_context_certificate_provider_instance`, scope);
      if (context !== undefined) return validationContext(context, `${at}.default_validation_context`, scope, fallback);
      if (fallback !== undefined) return { roots: fallback, sanMatchers: [] };
      throw new ConfigProblem(at, 'is empty');
    }
    case 'validationContextCertificateProviderInstance':
      return { roots: provider(chosen.value, `${path}.validation_context_certificate_provider_instance`, scope), sanMatchers: [] };
    case 'validationContextSdsSecretConfig':
      return { roots: { kind: 'sds', ...sdsSecret(chosen.value, `${path}.validation_context_sds_secret_config`, scope) }, sanMatchers: [] };
    case undefined:
      return { roots: undefined, sanMatchers: [] };
    default: // The survey has rejected them already.
      throw new ConfigProblem(path, 'the validation context is of a kind that is not supported');
  }
}

function versions(parameters: TlsParameters | undefined, path: string): Pick<CommonTlsConfig, 'minVersion' | 'maxVersion'> {
  const minimum: number = parameters?.tlsMinimumProtocolVersion ?? 0;
  const maximum: number = parameters?.tlsMaximumProtocolVersion ?? 0;
  if (minimum >= VERSIONS.length) throw new ConfigProblem(`${path}.tls_minimum_protocol_version`, `unknown value ${minimum}`);
  if (maximum >= VERSIONS.length) throw new ConfigProblem(`${path}.tls_maximum_protocol_version`, `unknown value ${maximum}`);
  const min = VERSIONS[minimum];
  const max = VERSIONS[maximum];
  if (max === 'older') throw new ConfigProblem(`${path}.tls_maximum_protocol_version`, 'TLS 1.0 and 1.1 are not supported');
  if (min === 'TLSv1.3' && max === 'TLSv1.2') throw new ConfigProblem(`${path}.tls_minimum_protocol_version`, 'is above the maximum');
  return { minVersion: min === 'older' ? 'TLSv1.2' : min, maxVersion: max };
}

function commonTls(common: CommonTlsContext | undefined, path: string, scope: Scope): CommonTlsConfig {
  if (common === undefined) throw new ConfigProblem(path, 'is missing');
  return {
    identity: identity(common, path, scope),
    ...validation(common, path, scope),
    alpn: common.alpnProtocols,
    ...versions(common.tlsParams, `${path}.tls_params`),
  };
}

/** Undefined: plaintext was asked for in so many words. */
function typedSocket(socket: TransportSocket, expected: string, path: string, scope: Scope): AnyMessage | undefined {
  if (socket.configType.case !== 'typedConfig') {
    if (socket.name === RAW_BUFFER_NAME && socket.configType.case === undefined && socket.$unknown === undefined) return undefined;
    throw new ConfigProblem(path, `transport socket "${socket.name}" has no typed_config`);
  }
  const packed = unwrap(socket.configType.value, `${path}.typed_config`, scope);
  const typeName = typeNameOf(packed.typeUrl);
  if (typeName === RAW_BUFFER) return undefined;
  if (typeName !== expected) throw new ConfigProblem(`${path}.typed_config`, `transport socket type ${typeName} is not supported here`);
  return packed;
}

export function upstreamTls(socket: TransportSocket | undefined, path: string, scope: Scope): UpstreamTlsConfig | undefined {
  const packed = socket && typedSocket(socket, UPSTREAM, path, scope);
  if (packed === undefined) return undefined;
  const at = `${path}.typed_config`;
  const message = scope.unpack<UpstreamTlsContext>(packed, at);
  survey(message, at, scope);
  if (Buffer.byteLength(message.sni) > MAX_SNI_BYTES) throw new ConfigProblem(`${at}.sni`, `is longer than ${MAX_SNI_BYTES} bytes`);
  const common = commonTls(message.commonTlsContext, `${at}.common_tls_context`, scope);
  if (message.autoSniSanValidation && common.roots === undefined)
    throw new ConfigProblem(`${at}.auto_sni_san_validation`, 'needs trust anchors');
  return { ...common, sni: message.sni, autoHostSni: message.autoHostSni, autoSniSanValidation: message.autoSniSanValidation };
}

export function downstreamTls(socket: TransportSocket | undefined, path: string, scope: Scope): DownstreamTlsConfig | undefined {
  const packed = socket && typedSocket(socket, DOWNSTREAM, path, scope);
  if (packed === undefined) return undefined;
  const at = `${path}.typed_config`;
  const message = scope.unpack<DownstreamTlsContext>(packed, at);
  survey(message, at, scope);
  // Of no use here, but keys: noted, so that nobody shows or keeps these bytes (`holdsKeys`).
  if (message.sessionTicketKeysType.case === 'sessionTicketKeys') scope.unsupported(`${at}.session_ticket_keys`);
  const common = commonTls(message.commonTlsContext, `${at}.common_tls_context`, scope);
  if (common.identity === undefined) throw new ConfigProblem(`${at}.common_tls_context`, 'a server needs a certificate');
  if (common.roots?.kind === 'system')
    throw new ConfigProblem(`${at}.common_tls_context.validation_context.system_root_certs`, 'is for clusters only');
  const required = message.requireClientCertificate ?? false;
  if (required && common.roots === undefined)
    throw new ConfigProblem(`${at}.require_client_certificate`, 'needs trust anchors to verify client certificates');
  return { ...common, requireClientCertificate: required };
}
