/** SPIFFE IDs (SPIFFE-ID standard, 2); the identity of a peer is read in `core/peer-identity.ts`, which adapters may import. */
export { peerTlsOf, peerTlsOfCertificate } from '../core/peer-identity.ts';

export interface SpiffeId {
  readonly trustDomain: string;
  /** Empty, or begins with `/`. */
  readonly path: string;
}

/** Trust domain of lower-case letters, digits, dots, dashes, underscores; path of non-empty segments other than `.` and `..`. */
const SPIFFE_ID = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*)$/;
const MAX_LENGTH = 2048;

/** Undefined when `text` is not a SPIFFE ID. */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const match = SPIFFE_ID.exec(text);
  // `$` also matches before a final newline only with the `m` flag, which is not set.
  return match === null ? undefined : { trustDomain: match[1] ?? '', path: match[2] ?? '' };
}
