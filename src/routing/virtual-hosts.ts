/** Authority → virtual host: exact, then longest suffix, then longest prefix, then `*` (Envoy, gRFC A28). */
import { asciiLower } from '../matching/string.ts';

/** Authorities whose answer is remembered. An application uses few; a server may be asked for many. */
const MAX_REMEMBERED = 256;

/** Wildcards of one kind, by length of their fixed part. */
class Wildcards<H> {
  readonly #byText = new Map<string, H>();
  #lengths: readonly number[] = [];

  get size(): number {
    return this.#byText.size;
  }

  /** The first host that claims a domain keeps it; decoding rejects duplicates. */
  add(fixed: string, host: H): void {
    if (this.#byText.has(fixed)) return;
    this.#byText.set(fixed, host);
    this.#lengths = [...new Set([...this.#lengths, fixed.length])].sort((a, b) => b - a);
  }

  /** `*` stands for at least one character. */
  find(authority: string, fixedPart: (length: number) => string): H | undefined {
    for (const length of this.#lengths) {
      if (length >= authority.length) continue;
      const host = this.#byText.get(fixedPart(length));
      if (host !== undefined) return host;
    }
    return undefined;
  }
}

/** Without the text behind the last colon, unless that stands inside an IPv6 literal. */
export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(':');
  return colon < 0 || authority.lastIndexOf(']') > colon ? authority : authority.slice(0, colon);
}

export interface Named {
  readonly domains: readonly string[];
}

export class VirtualHosts<H extends Named> {
  readonly #exact = new Map<string, H>();
  readonly #suffixes = new Wildcards<H>();
  readonly #prefixes = new Wildcards<H>();
  #any: H | undefined;
  readonly #ignorePort: boolean;
  readonly #remembered = new Map<string, H | undefined>();
  /** The authority asked for last: comparing it costs less than a look-up. */
  #lastAuthority: string | undefined;
  #last: H | undefined;

  constructor(hosts: readonly H[], ignorePort: boolean) {
    this.#ignorePort = ignorePort;
    for (const host of hosts) for (const domain of host.domains) this.#add(asciiLower(domain), host);
  }

  #add(domain: string, host: H): void {
    if (domain === '*') this.#any ??= host;
    else if (domain.startsWith('*')) {
      // A second asterisk makes the pattern illegal: it never matches (gRFC A28, rule 17).
      if (!domain.includes('*', 1)) this.#suffixes.add(domain.slice(1), host);
    } else if (domain.endsWith('*')) {
      if (domain.indexOf('*') === domain.length - 1) this.#prefixes.add(domain.slice(0, -1), host);
    } else if (!domain.includes('*') && !this.#exact.has(domain)) this.#exact.set(domain, host);
  }

  find(authority: string): H | undefined {
    if (authority === this.#lastAuthority) return this.#last;
    const known = this.#remembered.get(authority);
    if (known !== undefined) {
      this.#lastAuthority = authority;
      return (this.#last = known);
    }
    const found = this.#search(authority);
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(authority, found);
    return found;
  }

  #search(authority: string): H | undefined {
    if (this.#exact.size + this.#suffixes.size + this.#prefixes.size === 0) return this.#any;
    // with domains to choose from, a request without a host has no route.
    if (authority === '') return undefined;
    const host = asciiLower(this.#ignorePort ? withoutPort(authority) : authority);
    return (
      this.#exact.get(host) ??
      this.#suffixes.find(host, (length) => host.slice(host.length - length)) ??
      this.#prefixes.find(host, (length) => host.slice(0, length)) ??
      this.#any
    );
  }
}
