/**
 * Reads the SAN text of Node (`subjectaltname` of a `PeerCertificate`, `subjectAltName` of an `X509Certificate`) into typed names.
 * Values with a comma, a quote or a control character come as JSON strings there, so a name cannot smuggle in another one;
 * a text that breaks these rules is refused whole.
 */

export type SubjectAltNameType = 'dns' | 'uri' | 'email' | 'ip' | 'other';

export interface SubjectAltName {
  readonly type: SubjectAltNameType;
  readonly value: string;
}

const TYPES: Readonly<Record<string, SubjectAltNameType>> = { DNS: 'dns', URI: 'uri', email: 'email', 'IP Address': 'ip' };

/** Undefined when the text is not what Node writes. */
export function parseSubjectAltNames(text: string | undefined): readonly SubjectAltName[] | undefined {
  const names: SubjectAltName[] = [];
  if (text === undefined || text === '') return names;
  let at = 0;
  while (at < text.length) {
    const colon = text.indexOf(':', at);
    if (colon < 0) return undefined;
    const type = TYPES[text.slice(at, colon)] ?? 'other';
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

/** For error messages. */
export function describeNames(names: readonly SubjectAltName[]): string {
  return names.length === 0 ? 'a certificate without names' : names.map((name) => `${name.type}:${JSON.stringify(name.value)}`).join(', ');
}

/** Looks like the error of Node's own name check, so that everybody who classifies TLS errors knows it. */
export function identityError(message: string, code = 'ERR_TLS_CERT_ALTNAME_INVALID'): Error {
  return Object.assign(new Error(message), { code });
}
