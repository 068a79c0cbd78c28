/**
 * Who a peer is: SPIFFE IDs (SPIFFE-ID standard, 2) and the identity that the certificate of a TLS connection proved.
 * Only a verified certificate gives an identity; what an unverified one says is never passed on.
 */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { PeerTls } from '../core/call.ts';
import { parseSubjectAltNames } from './subject-alt-names.ts';

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

const NOBODY: PeerTls = Object.freeze({ authenticated: false, uriSans: [], dnsSans: [], subject: '' });

/**
 * The identity of the client of an accepted connection. About 25 µs with a certificate, so it is computed once per connection.
 * (On the client side `getPeerX509Certificate` takes the certificate out of the socket: Node 20 to 24 answer once, then undefined.)
 * `verified` defaults to the socket's `authorized`, which `tls.Server` and `tls.connect` set.
 */
export function peerTlsOf(socket: TLSSocket, verified: boolean = socket.authorized): PeerTls {
  const certificate = verified ? socket.getPeerX509Certificate() : undefined;
  const peer = certificate === undefined ? NOBODY : peerTlsOfCertificate(certificate);
  // On the server side `servername` is false when the client sent none; Node's types forget it.
  const { servername } = socket as { readonly servername?: string | false };
  return typeof servername === 'string' && servername !== '' ? Object.freeze({ ...peer, serverName: servername }) : peer;
}

/** The identity in a certificate that the caller has verified. */
export function peerTlsOfCertificate(certificate: X509Certificate): PeerTls {
  const names = parseSubjectAltNames(certificate.subjectAltName);
  if (names === undefined) return NOBODY;
  return Object.freeze({
    authenticated: true,
    uriSans: names.filter((name) => name.type === 'uri').map((name) => name.value),
    dnsSans: names.filter((name) => name.type === 'dns').map((name) => name.value),
    subject: rfc2253(certificate.subject),
  });
}

/**
 * Node prints a name with one RDN per line in order of the certificate, parts escaped as in RFC 2253, several attributes of one RDN
 * joined with ` + ` (an escaped `+` stands in a value). RFC 2253 wants the reverse order, commas, and a bare `+`.
 */
export function rfc2253(nodeSubject: string | undefined): string {
  if (nodeSubject === undefined || nodeSubject === '') return '';
  const names = nodeSubject.split('\n').toReversed();
  // OpenSSL, and so Envoy, reverses within an RDN too.
  return names.map((name) => name.split(' + ').toReversed().join('+')).join(',');
}
