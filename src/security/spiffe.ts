/**
 * X.509-SVIDs by trust domain (Envoy T-6; SPIFFE X509-SVID, 5.2): the one URI name of a leaf says whose it is, and the leaf has to chain to
 * the bundle of that domain, not only to one of all bundles, which is what the handshake has verified.
 */
import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, PeerCertificate } from 'node:tls';
import type { SubjectAltName } from '../core/peer-identity.ts';
import { parseSpiffeId } from './identity.ts';
import { certificatesOf } from './material.ts';
import type { TrustAnchors } from './material.ts';
import { Secret } from './secret-store.ts';
import type { CertificateExtensions } from './x509-extensions.ts';
import { certificateExtensions } from './x509-extensions.ts';

/** Longer chains are refused. */
const MAX_CHAIN = 8;
const PURPOSES: ReadonlySet<string> = new Set(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2', '2.5.29.37.0']);

export interface SpiffeTrust {
  readonly domains: ReadonlyMap<string, TrustAnchors> | undefined;
  /** Milliseconds since the epoch. */
  wallTime(): number;
}

/** The bundles of several domains as one: it has a value when each of them has one, and says which has none. */
export function federate(bundles: ReadonlyMap<string, Secret<TrustAnchors>>): Secret<TrustAnchors> {
  const all = new Secret<TrustAnchors>('');
  const take = (): void => {
    const domains = new Map<string, TrustAnchors>();
    for (const [name, { value, problem }] of bundles) {
      if (value === undefined) return all.offer({ ok: false, problem: `trust domain "${name}": ${problem}` });
      domains.set(name, value);
    }
    const values = [...domains.values()];
    const pem = Buffer.from(values.map((anchors) => anchors.pem.toString('latin1')).join('\n'), 'latin1');
    all.offer({ ok: true, value: { pem, notAfter: Math.max(...values.map(({ notAfter }) => notAfter)), domains } });
  };
  for (const bundle of bundles.values()) bundle.onChange(take);
  take();
  return all;
}

/** Of a SPIFFE identity only the URI counts. */
export function namesThatCount(names: readonly SubjectAltName[], trust: SpiffeTrust): readonly SubjectAltName[] {
  return trust.domains === undefined ? names : names.filter(({ type }) => type === 'uri');
}

/** Why a peer, whose chain the handshake has verified, is none of the trust domains'; undefined: it is, or it need not be. */
export function spiffeProblem(peer: PeerCertificate, names: readonly SubjectAltName[], trust: SpiffeTrust): string | undefined {
  const { domains } = trust;
  if (domains === undefined) return undefined;
  const [uri, ...more] = names.filter(({ type }) => type === 'uri');
  if (uri === undefined || more.length > 0) return 'a SPIFFE identity is exactly one URI';
  const id = parseSpiffeId(uri.value);
  if (id === undefined || id.path === '') return 'that is not the SPIFFE ID of a workload';
  const anchors = domains.get(id.trustDomain);
  if (anchors === undefined) return `there is no bundle of trust domain "${id.trustDomain}"`;
  const leaf = new X509Certificate(peer.raw);
  if (leaf.ca || certificateExtensions(leaf.raw)?.signsOthers !== false) return 'a certificate that may sign others is no workload';
  // Of one bundle the handshake has verified the chain already.
  if (domains.size === 1) return undefined;
  const path = new PathSearch(certificatesOf(anchors.pem), issuersOf(peer), trust.wallTime());
  return path.leads(leaf) ? undefined : `no chain leads to the bundle of trust domain "${id.trustDomain}"`;
}

/** What the peer sent beside its leaf, and what Node found for it. */
function issuersOf(peer: PeerCertificate): X509Certificate[] {
  const found: X509Certificate[] = [];
  const seen = new Set<string>([peer.fingerprint256]);
  let next = (peer as Partial<DetailedPeerCertificate>).issuerCertificate;
  while (next?.raw !== undefined && !seen.has(next.fingerprint256) && found.length < MAX_CHAIN) {
    seen.add(next.fingerprint256);
    found.push(new X509Certificate(next.raw));
    next = (next as Partial<DetailedPeerCertificate>).issuerCertificate;
  }
  return found;
}

/**
 * Whether a leaf chains to given anchors: signatures, validity, CA flag, path length. An issuer with name constraints leads nowhere: they are
 * OpenSSL's business, and it has verified some chain, not necessarily this one.
 */
class PathSearch {
  readonly #anchors: readonly X509Certificate[];
  readonly #issuers: readonly X509Certificate[];
  readonly #now: number;

  constructor(anchors: readonly X509Certificate[], issuers: readonly X509Certificate[], now: number) {
    this.#anchors = anchors;
    this.#issuers = issuers;
    this.#now = now;
  }

  /** By levels: an issuer that leads nowhere at its least depth leads nowhere further down, so each is looked at once, loops or not. */
  leads(leaf: X509Certificate): boolean {
    const unseen = new Set(this.#issuers);
    let level = [leaf];
    for (let below = 0; level.length > 0; below++) {
      const above: X509Certificate[] = [];
      for (const certificate of level.filter((each) => this.#valid(each))) {
        const signs = (issuer: X509Certificate): boolean => this.#mayIssue(issuer, below) && signed(certificate, issuer);
        if (this.#anchors.some((anchor) => this.#valid(anchor) && signs(anchor))) return true;
        for (const issuer of unseen) {
          if (!signs(issuer)) continue;
          unseen.delete(issuer);
          above.push(issuer);
        }
      }
      level = above;
    }
    return false;
  }

  #valid({ validFromDate, validToDate }: X509Certificate): boolean {
    return validFromDate.getTime() <= this.#now && this.#now <= validToDate.getTime();
  }

  /** `below`: how many intermediates already stand between it and the leaf. */
  #mayIssue(issuer: X509Certificate, below: number): boolean {
    const extensions: CertificateExtensions | undefined = certificateExtensions(issuer.raw);
    // Undefined where the certificate has none, whatever the types say.
    const purposes = issuer.keyUsage as readonly string[] | undefined;
    if (!issuer.ca || extensions === undefined || extensions.nameConstraints) return false;
    if (extensions.pathLength !== undefined && below > extensions.pathLength) return false;
    return purposes === undefined || purposes.some((purpose) => PURPOSES.has(purpose));
  }
}

function signed(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
