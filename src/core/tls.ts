/** What connections and servers need to know to do TLS; implemented in `security/`. Nothing here ever falls back to plaintext. */
import type { PeerCertificate, SecureContext } from 'node:tls';

/** Material in PEM; for libraries that do not take a `SecureContext`. */
export interface TlsMaterial {
  readonly certificateChain: Buffer | undefined;
  readonly privateKey: Buffer | undefined;
  /** Trust anchors; undefined only where the configuration asks for the system's roots or for no verification at all. */
  readonly roots: Buffer | undefined;
}

/** The client side of one cluster's transport socket. */
export interface ClientSecurity {
  /** Grows with every rotation: a new value means new connections must use a new context. */
  readonly generation: number;
  /** The current context, or undefined while certificates are not there yet or are unreadable: then calls fail, never go in the clear. */
  secureContext(): SecureContext | undefined;
  material(): TlsMaterial | undefined;
  /** Why `secureContext()` is undefined. */
  readonly problem: string;
  /** A DNS name for SNI, or undefined to send none (never an IP address: Node 26 throws). */
  readonly serverName: string | undefined;
  /** True: the endpoint's hostname, where it has one, is sent instead of `serverName` (gRFC A101). */
  readonly autoHostSni?: boolean;
  readonly alpn: readonly string[];
  /** Whether the chain is verified against roots at all. */
  readonly verifiesChain: boolean;
  /** For `checkServerIdentity`: an error when no SAN matcher accepts the certificate (Envoy T-2, T-3). */
  verifyPeer(hostname: string, certificate: PeerCertificate): Error | undefined;
  onRotate(listener: () => void): () => void;
}

/** The server side of one filter chain's transport socket. */
export interface ServerSecurity {
  readonly generation: number;
  secureContext(): SecureContext | undefined;
  material(): TlsMaterial | undefined;
  readonly problem: string;
  readonly requireClientCertificate: boolean;
  /** True when client certificates are asked for and verified. */
  readonly verifiesClients: boolean;
  readonly alpn: readonly string[];
  verifyPeer(certificate: PeerCertificate): Error | undefined;
  onRotate(listener: () => void): () => void;
}

const ISTIO = 'istio';

/**
 * Protocols to offer (ALPN) to a server that is called over HTTP/1.1 or HTTP/2; `configured`: what the cluster says, if anything. What istiod
 * writes there ("istio" and others) its own proxy replaces by names that say the protocol (filter `istio.alpn`), and the servers behind Istio's
 * sidecars choose by them.
 */
export function offeredProtocols(configured: readonly string[], http2: boolean): readonly string[] {
  if (configured.includes(ISTIO)) return http2 ? ['istio-h2', ISTIO, 'h2'] : ['istio-http/1.1', ISTIO, 'http/1.1'];
  return configured.length > 0 ? configured : [http2 ? 'h2' : 'http/1.1'];
}
