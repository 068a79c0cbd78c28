/** envoy.config.rbac.v3.RBAC as plain frozen types; compiled by `filters/rbac/`. */
import type { CidrConfig, HeaderMatcherConfig, StringMatcherConfig } from './matchers.ts';

export interface RbacConfig {
  /** Undefined rules: the filter does nothing (gRFC A41). */
  readonly rules: RbacRules | undefined;
}

export interface RbacRules {
  readonly action: 'allow' | 'deny' | 'log';
  /** Sorted by name. */
  readonly policies: readonly {
    readonly name: string;
    readonly permissions: readonly Permission[];
    readonly principals: readonly Principal[];
  }[];
}

export type Permission =
  | { readonly kind: 'any' }
  | { readonly kind: 'and' | 'or'; readonly rules: readonly Permission[] }
  | { readonly kind: 'not'; readonly rule: Permission }
  | { readonly kind: 'header'; readonly matcher: HeaderMatcherConfig }
  | { readonly kind: 'path'; readonly matcher: StringMatcherConfig }
  | { readonly kind: 'destination-ip'; readonly cidr: CidrConfig }
  | { readonly kind: 'destination-port'; readonly port: number }
  | { readonly kind: 'destination-port-range'; readonly start: number; readonly end: number }
  | { readonly kind: 'server-name'; readonly matcher: StringMatcherConfig }
  /** Dynamic metadata does not exist here: never matches, unless inverted. */
  | { readonly kind: 'metadata'; readonly invert: boolean };

export type Principal =
  | { readonly kind: 'any' }
  | { readonly kind: 'and' | 'or'; readonly ids: readonly Principal[] }
  | { readonly kind: 'not'; readonly id: Principal }
  /** No matcher: any TLS connection, also without a client certificate (gRFC A41, and Envoy alike). */
  | { readonly kind: 'authenticated'; readonly matcher: StringMatcherConfig | undefined }
  | { readonly kind: 'remote-ip'; readonly cidr: CidrConfig }
  | { readonly kind: 'header'; readonly matcher: HeaderMatcherConfig }
  | { readonly kind: 'path'; readonly matcher: StringMatcherConfig }
  | { readonly kind: 'metadata'; readonly invert: boolean };

function reads(rule: Permission | Principal): boolean {
  switch (rule.kind) {
    case 'metadata':
      return true;
    case 'not':
      return reads('rule' in rule ? rule.rule : rule.id);
    case 'and':
    case 'or':
      return 'rules' in rule ? rule.rules.some(reads) : rule.ids.some(reads);
    default:
      return false;
  }
}

/** Whether a rule decides by dynamic metadata. */
export function readsMetadata({ rules }: RbacConfig): boolean {
  return rules?.policies.some(({ permissions, principals }) => permissions.some(reads) || principals.some(reads)) ?? false;
}
