/** The server side of one filter chain's TLS: whether clients must show a certificate, and whose (Envoy T-5, grpc.md §8.3 decision 11). */
import type { PeerCertificate, SecureContext } from 'node:tls';
import type { DownstreamTlsConfig, SanMatcherConfig } from '../config/tls.ts';
import { parseSubjectAltNames } from '../core/peer-identity.ts';
import type { ServerSecurity, TlsMaterial } from '../core/tls.ts';
import { SanPolicy } from './san-policy.ts';
import type { SecureMaterial } from './secure-material.ts';
import { namesThatCount, spiffeProblem } from './spiffe.ts';
import { describeNames, identityError } from './subject-alt-names.ts';

export class ServerTls implements ServerSecurity {
  readonly verifiesClients: boolean;
  readonly alpn: readonly string[];
  readonly #required: boolean;
  readonly #secrets: SecureMaterial;
  readonly #sans: SanPolicy;

  constructor(config: DownstreamTlsConfig, secrets: SecureMaterial, verifiesClients: boolean, dynamic?: () => readonly SanMatcherConfig[]) {
    this.#required = config.requireClientCertificate;
    this.verifiesClients = verifiesClients;
    this.alpn = config.alpn;
    this.#secrets = secrets;
    this.#sans = new SanPolicy(config.sanMatchers, dynamic);
  }

  /** By trust domains nobody is let in who shows none (Envoy T-6). */
  get requireClientCertificate(): boolean {
    return this.#required || this.#secrets.domains !== undefined;
  }

  get generation(): number {
    return this.#secrets.generation;
  }

  get problem(): string {
    return this.#secrets.problem;
  }

  secureContext(): SecureContext | undefined {
    return this.#secrets.secureContext();
  }

  material(): TlsMaterial | undefined {
    return this.#secrets.material();
  }

  onRotate(listener: () => void): () => void {
    return this.#secrets.onRotate(listener);
  }

  /** `certificate` is what `getPeerCertificate()` gives: an empty object when the client presented none. */
  verifyPeer(certificate: PeerCertificate): Error | undefined {
    if (certificate.raw === undefined) {
      return this.requireClientCertificate ? identityError('the client presents no certificate', 'ERR_TLS_CERT_REQUIRED') : undefined;
    }
    const accepts = this.#sans.current();
    if (accepts === undefined && this.#secrets.domains === undefined) return undefined;
    const names = parseSubjectAltNames(certificate.subjectaltname);
    if (names === undefined) return identityError('the names in the certificate of the client cannot be read');
    const stranger = spiffeProblem(certificate, names, this.#secrets);
    if (stranger !== undefined) return identityError(`the client presents ${describeNames(names)}: ${stranger}`);
    if (accepts === undefined) return undefined;
    return accepts(namesThatCount(names, this.#secrets))
      ? undefined
      : identityError(`the client presents ${describeNames(names)}, which no SAN matcher accepts`);
  }
}
