/**
 * Who may talk to the control plane: TLS with the test CA, perhaps with client certificates, and a token in the metadata. For trying how
 * clients prove who they are; plaintext and nobody refused by default.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Metadata } from '@grpc/grpc-js';
import { ServerCredentials, status } from '@grpc/grpc-js';
import type { IssuedCertificate } from './ca/ca.ts';
import type { Refusal } from './refusal.ts';

export interface AdmissionOptions {
  /** `server`: TLS; `mutual`: and clients need a certificate of the test CA. Default: plaintext. */
  readonly tls?: 'server' | 'mutual';
  /** What every call must bring; default: nothing. */
  readonly token?: string;
  /** Key of the metadata that holds the token, such as `x-consul-token`; default `authorization`, where it stands behind `Bearer `. */
  readonly tokenHeader?: string;
}

/** `server`: certificate of this server; `rootsPem`: who signs those of clients. */
export function serverCredentials(
  tls: AdmissionOptions['tls'],
  server: () => IssuedCertificate,
  rootsPem: () => string,
): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { certificateChainPem, privateKeyPem } = server();
  const pair = { cert_chain: Buffer.from(certificateChainPem), private_key: Buffer.from(privateKeyPem) };
  return ServerCredentials.createSsl(Buffer.from(rootsPem()), [pair], tls === 'mutual');
}

/** The check of a call's metadata. What was sent instead is not told. */
export function tokenCheck({ token, tokenHeader = 'authorization' }: AdmissionOptions): (metadata: Metadata) => Refusal | undefined {
  if (token === undefined) return () => undefined;
  const key = tokenHeader.toLowerCase();
  const expected = digest(key === 'authorization' ? `Bearer ${token}` : token);
  return (metadata) => {
    const [found, ...more] = metadata.get(key);
    if (found !== undefined && more.length === 0 && timingSafeEqual(digest(String(found)), expected)) return undefined;
    const what = found === undefined ? 'is missing' : 'is not the expected one';
    return { code: status.UNAUTHENTICATED, details: `the token in "${key}" ${what}` };
  };
}

/** Of equal length, whatever is compared. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
