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

/** `C` is a host as it is configured, `H` what is made of it when it is first asked for: of thousands few are. */
export class VirtualHosts<C extends Named, H> {
  readonly #exact = new Map<string, C>();
  readonly #suffixes = new Wildcards<C>();
  readonly #prefixes = new Wildcards<C>();
  #any: C | undefined;
  readonly #ignorePort: boolean;
  readonly #make: (host: C) => H;
  readonly #made = new Map<C, H>();
  readonly #remembered = new Map<string, H | undefined>();
  /** The authority asked for last: comparing it costs less than a look-up. */
  #lastAuthority: string | undefined;
  #last: H | undefined;

  constructor(hosts: readonly C[], ignorePort: boolean, make: (host: C) => H) {
    this.#ignorePort = ignorePort;
    this.#make = make;
    for (const host of hosts) for (const domain of host.domains) this.#add(asciiLower(domain), host);
  }

  /** Those that were asked for. */
  made(): Iterable<H> {
    return this.#made.values();
  }

  /** Makes a host before it is asked for. */
  prepare(host: C): H {
    let made = this.#made.get(host);
    if (made === undefined) this.#made.set(host, (made = this.#make(host)));
    return made;
  }

  #add(domain: string, host: C): void {
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
    const host = this.#search(authority);
    const found = host === undefined ? undefined : this.prepare(host);
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(authority, found);
    return found;
  }

  #search(authority: string): C | undefined {
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
