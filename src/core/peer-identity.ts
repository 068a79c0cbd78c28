/**
 * Who the far side of a TLS connection is, from its certificate: typed names out of Node's SAN text, and the identity that adapters hand to
 * RBAC and the application. Only a verified certificate gives an identity; what an unverified one says is never passed on.
 */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { PeerTls } from './call.ts';

export type SubjectAltNameType = 'dns' | 'uri' | 'email' | 'ip' | 'other';

export interface SubjectAltName {
  readonly type: SubjectAltNameType;
  readonly value: string;
}

const TYPES: ReadonlyMap<string, SubjectAltNameType> = new Map([
  ['DNS', 'dns'],
  ['URI', 'uri'],
  ['email', 'email'],
  ['IP Address', 'ip'],
]);

/**
 * Reads `subjectaltname` of a `PeerCertificate` or `subjectAltName` of an `X509Certificate`. Values with a comma, a quote or a control
 * character come as JSON strings there, so a name cannot smuggle in another one. Undefined when the text is not what Node writes.
 */
export function parseSubjectAltNames(text: string | undefined): readonly SubjectAltName[] | undefined {
  const names: SubjectAltName[] = [];
  if (text === undefined || text === '') return names;
  let at = 0;
  while (at < text.length) {
    const colon = text.indexOf(':', at);
    if (colon < 0) return undefined;
    const type = TYPES.get(text.slice(at, colon)) ?? 'other';
    let end: number;
    let value: string;
    if (text[colon + 1] === '"') {
      end = closingQuote(text, colon + 2);
      if (end < 0) return undefined;
      try {
        value = JSON.parse(text.slice(colon + 1, end)) as string;
      } catch {
        return undefined;
      }
    } else {
      const comma = text.indexOf(', ', colon + 1);
      end = comma < 0 ? text.length : comma;
      value = text.slice(colon + 1, end);
      if (type !== 'other' && value.includes('"')) return undefined;
    }
    names.push({ type, value });
    if (end === text.length) return names;
    if (!text.startsWith(', ', end)) return undefined;
    at = end + 2;
    if (at === text.length) return undefined;
  }
  return names;
}

/** Index after the quote that ends a JSON string, or -1. */
function closingQuote(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  return -1;
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
