/** Which hosts belong to the mesh: patterns such as `reviews`, `reviews:9080`, `*.svc.cluster.local`, `api.*`, `*`. Case does not matter. */

interface Pattern {
  readonly kind: 'exact' | 'suffix' | 'prefix' | 'any';
  readonly text: string;
  /** Empty: any port. */
  readonly port: string;
}

export interface HostPatterns {
  readonly patterns: readonly string[];
  matches(authority: string): boolean;
}

/** Host and port of an authority; IPv6 literals stay in brackets. The port is empty when there is none. */
export function splitAuthority(authority: string): { readonly host: string; readonly port: string } {
  const colon = authority.lastIndexOf(':');
  if (colon < 0 || authority.indexOf(']', colon) >= 0) return { host: authority, port: '' };
  const port = authority.slice(colon + 1);
  return /^\d+$/.test(port) ? { host: authority.slice(0, colon), port } : { host: authority, port: '' };
}

function parse(pattern: string): Pattern {
  const { host, port } = splitAuthority(pattern.trim().toLowerCase());
  if (host === '*') return { kind: 'any', text: '', port };
  if (host.startsWith('*')) return { kind: 'suffix', text: host.slice(1), port };
  if (host.endsWith('*')) return { kind: 'prefix', text: host.slice(0, -1), port };
  return { kind: 'exact', text: host, port };
}

function matchesHost(pattern: Pattern, host: string): boolean {
  switch (pattern.kind) {
    case 'any':
      return true;
    case 'exact':
      return host === pattern.text;
    // A wildcard stands for at least one character, as in virtual host domains (Envoy R-4).
    case 'suffix':
      return host.length > pattern.text.length && host.endsWith(pattern.text);
    case 'prefix':
      return host.length > pattern.text.length && host.startsWith(pattern.text);
  }
}

export function hostPatterns(patterns: readonly string[]): HostPatterns {
  const parsed = patterns.filter((pattern) => pattern.trim() !== '').map(parse);
  return {
    patterns,
    matches(authority: string): boolean {
      const { host, port } = splitAuthority(authority);
      return parsed.some((pattern) => (pattern.port === '' || pattern.port === port) && matchesHost(pattern, host));
    },
  };
}

/** Why something is no host pattern, to be put behind it; undefined when it is one. */
export function patternProblem(pattern: string): string | undefined {
  const { host } = splitAuthority(pattern.trim());
  const body = host === '*' ? '' : host.startsWith('*') ? host.slice(1) : host.endsWith('*') ? host.slice(0, -1) : host;
  if (body.includes('*')) return 'has a * that stands neither alone, nor at one end of the host only';
  if (body === '' && host !== '*') return 'is empty';
  return /^[\w.:[\]-]*$/u.test(body) ? undefined : 'is not a host pattern';
}

/** Exact hosts among the patterns: names that can be asked for before anybody calls them. */
export function exactHosts(patterns: readonly string[]): readonly string[] {
  return patterns.map((pattern) => pattern.trim().toLowerCase()).filter((pattern) => pattern !== '' && !pattern.includes('*'));
}
