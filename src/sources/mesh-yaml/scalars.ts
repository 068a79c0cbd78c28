/** Reads the small values of `mesh.yaml`: durations, percentages, addresses, hosts. Undefined: not one of these. */

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `250ms`, `1.5s`, `2m`, `1h` in milliseconds; at most 2^31-1, which is what timers can do. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  const value = Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1);
  return value <= 0x7fff_ffff ? value : undefined;
}

/** `20%` as 20; undefined beyond 100. */
export function parsePercent(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s?%$/.exec(text);
  const value = Number(match?.[1] ?? Number.NaN);
  return value <= 100 ? value : undefined;
}

export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

const NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/;
const IPV6 = /^[0-9A-Fa-f:.]+$/;

/** `host:port` or `[ipv6]:port`. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port < 1 || port > 65_535) return undefined;
  if (bracketed !== undefined) return bracketed.includes(':') && IPV6.test(bracketed) ? { host: bracketed, port } : undefined;
  return plain !== undefined && NAME.test(plain) && isName(plain) ? { host: plain, port } : undefined;
}

/** What looks like an IPv4 address must be one. */
function isName(host: string): boolean {
  return !/^[\d.]+$/.test(host) || isIpv4(host);
}

function isIpv4(host: string): boolean {
  const parts = host.split('.');
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
}

export function isIp(host: string): boolean {
  return host.includes(':') || isIpv4(host);
}

/** An authority: a name or address, perhaps with a port. */
export function isAuthority(text: string): boolean {
  return NAME.test(text) ? isName(text) : parseHostPort(text) !== undefined || /^\[[0-9A-Fa-f:.]+\]$/.test(text);
}
