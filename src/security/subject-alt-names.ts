/** How names in certificates are shown in errors; they are read in `core/peer-identity.ts`. */
import type { SubjectAltName } from '../core/peer-identity.ts';

/** For error messages. */
export function describeNames(names: readonly SubjectAltName[]): string {
  return names.length === 0 ? 'a certificate without names' : names.map((name) => `${name.type}:${JSON.stringify(name.value)}`).join(', ');
}

/** Looks like the error of Node's own name check, so that everybody who classifies TLS errors knows it. */
export function identityError(message: string, code = 'ERR_TLS_CERT_ALTNAME_INVALID'): Error {
  return Object.assign(new Error(message), { code });
}
