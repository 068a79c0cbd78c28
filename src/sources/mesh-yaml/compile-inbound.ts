/** One port of `inbound:` as a server listener: TLS that requires a client certificate, and the rules as RBAC filters, deny before allow. */
import type { HttpFilterConfig, ListenerConfig } from '../../config/listener.ts';
import type { Permission, Principal, RbacConfig, RbacRules } from '../../config/rbac.ts';
import { NO_HEADER_MUTATION } from '../../config/routes.ts';
import type { StringMatcherConfig } from '../../config/matchers.ts';
import { compileHeaders, compileMatch, compileMethods } from './compile-match.ts';
import type { CertificateStrategy } from './compile-tls.ts';
import { downstreamTls } from './compile-tls.ts';
import { inboundName, RBAC_TYPE, ROUTER_FILTER } from './names.ts';
import type { InboundSpec, RuleSpec } from './types.ts';

export function compileInbound(spec: InboundSpec, certificates: CertificateStrategy): ListenerConfig {
  const name = inboundName(spec.host, spec.port);
  const filters: HttpFilterConfig[] = [];
  if (spec.deny !== undefined && spec.deny.length > 0) filters.push(rbac('deny', spec.deny));
  if (spec.allow !== undefined) filters.push(rbac('allow', spec.allow));
  filters.push(ROUTER_FILTER);
  return {
    name,
    api: undefined,
    address: { host: spec.host ?? '0.0.0.0', port: spec.port },
    direction: 'inbound',
    filterChains: [
      {
        name: 'default',
        match: {
          destinationPort: undefined,
          prefixRanges: [],
          serverNames: [],
          transportProtocol: '',
          applicationProtocols: [],
          directSourcePrefixRanges: [],
          sourceType: 'any',
          sourcePrefixRanges: [],
          sourcePorts: [],
        },
        tls: spec.mtls === 'strict' ? downstreamTls(certificates) : undefined,
        http: {
          routeConfigName: undefined,
          routeConfig: {
            name,
            virtualHosts: [
              {
                name,
                domains: ['*'],
                routes: [
                  {
                    name: '',
                    match: compileMatch(undefined, false),
                    action: { kind: 'serve' },
                    headers: NO_HEADER_MUTATION,
                    filterOverrides: {},
                  },
                ],
                headers: NO_HEADER_MUTATION,
                retry: undefined,
                filterOverrides: {},
                requireTls: 'none',
                includeAttemptCount: false,
              },
            ],
            headers: NO_HEADER_MUTATION,
            mostSpecificHeaderMutationsWins: false,
            ignorePortInHostMatching: false,
            maxDirectResponseBytes: 4096,
          },
          filters,
          maxStreamDurationMs: undefined,
          stripPort: 'none',
          statPrefix: '',
        },
      },
    ],
    defaultFilterChain: undefined,
  };
}

function rbac(action: 'allow' | 'deny', rules: readonly RuleSpec[]): HttpFilterConfig {
  const width = String(rules.length - 1).length;
  const policies: RbacRules['policies'] = rules.map((rule, index) => ({
    // Padded, because policies are sorted by name.
    name: `${action}[${String(index).padStart(width, '0')}]`,
    permissions: [permission(rule)],
    principals: principals(rule.from),
  }));
  const config: RbacConfig = { rules: { action, policies } };
  return { name: `inmesh.${action}`, typeUrl: RBAC_TYPE, disabled: false, terminal: false, config };
}

function permission(rule: RuleSpec): Permission {
  const all: Permission[] = [];
  for (const matcher of [...compileMethods(rule.methods), ...compileHeaders(rule.headers)]) all.push({ kind: 'header', matcher });
  if (rule.paths !== undefined) all.push(oneOf(rule.paths.flatMap(pathPermissions)));
  const [first] = all;
  if (first === undefined) return { kind: 'any' };
  return all.length === 1 ? first : { kind: 'and', rules: all };
}

function oneOf(rules: readonly Permission[]): Permission {
  const [first] = rules;
  return first !== undefined && rules.length === 1 ? first : { kind: 'or', rules };
}

/** `/x/**` is `/x` itself and everything below, never `/xy`. */
function pathPermissions(pattern: string): readonly Permission[] {
  const path = (kind: StringMatcherConfig['kind'], value: string): Permission => ({
    kind: 'path',
    matcher: { kind, value, ignoreCase: false },
  });
  if (!pattern.endsWith('/**')) return [path('exact', pattern)];
  const value = pattern.slice(0, -3);
  return value === '' ? [path('prefix', '/')] : [path('exact', value), path('prefix', `${value}/`)];
}

function principals(from: readonly string[] | undefined): readonly Principal[] {
  if (from === undefined) return [{ kind: 'any' }];
  return from.map((id): Principal => {
    // Not `matcher: undefined`: that accepts a TLS peer without any certificate (gRFC A41).
    if (id === '*') return { kind: 'authenticated', matcher: { kind: 'prefix', value: 'spiffe://', ignoreCase: false } };
    const matcher: StringMatcherConfig = id.endsWith('/*')
      ? { kind: 'prefix', value: id.slice(0, -1), ignoreCase: false }
      : { kind: 'exact', value: id, ignoreCase: false };
    return { kind: 'authenticated', matcher };
  });
}
