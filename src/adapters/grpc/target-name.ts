/** Names that applications give to gRPC channels, and what the mesh takes as the authority of their calls (gRFC A27). */
import { existsSync } from 'node:fs';

/** Schemes of grpc-js's own resolvers and of xDS; any other `name:port` is a host with a port. */
const SCHEME = /^(xds|dns|ipv4|ipv6|unix|unix-abstract|vsock):/;

export interface TargetName {
  /** Lower case, with the port if the application gave one; empty for what is no network name. */
  readonly authority: string;
  /** `xds:` targets always belong to the mesh. */
  readonly xds: boolean;
}

export function parseTarget(target: string): TargetName {
  const scheme = SCHEME.exec(target)?.[1];
  if (scheme === undefined) return { authority: target.toLowerCase(), xds: false };
  const rest = target.slice(scheme.length + 1);
  // `scheme://authority/path`; the authority names a DNS server or an xDS authority, the path what is called.
  const path = rest.startsWith('//') ? rest.slice(2).replace(/^[^/]*\//, '') : rest;
  if (scheme === 'unix' || scheme === 'unix-abstract' || scheme === 'vsock') return { authority: '', xds: false };
  return { authority: decodeName(path).toLowerCase(), xds: scheme === 'xds' };
}

function decodeName(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Host of an authority, for SNI; undefined for an IP address in brackets. */
export function hostOf(authority: string): string {
  const bracket = /^\[([^\]]*)\]/.exec(authority);
  if (bracket?.[1] !== undefined) return bracket[1];
  const colon = authority.lastIndexOf(':');
  return colon > 0 && authority.indexOf(':') === colon ? authority.slice(0, colon) : authority;
}

/**
 * Istio's agent writes `unix:///` before a path that may itself be relative (`./etc/istio/proxy/XDS`): where no such socket is at the
 * root, and one is below the working directory, that one is meant. Other targets are left alone.
 */
export function socketTarget(uri: string): string {
  if (!uri.startsWith('unix:///')) return uri;
  const relative = uri.slice('unix:///'.length);
  return !existsSync(`/${relative}`) && existsSync(relative) ? `unix:${relative}` : uri;
}
