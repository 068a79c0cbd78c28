/**
 * Resource names: listener name templates of the bootstrap, and `xdstp:` names in canonical form (gRFC A47, xRFC TP1).
 * Says nothing about which server a name belongs to.
 */

/** RFC 3986 `pchar` and `/` stay as they are; everything else becomes `%XX` of its UTF-8 bytes (gRFC A47). */
export function percentEncode(text: string): string {
  return encodeURIComponent(text.replace(/\p{Cs}/gu, '\ufffd')).replace(/%(?:2F|3A|40|24|26|2B|2C|3B|3D)/g, decodeURIComponent);
}

/** Replaces every `%s`; in an `xdstp:` template the value is percent-encoded. */
export function applyTemplate(template: string, value: string): string {
  const inserted = template.startsWith('xdstp:') ? percentEncode(value) : value;
  return canonicalName(template.replaceAll('%s', () => inserted));
}

/** `host` without `:port`; IPv6 keeps its brackets. */
export function withoutPort(authority: string): string {
  return authority.replace(/^(\[[^\]]*\]|[^:]*):\d*$/, '$1');
}

/**
 * Names of the client listeners to ask for, best first: the authority with its port, without it, and by the bootstrap's
 * `client_default_listener_resource_name_template`. No name twice.
 */
export function listenerCandidates(authority: string, template: string): readonly string[] {
  return [...new Set([authority, withoutPort(authority), applyTemplate(template, authority)])];
}

/** `%s` is the listening address exactly as bound, IPv6 in brackets (gRFC A36). */
export function serverListenerName(template: string, host: string, port: number): string {
  const address = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return applyTemplate(template, `${address}:${port}`);
}

const XDSTP = /^xdstp:\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?(#.*)?$/;

/** The authority of an `xdstp:` name, possibly empty; undefined for an old-style name, which belongs to the top-level servers. */
export function authorityOf(name: string): string | undefined {
  if (!name.startsWith('xdstp:')) return undefined;
  return XDSTP.exec(name)?.[1];
}

/**
 * Context parameters of an `xdstp:` name in order of their keys, one value for each key (the last wins); other names unchanged.
 * Caching and matching use this form only.
 */
export function canonicalName(name: string): string {
  if (!name.startsWith('xdstp:')) return name;
  const parts = XDSTP.exec(name);
  const query = parts?.[3];
  if (parts === null || query === undefined) return name;
  const parameters = new Map<string, string>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals < 0) parameters.set(pair, '');
    else parameters.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const sorted = [...parameters].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => `${key}=${value}`);
  return `xdstp://${parts[1]}${parts[2] ?? ''}${sorted.length === 0 ? '' : `?${sorted.join('&')}`}${parts[4] ?? ''}`;
}

/**
 * The collection that an `xdstp:` name is a member of: the same name with `*` for its last part (xRFC TP1; Envoy X-61). Undefined for
 * old-style names, which are in none.
 */
export function collectionOf(name: string): string | undefined {
  if (!name.startsWith('xdstp:')) return undefined;
  const parts = XDSTP.exec(name);
  const path = parts?.[2];
  if (parts === null || path === undefined) return undefined;
  const slash = path.lastIndexOf('/');
  return `xdstp://${parts[1]}${path.slice(0, slash + 1)}*${parts[3] === undefined || parts[3] === '' ? '' : `?${parts[3]}`}`;
}

/** The name that stands for all resources of a type (Envoy X-50). */
export const EVERYTHING = '*';

/** `xdstp://authority/type/path/*`, or everything. */
export function isCollection(name: string): boolean {
  return name === EVERYTHING || (name.startsWith('xdstp:') && /\/\*(?:[?#]|$)/.test(name));
}

/** Whether one of `names` is the collection that `name` is in. */
export function inCollection(name: string, names: { has(name: string): boolean }): boolean {
  if (names.has(EVERYTHING)) return name !== EVERYTHING;
  const collection = collectionOf(name);
  return collection !== undefined && collection !== name && names.has(collection);
}
