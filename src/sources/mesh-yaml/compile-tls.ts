/** The TLS part of a `mesh.yaml`: where certificates come from, and whom each side accepts. Never plaintext under `mtls: strict`. */
import { dirname, resolve } from 'node:path';
import type { CommonTlsConfig, DownstreamTlsConfig, IdentitySourceConfig, TlsSourceConfig, UpstreamTlsConfig } from '../../config/tls.ts';
import type { MeshFile } from './types.ts';

export type CertificateStrategy =
  /** No certificates: `mtls: strict` is an error. */
  | { readonly kind: 'none' }
  /** Files on disk, watched. */
  | { readonly kind: 'files'; readonly certificate: string; readonly key: string; readonly ca: string }
  /** The instance of that name among the bootstrap's `certificate_providers`: every process has its own. */
  | { readonly kind: 'provider'; readonly instance: string };

/** The files of the key `identity`, relative to the file that names them. */
export function fileCertificates(file: MeshFile): CertificateStrategy {
  const { certificate, key, ca } = file.identity;
  if (certificate === undefined || key === undefined || ca === undefined) return { kind: 'none' };
  const base = dirname(resolve(file.origin));
  return { kind: 'files', certificate: resolve(base, certificate), key: resolve(base, key), ca: resolve(base, ca) };
}

function sources(strategy: CertificateStrategy): { identity: IdentitySourceConfig | undefined; roots: TlsSourceConfig | undefined } {
  switch (strategy.kind) {
    case 'none':
      return { identity: undefined, roots: undefined };
    case 'provider': {
      const instance = { kind: 'provider', instance: strategy.instance, certificateName: '' } as const;
      return { identity: instance, roots: instance };
    }
    case 'files': {
      const file = (path: string): TlsSourceConfig => ({ kind: 'file', path, watchedDirectory: undefined });
      return {
        identity: { kind: 'pair', certificateChain: file(strategy.certificate), privateKey: file(strategy.key) },
        roots: file(strategy.ca),
      };
    }
  }
}

function common(strategy: CertificateStrategy, identities: readonly string[], alpn: readonly string[]): CommonTlsConfig {
  return {
    ...sources(strategy),
    sanMatchers: identities.map((value) => ({ type: 'uri', matcher: { kind: 'exact', value, ignoreCase: false } })),
    alpn,
    minVersion: undefined,
    maxVersion: undefined,
  };
}

export function upstreamTls(strategy: CertificateStrategy, identities: readonly string[], http2: boolean): UpstreamTlsConfig {
  return { ...common(strategy, identities, http2 ? ['h2'] : []), sni: '', autoHostSni: false, autoSniSanValidation: false };
}

/** Any identity of the roots may connect; who may do what is for the rules (RBAC). */
export function downstreamTls(strategy: CertificateStrategy): DownstreamTlsConfig {
  return { ...common(strategy, [], []), requireClientCertificate: true };
}
