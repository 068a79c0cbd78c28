/** RbacConfig as envoy.extensions.filters.http.rbac.v3.RBAC. */
import type { Permission, Principal, RbacConfig } from '../../config/rbac.ts';
import type { JsonObject } from './json.ts';
import { encodeCidr, encodeHeader, encodeString } from './matchers.ts';

export function encodeRbac(config: RbacConfig): JsonObject {
  const { rules } = config;
  if (rules === undefined) return {};
  const policies: Record<string, JsonObject> = {};
  for (const policy of rules.policies) {
    policies[policy.name] = { permissions: policy.permissions.map(encodePermission), principals: policy.principals.map(encodePrincipal) };
  }
  return { rules: { action: rules.action.toUpperCase(), policies } };
}

function encodePermission(permission: Permission): JsonObject {
  switch (permission.kind) {
    case 'any':
      return { any: true };
    case 'and':
    case 'or':
      return { [`${permission.kind}_rules`]: { rules: permission.rules.map(encodePermission) } };
    case 'not':
      return { not_rule: encodePermission(permission.rule) };
    case 'header':
      return { header: encodeHeader(permission.matcher) };
    case 'path':
      return { url_path: { path: encodeString(permission.matcher) } };
    case 'destination-ip':
      return { destination_ip: encodeCidr(permission.cidr) };
    case 'destination-port':
      return { destination_port: permission.port };
    case 'destination-port-range':
      return { destination_port_range: { start: permission.start, end: permission.end } };
    case 'server-name':
      return { requested_server_name: encodeString(permission.matcher) };
    case 'metadata':
      return { metadata: { filter: 'inmesh', path: [{ key: 'none' }], value: { present_match: true }, invert: permission.invert } };
  }
}

function encodePrincipal(principal: Principal): JsonObject {
  switch (principal.kind) {
    case 'any':
      return { any: true };
    case 'and':
    case 'or':
      return { [`${principal.kind}_ids`]: { ids: principal.ids.map(encodePrincipal) } };
    case 'not':
      return { not_id: encodePrincipal(principal.id) };
    case 'authenticated':
      return { authenticated: principal.matcher === undefined ? {} : { principal_name: encodeString(principal.matcher) } };
    case 'remote-ip':
      return { remote_ip: encodeCidr(principal.cidr) };
    case 'header':
      return { header: encodeHeader(principal.matcher) };
    case 'path':
      return { url_path: { path: encodeString(principal.matcher) } };
    case 'metadata':
      return { metadata: { filter: 'inmesh', path: [{ key: 'none' }], value: { present_match: true }, invert: principal.invert } };
  }
}
