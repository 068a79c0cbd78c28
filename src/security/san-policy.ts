/** The SAN matchers in force: those of the configuration with those that come with its trust anchors over SDS, compiled when they change. */
import type { SanMatcherConfig } from '../config/tls.ts';
import type { SubjectAltName } from '../core/peer-identity.ts';
import { compileSanMatchers } from './san-matcher.ts';

type Accepts = (names: readonly SubjectAltName[]) => boolean;

export class SanPolicy {
  readonly #fixed: readonly SanMatcherConfig[];
  readonly #dynamic: (() => readonly SanMatcherConfig[]) | undefined;
  #compiledFor: readonly SanMatcherConfig[] | undefined;
  #accepts: Accepts | undefined;

  constructor(fixed: readonly SanMatcherConfig[], dynamic: (() => readonly SanMatcherConfig[]) | undefined) {
    this.#fixed = fixed;
    this.#dynamic = dynamic;
    if (dynamic === undefined) this.#accepts = compiled(fixed);
  }

  /** Undefined: any identity of the trust anchors (Envoy T-2, gRFC A29). */
  current(): Accepts | undefined {
    if (this.#dynamic === undefined) return this.#accepts;
    const added = this.#dynamic();
    if (added !== this.#compiledFor) {
      this.#compiledFor = added;
      this.#accepts = compiled([...this.#fixed, ...added]);
    }
    return this.#accepts;
  }
}

function compiled(matchers: readonly SanMatcherConfig[]): Accepts | undefined {
  return matchers.length === 0 ? undefined : compileSanMatchers(matchers);
}
