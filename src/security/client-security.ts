/** The client side of one cluster's TLS: the server's leaf against the cluster's SAN matchers, or against the name that was sent (SNI). */
import { isIP } from 'node:net';
import type { PeerCertificate, SecureContext } from 'node:tls';
import type { SanMatcherConfig, UpstreamTlsConfig } from '../config/tls.ts';
import { parseSubjectAltNames } from '../core/peer-identity.ts';
import type { ClientSecurity, TlsMaterial } from '../core/tls.ts';
import { dnsNameMatches } from './san-matcher.ts';
import { SanPolicy } from './san-policy.ts';
import type { SecureMaterial } from './secure-material.ts';
import { namesThatCount, spiffeProblem } from './spiffe.ts';
import { describeNames, identityError } from './subject-alt-names.ts';

export type ClientTlsConfig = Pick<UpstreamTlsConfig, 'alpn' | 'sanMatchers' | 'sni' | 'autoHostSni' | 'autoSniSanValidation'>;

export class ClientTls implements ClientSecurity {
  readonly serverName: string | undefined;
  readonly autoHostSni: boolean;
  readonly alpn: readonly string[];
  readonly verifiesChain: boolean;
  readonly #secrets: SecureMaterial;
  readonly #sans: SanPolicy;
  readonly #validatesSni: boolean;

  constructor(config: ClientTlsConfig, secrets: SecureMaterial, verifiesChain: boolean, dynamic?: () => readonly SanMatcherConfig[]) {
    this.serverName = config.sni === '' || isIP(config.sni) !== 0 ? undefined : config.sni;
    this.autoHostSni = config.autoHostSni;
    this.alpn = config.alpn;
    this.verifiesChain = verifiesChain;
    this.#secrets = secrets;
    this.#sans = new SanPolicy(config.sanMatchers, dynamic);
    this.#validatesSni = config.autoSniSanValidation;
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

  verifyPeer(hostname: string, certificate: PeerCertificate): Error | undefined {
    if (!this.verifiesChain) return undefined;
    const names = parseSubjectAltNames(certificate.subjectaltname);
    if (names === undefined) return identityError('the names in the certificate of the server cannot be read');
    const stranger = spiffeProblem(certificate, names, this.#secrets);
    if (stranger !== undefined) return identityError(`the server presents ${describeNames(names)}: ${stranger}`);
    const sni = this.#sentName(hostname);
    // gRFC A101: the name that was sent replaces the SAN matchers.
    if (this.#validatesSni && sni !== undefined) {
      if (names.some((name) => name.type === 'dns' && dnsNameMatches(sni, name.value))) return undefined;
      return identityError(`the server presents ${describeNames(names)}, not the name "${sni}" that was asked for`);
    }
    const accepts = this.#sans.current();
    if (accepts !== undefined) {
      if (accepts(namesThatCount(names, this.#secrets))) return undefined;
      return identityError(`the server presents ${describeNames(names)}, which no SAN matcher of the cluster accepts`);
    }
    // Without SAN matchers any identity of the trust anchors is accepted (Envoy T-2, gRFC A29), unless SNI validation was asked for.
    return this.#validatesSni ? identityError('the name of the server was to be validated, but none was sent (SNI)') : undefined;
  }

  /** `hostname` is the SNI, or the address (perhaps with its port) that was dialled when none was sent. */
  #sentName(hostname: string): string | undefined {
    return this.autoHostSni && /^[\w.-]+$/.test(hostname) && isIP(hostname) === 0 ? hostname : this.serverName;
  }
}
