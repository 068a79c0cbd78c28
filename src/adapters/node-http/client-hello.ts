/**
 * Reads server name and ALPN protocols from a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3; RFC 7301, 3.1): filter chains are matched by
 * them before a certificate can be chosen. Trusts nothing: a hello that breaks the format gives what was understood until then.
 */

export interface ClientHello {
  readonly serverName: string | undefined;
  readonly applicationProtocols: readonly string[];
}

const RECORD_HEADER = 5;
/** A record is at most 16 KiB; no client sends a longer hello. */
export const MAX_HELLO = RECORD_HEADER + 16_384;

/** Bytes needed before `readClientHello` makes sense: the first record whole. */
export function helloLength(bytes: Buffer): number {
  return bytes.length < RECORD_HEADER ? RECORD_HEADER : Math.min(MAX_HELLO, RECORD_HEADER + bytes.readUInt16BE(3));
}

export function readClientHello(bytes: Buffer): ClientHello {
  let serverName: string | undefined;
  let applicationProtocols: string[] = [];
  try {
    // Record header 5, handshake header 4, version 2, random 32.
    let at = RECORD_HEADER + 4 + 2 + 32;
    at += 1 + bytes.readUInt8(at);
    at += 2 + bytes.readUInt16BE(at);
    at += 1 + bytes.readUInt8(at);
    const end = at + 2 + bytes.readUInt16BE(at);
    at += 2;
    while (at + 4 <= end) {
      const type = bytes.readUInt16BE(at);
      const length = bytes.readUInt16BE(at + 2);
      const body = bytes.subarray(at + 4, at + 4 + length);
      if (type === 0 && body.readUInt8(2) === 0) serverName = body.toString('latin1', 5, 5 + body.readUInt16BE(3)).toLowerCase();
      if (type === 16) applicationProtocols = protocolsOf(body);
      at += 4 + length;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return { serverName, applicationProtocols };
}

function protocolsOf(body: Buffer): string[] {
  const protocols: string[] = [];
  for (let at = 2; at < body.length; at += 1 + body.readUInt8(at))
    protocols.push(body.toString('latin1', at + 1, at + 1 + body.readUInt8(at)));
  return protocols;
}
