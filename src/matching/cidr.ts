/** IP addresses as bytes and CIDR ranges over them. IPv4-mapped IPv6 addresses count as IPv4 (grpc.md §6.2, §6.5). */
import type { CidrConfig } from '../config/matchers.ts';
import { ConfigProblem } from '../config/resource.ts';

function parseV4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes: number[] = [];
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bytes.push(Number(part));
  }
  return bytes;
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    if (index === groups.length - 1 && group.includes('.')) {
      const v4 = parseV4(group);
      if (v4 === undefined) return undefined;
      bytes.push(...v4);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes;
}

function parseV6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '');
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '') : [];
  // An IPv4 tail may only stand at the very end.
  if (head === undefined || tail === undefined || (halves.length === 2 && (halves[0] ?? '').includes('.'))) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return [...head, ...Array.from({ length: missing }, () => 0), ...tail];
}

/** 4 or 16 bytes; undefined when the text is not an IP address. A zone (`%eth0`) and brackets are dropped. */
export function parseAddress(text: string): readonly number[] | undefined {
  let bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  const zone = bare.indexOf('%');
  if (zone >= 0) bare = bare.slice(0, zone);
  if (!bare.includes(':')) return parseV4(bare);
  const bytes = parseV6(bare);
  if (bytes === undefined) return undefined;
  const mapped = bytes[10] === 0xff && bytes[11] === 0xff && bytes.slice(0, 10).every((byte) => byte === 0);
  return mapped ? bytes.slice(12) : bytes;
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback(address: readonly number[]): boolean {
  if (address.length === 4) return address[0] === 127;
  return address.every((byte, index) => byte === (index === 15 ? 1 : 0));
}

export interface Cidr {
  /** Bits that are compared, never more than the address has. */
  readonly length: number;
  contains(address: readonly number[]): boolean;
}

/** Throws `ConfigProblem` for an address that is none. */
export function compileCidr(config: CidrConfig): Cidr {
  const network = parseAddress(config.address);
  if (network === undefined) throw new ConfigProblem('address_prefix', `${JSON.stringify(config.address)} is not an IP address`);
  const mapped = network.length === 4 && config.address.includes(':');
  const length = Math.min(Math.max(0, config.prefixLength - (mapped ? 96 : 0)), network.length * 8);
  const whole = length >> 3;
  const mask = (0xff00 >> (length & 7)) & 0xff;
  return {
    length,
    contains: (address) => {
      if (address.length !== network.length) return false;
      for (let i = 0; i < whole; i++) if (address[i] !== network[i]) return false;
      return mask === 0 || ((address[whole] ?? 0) & mask) === ((network[whole] ?? 0) & mask);
    },
  };
}
