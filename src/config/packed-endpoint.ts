/**
 * An endpoint in 48 bytes, for assignments of many thousands: an IPv4 address is a number until somebody asks for its text, and what
 * endpoints have in common is kept once.
 */
import type { HealthStatus } from '../core/endpoint.ts';
import type { EndpointConfig } from './endpoints.ts';

/** What many endpoints have in common. */
export class EndpointTraits {
  readonly hostname: string;
  readonly weight: number;
  readonly health: HealthStatus;
  /** One character for each byte, which is smaller than a view and does not hold on to the message it came in. */
  readonly packedMetadata: string | undefined;
  #metadata: Uint8Array | undefined = undefined;

  constructor(hostname: string, weight: number, health: HealthStatus, packedMetadata: string | undefined) {
    this.hostname = hostname;
    this.weight = weight;
    this.health = health;
    this.packedMetadata = packedMetadata;
  }

  /** Always the same object. */
  get metadata(): Uint8Array | undefined {
    if (this.packedMetadata === undefined) return undefined;
    return (this.#metadata ??= Uint8Array.from(Buffer.from(this.packedMetadata, 'latin1')));
  }

  same(hostname: string, weight: number, health: HealthStatus, packedMetadata: string | undefined): boolean {
    return this.weight === weight && this.health === health && this.hostname === hostname && this.packedMetadata === packedMetadata;
  }
}

/** The text of a host, or the 32 bits of an IPv4 address as a signed number. */
export type PackedHost = string | number;

export function hostText(host: PackedHost): string {
  return typeof host === 'string' ? host : `${host >>> 24}.${(host >>> 16) & 255}.${(host >>> 8) & 255}.${host & 255}`;
}

const QUAD = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;

export function packHost(text: string): PackedHost {
  const parts = QUAD.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return text;
  return parts.reduce((bits, part) => (bits << 8) | part, 0);
}

export class PackedEndpoint implements EndpointConfig {
  readonly packed: PackedHost;
  readonly port: number;
  readonly traits: EndpointTraits;

  constructor(packed: PackedHost, port: number, traits: EndpointTraits) {
    this.packed = packed;
    this.port = port;
    this.traits = traits;
  }

  get host(): string {
    return hostText(this.packed);
  }

  get hostname(): string {
    return this.traits.hostname;
  }

  get weight(): number {
    return this.traits.weight;
  }

  get health(): HealthStatus {
    return this.traits.health;
  }

  get metadata(): Uint8Array | undefined {
    return this.traits.metadata;
  }
}

/** Without making texts of addresses where both are packed. */
export function sameAddress(a: EndpointConfig, b: EndpointConfig): boolean {
  if (a === b) return true;
  if (a.port !== b.port) return false;
  return a instanceof PackedEndpoint && b instanceof PackedEndpoint ? a.packed === b.packed : a.host === b.host;
}

/** Equal for equal addresses, and for those only. */
export function addressKey(endpoint: EndpointConfig): string | number {
  const host = endpoint instanceof PackedEndpoint ? endpoint.packed : packHost(endpoint.host);
  return typeof host === 'number' ? (host >>> 0) * 65_536 + endpoint.port : `${endpoint.port} ${host}`;
}
