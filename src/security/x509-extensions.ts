/** The extensions of a certificate that Node's `X509Certificate` does not show: key usage, path length, and which are critical (RFC 5280, 4.2). */

export interface CertificateExtensions {
  /** keyCertSign or cRLSign is set. */
  readonly signsOthers: boolean;
  /** pathLenConstraint; undefined: none. */
  readonly pathLength: number | undefined;
  /** It limits what names may stand below it. */
  readonly nameConstraints: boolean;
}

interface Element {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

const SEQUENCE = 0x30;
const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
/** `[3]` of TBSCertificate. */
const EXTENSIONS = 0xa3;
const KEY_USAGE = '551d0f';
const BASIC_CONSTRAINTS = '551d13';
const NAME_CONSTRAINTS = '551d1e';
const KEY_CERT_SIGN_OR_CRL_SIGN = 0b0000_0110;

class Malformed extends Error {}

function elementAt(der: Buffer, at: number, limit: number): Element {
  const tag = der[at];
  let length = der[at + 1];
  let start = at + 2;
  if (tag === undefined || length === undefined) throw new Malformed();
  if (length >= 0x80) {
    const size = length & 0x7f;
    if (size === 0 || size > 4) throw new Malformed();
    length = 0;
    for (let i = 0; i < size; i++) length = length * 256 + (der[start + i] ?? Number.NaN);
    start += size;
  }
  const end = start + length;
  if (!(end <= limit)) throw new Malformed();
  return { tag, start, end };
}

function childrenOf(der: Buffer, parent: Element): Element[] {
  const children: Element[] = [];
  for (let at = parent.start; at < parent.end;) {
    const child = elementAt(der, at, parent.end);
    children.push(child);
    at = child.end;
  }
  return children;
}

function only(der: Buffer, start: number, end: number, tag: number): Element {
  const found = elementAt(der, start, end);
  if (found.tag !== tag || found.end !== end) throw new Malformed();
  return found;
}

function read(der: Buffer): CertificateExtensions {
  const [body] = childrenOf(der, only(der, 0, der.length, SEQUENCE));
  if (body?.tag !== SEQUENCE) throw new Malformed();
  const wrapper = childrenOf(der, body).find(({ tag }) => tag === EXTENSIONS);
  let signsOthers = false;
  let pathLength: number | undefined;
  let nameConstraints = false;
  const list = wrapper === undefined ? [] : childrenOf(der, only(der, wrapper.start, wrapper.end, SEQUENCE));
  for (const extension of list) {
    const parts = childrenOf(der, extension);
    const [id] = parts;
    const value = parts.at(-1);
    if (id === undefined || value?.tag !== OCTET_STRING) throw new Malformed();
    const name = der.toString('hex', id.start, id.end);
    if (name === KEY_USAGE) {
      const bits = only(der, value.start, value.end, BIT_STRING);
      signsOthers = ((der[bits.start + 1] ?? 0) & KEY_CERT_SIGN_OR_CRL_SIGN) !== 0;
    } else if (name === BASIC_CONSTRAINTS) {
      const length = childrenOf(der, only(der, value.start, value.end, SEQUENCE)).find(({ tag }) => tag !== BOOLEAN);
      if (length === undefined) continue;
      if (length.tag !== INTEGER || length.end - length.start > 4 || (der[length.start] ?? 0x80) >= 0x80) throw new Malformed();
      pathLength = der.readUIntBE(length.start, length.end - length.start);
    } else if (name === NAME_CONSTRAINTS) nameConstraints = true;
  }
  return { signsOthers, pathLength, nameConstraints };
}

/** Undefined when `der` is not what a certificate looks like. */
export function certificateExtensions(der: Buffer): CertificateExtensions | undefined {
  try {
    return read(der);
  } catch (error) {
    if (error instanceof Malformed || error instanceof RangeError) return undefined;
    throw error;
  }
}
