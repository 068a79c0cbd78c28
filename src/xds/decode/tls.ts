/**
 * Transport sockets (gRPC rules 16, 32, 33; gRFCs A29, A82; Envoy §6). Whatever is not understood rejects the resource, and nothing
 * ever becomes plaintext: only an absent socket and raw_buffer mean that.
 */
import { ConfigProblem } from '../../config/resource.ts';
import type {
  CommonTlsConfig,
  DownstreamTlsConfig,
  IdentitySourceConfig,
  SanMatcherConfig,
  TlsSourceConfig,
  UpstreamTlsConfig,
} from '../../config/tls.ts';
import type { AnyMessage } from '../../core/extension.ts';
import { typeNameOf } from '../../proto/any.ts';
import type { DataSource, TransportSocket, WatchedDirectory } from '../../proto/gen/envoy/config/core/v3/base_pb.js';
import type {
  CertificateValidationContext,
  TlsCertificate,
  TlsParameters,
} from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.js';
import type {
  CommonTlsContext,
  DownstreamTlsContext,
  UpstreamTlsContext,
} from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.js';
import { unwrap } from './any.ts';
import { stringMatcher } from './matchers.ts';
import type { Scope } from './scope.ts';
import { survey } from './survey.ts';
import { inlineText } from './values.ts';

const UPSTREAM = 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext';
const DOWNSTREAM = 'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext';
const RAW_BUFFER = 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer';
const RAW_BUFFER_NAME = 'envoy.transport_sockets.raw_buffer';
const MAX_SNI_BYTES = 255;
const SAN_TYPES: readonly (SanMatcherConfig['type'] | undefined)[] = [undefined, 'email', 'dns', 'uri', 'ip'];
const VERSIONS = [undefined, 'older', 'older', 'TLSv1.2', 'TLSv1.3'] as const;

interface Instance {
  readonly instanceName: string;
  readonly certificateName: string;
}

function provider(instance: Instance, path: string, scope: Scope): TlsSourceConfig & { readonly kind: 'provider' } {
  if (!scope.context.certificateProviders.has(instance.instanceName)) {
    throw new ConfigProblem(
      `${path}.instance_name`,
      `certificate provider "${instance.instanceName}" is not in certificate_providers of the bootstrap`,
    );
  }
  return { kind: 'provider', instance: instance.instanceName, certificateName: instance.certificateName };
}

function dataSource(source: DataSource | undefined, watched: WatchedDirectory | undefined, path: string): TlsSourceConfig {
  const pem = source === undefined ? undefined : inlineText(source);
  if (pem !== undefined && pem !== '') return { kind: 'inline', pem };
  if (source?.specifier.case === 'filename' && source.specifier.value !== '') {
    return { kind: 'file', path: source.specifier.value, watchedDirectory: (source.watchedDirectory ?? watched)?.path };
  }
  throw new ConfigProblem(path, 'needs inline_string, inline_bytes or filename, and not empty');
}

function certificate(certificates: readonly TlsCertificate[], path: string): IdentitySourceConfig | undefined {
  const [first] = certificates;
  if (first === undefined) return undefined;
  if (certificates.length > 1) throw new ConfigProblem(path, 'more than one certificate is not supported');
  return {
    kind: 'pair',
    certificateChain: dataSource(first.certificateChain, first.watchedDirectory, `${path}[0].certificate_chain`),
    privateKey: dataSource(first.privateKey, first.watchedDirectory, `${path}[0].private_key`),
  };
}

function identity(common: CommonTlsContext, path: string, scope: Scope): IdentitySourceConfig | undefined {
  if (common.tlsCertificateProviderInstance !== undefined) {
    return provider(common.tlsCertificateProviderInstance, `${path}.tls_certificate_provider_instance`, scope);
  }
  const found = certificate(common.tlsCertificates, `${path}.tls_certificates`);
  const old = common.tlsCertificateCertificateProviderInstance;
  if (found !== undefined || old === undefined) return found;
  return provider(old, `${path}.tls_certificate_certificate_provider_instance`, scope);
}

function roots(context: CertificateValidationContext, path: string, scope: Scope): TlsSourceConfig | undefined {
  if (context.caCertificateProviderInstance !== undefined)
    return provider(context.caCertificateProviderInstance, `${path}.ca_certificate_provider_instance`, scope);
  if (context.trustedCa !== undefined) return dataSource(context.trustedCa, context.watchedDirectory, `${path}.trusted_ca`);
  return context.systemRootCerts === undefined ? undefined : { kind: 'system' };
}

/** Both lists count: Envoy turns the deprecated one into matchers for every type and appends them. */
function sanMatchers(context: CertificateValidationContext, path: string): SanMatcherConfig[] {
  const typed = context.matchTypedSubjectAltNames.map((entry, i): SanMatcherConfig => {
    const at = `${path}.match_typed_subject_alt_names[${i}]`;
    const type = SAN_TYPES[entry.sanType];
    if (type === undefined) throw new ConfigProblem(`${at}.san_type`, 'must be EMAIL, DNS, URI or IP_ADDRESS');
    return { type, matcher: stringMatcher(entry.matcher, `${at}.matcher`) };
  });
  const old = context.matchSubjectAltNames.map((matcher, i): SanMatcherConfig => ({
    type: 'any',
    matcher: stringMatcher(matcher, `${path}.match_subject_alt_names[${i}]`),
  }));
  return [...typed, ...old];
}

type Validation = Pick<CommonTlsConfig, 'roots' | 'sanMatchers'>;

function validationContext(context: CertificateValidationContext, path: string, scope: Scope, fallback?: TlsSourceConfig): Validation {
  const anchors = roots(context, path, scope) ?? fallback;
  const matchers = sanMatchers(context, path);
  // Envoy T-3: a name in a certificate that nobody vouches for proves nothing.
  if (anchors === undefined && matchers.length > 0) throw new ConfigProblem(path, 'SAN matchers without trust anchors');
  return { roots: anchors, sanMatchers: matchers };
}

function validation(common: CommonTlsContext, path: string, scope: Scope): Validation {
  const chosen = common.validationContextType;
  switch (chosen.case) {
    case 'validationContext':
      return validationContext(chosen.value, `${path}.validation_context`, scope);
    case 'combinedValidationContext': {
      const at = `${path}.combined_validation_context`;
      const { defaultValidationContext: context, validationContextCertificateProviderInstance: old } = chosen.value;
      const fallback = old && provider(old, `${at}.validation_context_certificate_provider_instance`, scope);
      if (context !== undefined) return validationContext(context, `${at}.default_validation_context`, scope, fallback);
      if (fallback !== undefined) return { roots: fallback, sanMatchers: [] };
      throw new ConfigProblem(at, 'is empty');
    }
    case 'validationContextCertificateProviderInstance':
      return { roots: provider(chosen.value, `${path}.validation_context_certificate_provider_instance`, scope), sanMatchers: [] };
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
  const common = commonTls(message.commonTlsContext, `${at}.common_tls_context`, scope);
  if (common.identity === undefined) throw new ConfigProblem(`${at}.common_tls_context`, 'a server needs a certificate');
  if (common.roots?.kind === 'system')
    throw new ConfigProblem(`${at}.common_tls_context.validation_context.system_root_certs`, 'is for clusters only');
  const required = message.requireClientCertificate ?? false;
  if (required && common.roots === undefined)
    throw new ConfigProblem(`${at}.require_client_certificate`, 'needs trust anchors to verify client certificates');
  return { ...common, requireClientCertificate: required };
}
