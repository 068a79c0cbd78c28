/**
 * Certificates, trust anchors and SAN matchers of TLS messages, wherever they stand: in a transport socket or in a Secret
 * (gRPC rule 33; gRFCs A29, A82; Envoy T-1 to T-4).
 */
import { ConfigProblem } from '../../config/resource.ts';
import type { CommonTlsConfig, IdentitySourceConfig, SanMatcherConfig, TlsSourceConfig } from '../../config/tls.ts';
import { typeNameOf } from '../../proto/any.ts';
import type { DataSource, WatchedDirectory } from '../../proto/gen/envoy/config/core/v3/base_pb.js';
import type { TypedExtensionConfig } from '../../proto/gen/envoy/config/core/v3/extension_pb.js';
import type { CertificateValidationContext, TlsCertificate } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.js';
import type { SPIFFECertValidatorConfig } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config_pb.js';
import { unwrap } from './any.ts';
import { stringMatcher } from './matchers.ts';
import type { Scope } from './scope.ts';
import { survey } from './survey.ts';
import { inlineText } from './values.ts';

const SAN_TYPES: readonly (SanMatcherConfig['type'] | undefined)[] = [undefined, 'email', 'dns', 'uri', 'ip'];

interface Instance {
  readonly instanceName: string;
  readonly certificateName: string;
}

export function provider(instance: Instance, path: string, scope: Scope): TlsSourceConfig & { readonly kind: 'provider' } {
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

export function certificate(certificates: readonly TlsCertificate[], path: string): IdentitySourceConfig | undefined {
  const [first] = certificates;
  if (first === undefined) return undefined;
  if (certificates.length > 1) throw new ConfigProblem(path, 'more than one certificate is not supported');
  return {
    kind: 'pair',
    certificateChain: dataSource(first.certificateChain, first.watchedDirectory, `${path}[0].certificate_chain`),
    privateKey: dataSource(first.privateKey, first.watchedDirectory, `${path}[0].private_key`),
  };
}

const SPIFFE_TYPE = 'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig';
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;

function customValidator({ typedConfig }: TypedExtensionConfig, path: string, scope: Scope): TlsSourceConfig {
  if (typedConfig === undefined) throw new ConfigProblem(`${path}.typed_config`, 'is missing');
  const at = `${path}.typed_config`;
  const packed = unwrap(typedConfig, at, scope);
  const typeName = typeNameOf(packed.typeUrl);
  if (typeName !== SPIFFE_TYPE) throw new ConfigProblem(at, `certificate validator ${typeName} is not supported`);
  const message = scope.unpack<SPIFFECertValidatorConfig>(packed, at);
  survey(message, at, scope);
  if (message.trustDomains.length === 0) throw new ConfigProblem(`${at}.trust_domains`, 'must not be empty');
  const names = new Set<string>();
  const domains = message.trustDomains.map(({ name, trustBundle }, i) => {
    const field = `${at}.trust_domains[${i}]`;
    if (!TRUST_DOMAIN.test(name)) throw new ConfigProblem(`${field}.name`, `"${name}" is not the name of a trust domain`);
    if (names.has(name)) throw new ConfigProblem(`${field}.name`, `trust domain "${name}" is there twice`);
    names.add(name);
    return { name, bundle: dataSource(trustBundle, undefined, `${field}.trust_bundle`) };
  });
  return { kind: 'spiffe', domains };
}

/** A validator of its own stands in for all the others (Envoy T-6). */
export function roots(context: CertificateValidationContext, path: string, scope: Scope): TlsSourceConfig | undefined {
  if (context.customValidatorConfig !== undefined)
    return customValidator(context.customValidatorConfig, `${path}.custom_validator_config`, scope);
  if (context.caCertificateProviderInstance !== undefined)
    return provider(context.caCertificateProviderInstance, `${path}.ca_certificate_provider_instance`, scope);
  if (context.trustedCa !== undefined) return dataSource(context.trustedCa, context.watchedDirectory, `${path}.trusted_ca`);
  return context.systemRootCerts === undefined ? undefined : { kind: 'system' };
}

/** Both lists count: Envoy turns the deprecated one into matchers for every type and appends them. */
export function sanMatchers(context: CertificateValidationContext, path: string): SanMatcherConfig[] {
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

export type Validation = Pick<CommonTlsConfig, 'roots' | 'sanMatchers'>;

export function validationContext(
  context: CertificateValidationContext,
  path: string,
  scope: Scope,
  fallback?: TlsSourceConfig,
): Validation {
  const anchors = roots(context, path, scope) ?? fallback;
  const matchers = sanMatchers(context, path);
  // Envoy T-3: a name in a certificate that nobody vouches for proves nothing.
  if (anchors === undefined && matchers.length > 0) throw new ConfigProblem(path, 'SAN matchers without trust anchors');
  return { roots: anchors, sanMatchers: matchers };
}
