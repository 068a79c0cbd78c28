/** Who sent a call to a gRPC server: addresses, and the identity that its certificate proved (gRFC A41, Envoy T-3). */
import type { Metadata } from '@grpc/grpc-js';
import type { PeerCertificate } from 'node:tls';
import type { Peer, PeerTls } from '../../core/call.ts';
import { parseSubjectAltNames, rfc2253 } from '../../core/peer-identity.ts';

/** Key of grpc-js's opaque metadata values; never sent. */
const PEER_KEY = 'inmesh.peer';

export interface Addresses {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}

/**
 * Who sent the call that a handler of a grpc-js server is running: `peerOf(call)?.tls?.uriSans[0]` is its SPIFFE id.
 * Undefined for a call that did not come through the mesh.
 */
export function peerOf(call: { readonly metadata: Metadata }): Peer | undefined {
  return call.metadata.getOpaque(PEER_KEY) as Peer | undefined;
}

export function rememberPeer(metadata: Metadata, peer: Peer): void {
  metadata.setOpaque(PEER_KEY, peer);
}

export function peerFrom(addresses: Addresses, tls: PeerTls | undefined): Peer {
  return {
    remoteAddress: unmapped(addresses.remoteAddress ?? ''),
    remotePort: addresses.remotePort ?? 0,
    localAddress: unmapped(addresses.localAddress ?? ''),
    localPort: addresses.localPort ?? 0,
    tls,
  };
}

/** A dual-stack socket shows IPv4 peers as `::ffff:a.b.c.d`; rules are written for IPv4. */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

const ANONYMOUS: PeerTls = { authenticated: false, uriSans: [], dnsSans: [], subject: '' };

/** `authenticated`: the certificate was asked for and verified. A certificate whose names cannot be read proves nobody. */
export function peerTls(certificate: PeerCertificate | undefined, authenticated: boolean, subject: string | undefined): PeerTls {
  const names = certificate === undefined || !authenticated ? undefined : parseSubjectAltNames(certificate.subjectaltname);
  if (names === undefined) return ANONYMOUS;
  return {
    authenticated,
    uriSans: names.filter((name) => name.type === 'uri').map((name) => name.value),
    dnsSans: names.filter((name) => name.type === 'dns').map((name) => name.value),
    subject: rfc2253(subject),
  };
}
