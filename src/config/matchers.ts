/** Predicates as data (envoy.type.matcher.v3); compiled to functions by `matching/`. */

export interface StringMatcherConfig {
  readonly kind: 'exact' | 'prefix' | 'suffix' | 'contains' | 'regex';
  /** The text, or the RE2 pattern (full match). */
  readonly value: string;
  /** Without effect on a regex. */
  readonly ignoreCase: boolean;
}

/** envoy.config.route.v3.HeaderMatcher; semantics in Envoy's table R-21. */
export interface HeaderMatcherConfig {
  /** Lower case; may be `:method`, `:path`, `:authority`, `:scheme`. */
  readonly name: string;
  readonly match:
    | { readonly kind: 'present'; readonly present: boolean }
    | { readonly kind: 'string'; readonly matcher: StringMatcherConfig }
    /** Half-open interval of signed integers. */
    | { readonly kind: 'range'; readonly start: bigint; readonly end: bigint };
  readonly invert: boolean;
  readonly treatMissingAsEmpty: boolean;
}

export interface QueryParameterMatcherConfig {
  readonly name: string;
  readonly match:
    | { readonly kind: 'present'; readonly present: boolean }
    | { readonly kind: 'string'; readonly matcher: StringMatcherConfig };
}

/** envoy.type.v3.FractionalPercent: the event happens when random mod denominator < numerator (Envoy D3). */
export interface FractionConfig {
  readonly numerator: number;
  readonly denominator: 100 | 10_000 | 1_000_000;
}

export interface CidrConfig {
  readonly address: string;
  readonly prefixLength: number;
}
