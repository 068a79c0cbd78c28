/**
 * envoy.extensions.filters.http.rbac.v3.RBAC and RBACPerRoute to plain policies, with every rejection of gRFC A41 and grpc.md rule 41;
 * where Envoy's own constraints are stricter (empty lists, `any: false`) they hold too, because such a policy cannot mean what was meant.
 */
import type { Permission, Principal, RbacConfig, RbacRules } from '../../config/rbac.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { AnyMessage, ParseContext } from '../../core/extension.ts';
import type {
  Permission as PermissionMessage,
  Policy as PolicyMessage,
  Principal as PrincipalMessage,
  RBAC as RulesMessage,
} from '../../proto/gen/envoy/config/rbac/v3/rbac_pb.js';
import type {
  RBAC as FilterMessage,
  RBACPerRoute as OverrideMessage,
} from '../../proto/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.js';
import { parseCidr, parseHeaderMatcher, parsePathMatcher, parseStringMatcher, refuseUnknown } from './parse-matchers.ts';

export const RBAC_TYPE_URL = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';
export const RBAC_OVERRIDE_TYPE_URL = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute';

const NO_RULES: RbacConfig = Object.freeze({ rules: undefined });
/** Deeper nesting of `not`, `and`, `or` is refused before it becomes a stack overflow. */
const MAX_DEPTH = 64;

export function parseRbac(config: AnyMessage, context: ParseContext): RbacConfig {
  if (config.typeUrl === RBAC_OVERRIDE_TYPE_URL)
    throw new ConfigProblem('typed_config', 'RBACPerRoute is only for typed_per_filter_config');
  return parseFilter(context.unpack<FilterMessage>(config), '', context);
}

export function parseRbacOverride(config: AnyMessage, context: ParseContext): RbacConfig {
  if (config.typeUrl !== RBAC_OVERRIDE_TYPE_URL)
    throw new ConfigProblem('typed_per_filter_config', 'an override of the RBAC filter must be an RBACPerRoute');
  const override = context.unpack<OverrideMessage>(config);
  refuseUnknown(override, 'typed_per_filter_config');
  const { rbac } = override;
  // Envoy: "if absent, RBAC is disabled for the route".
  return rbac === undefined ? NO_RULES : parseFilter(rbac, 'rbac.', context);
}

function parseFilter(filter: FilterMessage, path: string, context: ParseContext): RbacConfig {
  refuseUnknown(filter, `${path}rules`);
  if (filter.matcher !== undefined) throw new ConfigProblem(`${path}matcher`, 'matcher trees are not supported; use rules');
  if (filter.shadowRules !== undefined) context.unsupported(`${path}shadow_rules`);
  if (filter.shadowMatcher !== undefined) context.unsupported(`${path}shadow_matcher`);
  if (filter.rules === undefined) return NO_RULES;
  const rules = parseRules(filter.rules, `${path}rules`, context);
  return rules === undefined ? NO_RULES : Object.freeze({ rules });
}

function parseRules(rules: RulesMessage, path: string, context: ParseContext): RbacRules | undefined {
  refuseUnknown(rules, path);
  const action = Number(rules.action);
  if (action === 2) {
    // gRFC A41: with LOG the rules are ignored altogether, as if there were none.
    context.unsupported(`${path}.action LOG`);
    return undefined;
  }
  if (action !== 0 && action !== 1) throw new ConfigProblem(`${path}.action`, `${action} is not an action that inmesh knows`);
  for (const [index, logger] of (rules.auditLoggingOptions?.loggerConfigs ?? []).entries()) {
    const field = `${path}.audit_logging_options.logger_configs[${index}]`;
    // gRFC A59: an unknown logger rejects the resource unless it is optional.
    if (!logger.isOptional) throw new ConfigProblem(field, `audit logger "${logger.auditLogger?.name ?? ''}" is not supported`);
    context.unsupported(field);
  }
  const policies = Object.entries(rules.policies)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, policy]) => parsePolicy(name, policy, `${path}.policies[${JSON.stringify(name)}]`));
  return Object.freeze({ action: action === 0 ? 'allow' : 'deny', policies });
}

function parsePolicy(name: string, policy: PolicyMessage, path: string): RbacRules['policies'][number] {
  refuseUnknown(policy, path);
  if (policy.condition !== undefined) throw new ConfigProblem(`${path}.condition`, 'CEL conditions are not supported (gRFC A41)');
  if (policy.checkedCondition !== undefined)
    throw new ConfigProblem(`${path}.checked_condition`, 'CEL conditions are not supported (gRFC A41)');
  return Object.freeze({
    name,
    permissions: parseList(policy.permissions, `${path}.permissions`, parsePermission, 0),
    principals: parseList(policy.principals, `${path}.principals`, parsePrincipal, 0),
  });
}

type ParseRule<M, R> = (message: M, path: string, depth: number) => R;

function parseList<M, R>(messages: readonly M[], path: string, parse: ParseRule<M, R>, depth: number): readonly R[] {
  if (messages.length === 0) throw new ConfigProblem(path, 'must not be empty');
  return messages.map((message, index) => parse(message, `${path}[${index}]`, depth));
}

function parseSet<M, R>(
  set: Parameters<typeof refuseUnknown>[0],
  messages: readonly M[],
  path: string,
  parse: ParseRule<M, R>,
  depth: number,
): readonly R[] {
  refuseUnknown(set, path);
  return parseList(messages, path, parse, deeper(depth, path));
}

function deeper(depth: number, path: string): number {
  if (depth >= MAX_DEPTH) throw new ConfigProblem(path, `is nested more than ${MAX_DEPTH} deep`);
  return depth + 1;
}

function parsePermission(message: PermissionMessage, path: string, depth: number): Permission {
  refuseUnknown(message, path);
  const { rule } = message;
  switch (rule.case) {
    case 'any':
      return any(rule.value, path);
    case 'andRules':
      return { kind: 'and', rules: parseSet(rule.value, rule.value.rules, `${path}.and_rules`, parsePermission, depth) };
    case 'orRules':
      return { kind: 'or', rules: parseSet(rule.value, rule.value.rules, `${path}.or_rules`, parsePermission, depth) };
    case 'notRule':
      return { kind: 'not', rule: parsePermission(rule.value, `${path}.not_rule`, deeper(depth, path)) };
    case 'header':
      return { kind: 'header', matcher: parseHeaderMatcher(rule.value, `${path}.header`) };
    case 'urlPath':
      return { kind: 'path', matcher: parsePathMatcher(rule.value, `${path}.url_path`) };
    case 'destinationIp':
      return { kind: 'destination-ip', cidr: parseCidr(rule.value, `${path}.destination_ip`) };
    case 'destinationPort':
      if (rule.value > 65_535) throw new ConfigProblem(`${path}.destination_port`, `${rule.value} is not a port`);
      return { kind: 'destination-port', port: rule.value };
    case 'metadata':
      return { kind: 'metadata', invert: rule.value.invert };
    case 'requestedServerName':
      return { kind: 'server-name', matcher: parseStringMatcher(rule.value, `${path}.requested_server_name`) };
    default:
      throw new ConfigProblem(path, `this kind of permission (${rule.case ?? 'none that inmesh knows'}) is not supported (gRFC A41)`);
  }
}

function parsePrincipal(message: PrincipalMessage, path: string, depth: number): Principal {
  refuseUnknown(message, path);
  const { identifier: id } = message;
  switch (id.case) {
    case 'any':
      return any(id.value, path);
    case 'andIds':
      return { kind: 'and', ids: parseSet(id.value, id.value.ids, `${path}.and_ids`, parsePrincipal, depth) };
    case 'orIds':
      return { kind: 'or', ids: parseSet(id.value, id.value.ids, `${path}.or_ids`, parsePrincipal, depth) };
    case 'notId':
      return { kind: 'not', id: parsePrincipal(id.value, `${path}.not_id`, deeper(depth, path)) };
    case 'authenticated': {
      const name = id.value.principalName;
      refuseUnknown(id.value, `${path}.authenticated`);
      return {
        kind: 'authenticated',
        matcher: name === undefined ? undefined : parseStringMatcher(name, `${path}.authenticated.principal_name`),
      };
    }
    // gRFC A41: all three are the address of the peer.
    case 'sourceIp':
      return { kind: 'remote-ip', cidr: parseCidr(id.value, `${path}.source_ip`) };
    case 'directRemoteIp':
      return { kind: 'remote-ip', cidr: parseCidr(id.value, `${path}.direct_remote_ip`) };
    case 'remoteIp':
      return { kind: 'remote-ip', cidr: parseCidr(id.value, `${path}.remote_ip`) };
    case 'header':
      return { kind: 'header', matcher: parseHeaderMatcher(id.value, `${path}.header`) };
    case 'urlPath':
      return { kind: 'path', matcher: parsePathMatcher(id.value, `${path}.url_path`) };
    case 'metadata':
      return { kind: 'metadata', invert: id.value.invert };
    default:
      throw new ConfigProblem(path, `this kind of principal (${id.case ?? 'none that inmesh knows'}) is not supported (gRFC A41)`);
  }
}

function any(value: boolean, path: string): { readonly kind: 'any' } {
  if (!value) throw new ConfigProblem(`${path}.any`, 'must be true');
  return { kind: 'any' };
}
