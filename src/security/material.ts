/**
 * PEM to checked material: a certificate chain with its key, or trust anchors. Anything that does not parse or belong together is a
 * reason in words, never half a result. What is expired is still material; its users look at `notAfter`.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';

export interface Identity {
  readonly certificateChain: Buffer;
  readonly privateKey: Buffer;
  /** Milliseconds since the epoch when the leaf stops being valid. */
  readonly notAfter: number;
}

export interface TrustAnchors {
  readonly pem: Buffer;
  /** When the last of the anchors stops being valid. */
  readonly notAfter: number;
  /** Whose anchors they are, by SPIFFE trust domain; absent: those of anybody (Envoy T-6). */
  readonly domains?: ReadonlyMap<string, TrustAnchors>;
}

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

const CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

export function certificatesOf(pem: Buffer): X509Certificate[] {
  return (pem.toString('latin1').match(CERTIFICATE) ?? []).map((block) => new X509Certificate(block));
}

/** First line of an OpenSSL error, without the path of its source. */
function reason(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}

/** The leaf comes first in `chain`. The pair must belong together: a rotation caught half-way must not be used (Envoy T-7). */
export function parseIdentity(chain: Buffer, key: Buffer): Parsed<Identity> {
  let certificates: X509Certificate[];
  try {
    certificates = certificatesOf(chain);
  } catch (error) {
    return { ok: false, problem: `the certificate chain cannot be read: ${reason(error)}` };
  }
  const [leaf] = certificates;
  if (leaf === undefined) return { ok: false, problem: 'the certificate chain holds no PEM certificate' };
  try {
    const privateKey = createPrivateKey(key);
    if (!leaf.checkPrivateKey(privateKey)) return { ok: false, problem: 'certificate and private key do not belong together' };
  } catch (error) {
    return { ok: false, problem: `the private key cannot be read: ${reason(error)}` };
  }
  return { ok: true, value: { certificateChain: chain, privateKey: key, notAfter: leaf.validToDate.getTime() } };
}

export function parseTrustAnchors(pem: Buffer): Parsed<TrustAnchors> {
  let certificates: X509Certificate[];
  try {
    certificates = certificatesOf(pem);
  } catch (error) {
    return { ok: false, problem: `the trust anchors cannot be read: ${reason(error)}` };
  }
  // A bundle that is quietly empty would mean "trust nobody" at best and Node's default roots at worst.
  if (certificates.length === 0) return { ok: false, problem: 'the trust anchors hold no PEM certificate' };
  return { ok: true, value: { pem, notAfter: Math.max(...certificates.map((certificate) => certificate.validToDate.getTime())) } };
}
