/**
 * ClusterLoadAssignment (gRPC §4.6 rules 37 to 40; Envoy L-3), read directly from the bytes: these resources are the large ones and
 * change the most often. A locality may be absent, as Envoy allows and several control planes send it.
 */
import type { EndpointConfig, EndpointsConfig, LocalityConfig } from '../../config/endpoints.ts';
import { EndpointTraits, hostText, PackedEndpoint } from '../../config/packed-endpoint.ts';
import type { PackedHost } from '../../config/packed-endpoint.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { HealthStatus } from '../../core/endpoint.ts';
import { AddressSet } from './address-set.ts';
import { F1, F2, F2_VARINT, F3, F3_VARINT, F4, F5, F5_VARINT, F6, F7, F8, key } from './endpoints-keys.ts';
import { KnownEndpoint } from './known-endpoint.ts';
import { checkedLocalities, sharedName } from './localities.ts';
import type { Scope } from './scope.ts';
import { VARINT, WireReader } from './wire.ts';

const HEALTH: readonly HealthStatus[] = ['unknown', 'healthy', 'unhealthy', 'draining', 'timeout', 'degraded'];
const DENOMINATORS = [100, 10_000, 1_000_000];
const MAX_UINT32 = 0xffff_ffff;
const MAX_PRIORITY = 128;
const DEFAULT_OVERPROVISIONING = 140;
const NO_DROPS: EndpointsConfig['dropOverloads'] = Object.freeze([]);
/** About half a millisecond of work. */
const ENDPOINTS_PER_STEP = 2048;

const plain = (health: HealthStatus): EndpointTraits => new EndpointTraits('', 1, health, undefined);
const PLAIN = plain('unknown');
/** Shared by all assignments. */
const USUAL: ReadonlyMap<HealthStatus, EndpointTraits> = new Map(
  HEALTH.map((health) => [health, health === 'unknown' ? PLAIN : plain(health)] as const),
);

export class EndpointsReader {
  readonly #wire: WireReader;
  readonly #scope: Scope;
  /** What has no effect was recorded before, with the message around it. */
  readonly #surveyed: boolean;
  readonly #noted = new Set<string>();
  readonly #addresses = new AddressSet();
  readonly #localities: LocalityConfig[] = [];
  readonly #dropOverloads: EndpointsConfig['dropOverloads'][number][] = [];
  #overprovisioningFactor = DEFAULT_OVERPROVISIONING;
  #clusterName = '';
  /** Where we are, for messages. */
  #localityIndex = 0;
  #endpointIndex = -1;
  /** Of the endpoint being read. */
  #host: PackedHost = '';
  #port = -1;
  #hostname = '';
  #weightSum = 0;
  /** Of the endpoint before. */
  #metadata = '';
  #traits: EndpointTraits = PLAIN;
  /** The endpoint at hand has an address that is none of a TCP socket. */
  #elsewhere = false;
  readonly #known: KnownEndpoint;

  constructor(bytes: Uint8Array, scope: Scope, surveyed: boolean, previous: EndpointsConfig | undefined) {
    this.#known = new KnownEndpoint(previous);
    this.#wire = new WireReader(bytes);
    this.#scope = scope;
    this.#surveyed = surveyed;
  }

  /** Yields after every few thousand endpoints, so that a large assignment can be read in several tasks. */
  *read(fallbackName: string): Generator<undefined, EndpointsConfig> {
    const wire = this.#wire;
    while (wire.next()) {
      switch (key(wire.field, wire.wireType)) {
        case F1:
          this.#clusterName = wire.text();
          if (fallbackName === '') this.#scope.name = this.#clusterName;
          break;
        case F2:
          yield* this.#locality();
          this.#localityIndex++;
          break;
        case F4:
          this.#policy();
          break;
        default:
          this.#unsupported(wire.field === 5 ? 'named_endpoints' : `#${wire.field}`);
      }
    }
    if (this.#clusterName === '') this.#clusterName = fallbackName;
    if (this.#clusterName === '') throw new ConfigProblem('cluster_name', 'must not be empty');
    return {
      clusterName: this.#clusterName,
      localities: checkedLocalities(this.#localities),
      dropOverloads: this.#dropOverloads.length === 0 ? NO_DROPS : this.#dropOverloads,
      overprovisioningFactor: this.#overprovisioningFactor,
    };
  }

  #note(field: string): void {
    if (this.#surveyed || this.#noted.has(field)) return;
    this.#noted.add(field);
    this.#scope.unsupported(field);
  }

  #unsupported(field: string): void {
    this.#note(field);
    this.#wire.skip();
  }

  #problem(field: string, reason: string): ConfigProblem {
    const locality = `endpoints[${this.#localityIndex}]`;
    return new ConfigProblem(
      this.#endpointIndex < 0 ? `${locality}.${field}` : `${locality}.lb_endpoints[${this.#endpointIndex}].${field}`,
      reason,
    );
  }

  *#locality(): Generator<undefined, void> {
    const wire = this.#wire;
    const endpoints: EndpointConfig[] = [];
    let locality: string | undefined;
    let weight: number | undefined;
    let priority = 0;
    this.#weightSum = 0;
    this.#endpointIndex = -1;
    this.#known.enter(this.#localities.length);
    const outer = wire.enter();
    while (wire.next()) {
      switch (key(wire.field, wire.wireType)) {
        case F1:
          locality = this.#localityName();
          break;
        case F2:
          this.#lbEndpoint(endpoints);
          if (endpoints.length % ENDPOINTS_PER_STEP === 0) yield undefined;
          break;
        case F3:
          weight = wire.wrappedUint32();
          break;
        case F5_VARINT:
          priority = wire.uint32();
          break;
        case F7:
          this.#lbEndpointList(endpoints);
          break;
        case F6:
          this.#unsupported('endpoints[].proximity');
          break;
        case F8:
          this.#unsupported('endpoints[].leds_cluster_locality_config');
          break;
        default:
          if (wire.field === 9) wire.skip();
          else this.#unsupported(`endpoints[].#${wire.field}`);
      }
    }
    wire.leave(outer);
    this.#endpointIndex = -1;
    if (priority > MAX_PRIORITY) throw this.#problem('priority', `${priority} is more than ${MAX_PRIORITY}`);
    if (weight === 0) return; // rule 37: left out before priorities are counted
    if (locality !== undefined && this.#localities.some((other) => other.locality === locality && other.priority === priority)) {
      throw this.#problem('locality', `locality "${locality}" is there twice in priority ${priority}`);
    }
    // A copy has no room to spare: most lists are short.
    this.#localities.push({ locality: locality ?? '', priority, weight, endpoints: endpoints.slice() });
  }

  #localityName(): string {
    const wire = this.#wire;
    let region = '';
    let zone = '';
    let subZone = '';
    const outer = wire.enter();
    while (wire.next()) {
      const at = key(wire.field, wire.wireType);
      if (at === F1) region = wire.text();
      else if (at === F2) zone = wire.text();
      else if (at === F3) subZone = wire.text();
      else wire.skip();
    }
    wire.leave(outer);
    return sharedName(`${region}/${zone}/${subZone}`);
  }

  /** `load_balancer_endpoints`: the same list in a message of its own. */
  #lbEndpointList(endpoints: EndpointConfig[]): void {
    const wire = this.#wire;
    const outer = wire.enter();
    while (wire.next()) {
      if (key(wire.field, wire.wireType) === F1) this.#lbEndpoint(endpoints);
      else wire.skip();
    }
    wire.leave(outer);
  }

  #lbEndpoint(endpoints: EndpointConfig[]): void {
    const wire = this.#wire;
    this.#endpointIndex++;
    this.#host = '';
    this.#port = -1;
    this.#hostname = '';
    this.#elsewhere = false;
    let weight = 1;
    let health = 0;
    let metadata: string | undefined;
    let named = false;
    const outer = wire.enter();
    while (wire.next()) {
      switch (key(wire.field, wire.wireType)) {
        case F1:
          this.#endpoint();
          break;
        case F2_VARINT:
          health = wire.uint32();
          break;
        case F3:
          metadata = wire.characters(this.#metadata);
          this.#metadata = metadata;
          break;
        case F4:
          weight = wire.wrappedUint32();
          break;
        case F5:
          named = true;
          this.#unsupported('endpoints[].lb_endpoints[].endpoint_name');
          break;
        default:
          this.#unsupported(`endpoints[].lb_endpoints[].#${wire.field}`);
      }
    }
    wire.leave(outer);
    if (named || this.#elsewhere) return;
    this.#weightSum += weight;
    if (weight === 0) throw this.#problem('load_balancing_weight', 'must not be 0');
    if (this.#weightSum > MAX_UINT32)
      throw this.#problem('load_balancing_weight', 'the weights of the locality add up to more than 4294967295');
    if (this.#port < 0) throw this.#problem('endpoint.address', 'needs a socket_address with port_value');
    this.#claim('endpoint.address');
    const traits = this.#traitsOf(weight, HEALTH[health] ?? 'unknown', metadata);
    endpoints.push(
      this.#known.same(endpoints.length, this.#host, this.#port, traits) ?? new PackedEndpoint(this.#host, this.#port, traits),
    );
  }

  /** Those of the endpoint before, where they are the same. */
  #traitsOf(weight: number, health: HealthStatus, metadata: string | undefined): EndpointTraits {
    const hostname = this.#hostname;
    const before = this.#traits;
    if (before.same(hostname, weight, health, metadata)) return before;
    const usual = USUAL.get(health);
    return (this.#traits = usual?.same(hostname, weight, health, metadata)
      ? usual
      : new EndpointTraits(hostname, weight, health, metadata));
  }

  /** Rule 38: an address may be there once. */
  #claim(field: string): void {
    if (!this.#addresses.add(this.#host, this.#port))
      throw this.#problem(field, `address ${hostText(this.#host)}:${this.#port} is there twice`);
  }

  #endpoint(): void {
    const wire = this.#wire;
    const outer = wire.enter();
    while (wire.next()) {
      switch (key(wire.field, wire.wireType)) {
        case F1:
          this.#address('endpoint.address');
          break;
        case F3:
          this.#hostname = wire.text();
          break;
        case F4:
          this.#additionalAddress();
          break;
        default:
          if (wire.field === 2) wire.skip();
          else this.#unsupported(`endpoints[].lb_endpoints[].endpoint.#${wire.field}`);
      }
    }
    wire.leave(outer);
  }

  /** Not connected to yet, but it counts as an address (gRFC A61). */
  #additionalAddress(): void {
    const wire = this.#wire;
    const host = this.#host;
    const port = this.#port;
    this.#note('endpoints[].lb_endpoints[].endpoint.additional_addresses');
    const outer = wire.enter();
    while (wire.next()) {
      if (key(wire.field, wire.wireType) !== F1) {
        wire.skip();
        continue;
      }
      const before = this.#elsewhere;
      this.#address('endpoint.additional_addresses');
      if (this.#elsewhere === before) this.#claim('endpoint.additional_addresses');
      this.#elsewhere = before;
    }
    wire.leave(outer);
    this.#host = host;
    this.#port = port;
  }

  #address(field: string): void {
    const wire = this.#wire;
    const outer = wire.enter();
    while (wire.next()) {
      if (key(wire.field, wire.wireType) === F1) {
        this.#socketAddress(field);
        continue;
      }
      // A pipe, or an internal listener of Envoy: this endpoint is left out, the others stay.
      this.#elsewhere = true;
      this.#note(`endpoints[].lb_endpoints[].${field}=${wire.field === 2 ? 'pipe' : 'envoy_internal_address'}`);
      wire.skip();
    }
    wire.leave(outer);
  }

  #socketAddress(field: string): void {
    const wire = this.#wire;
    let protocol = 0;
    let port = 0;
    let host: PackedHost = '';
    const outer = wire.enter();
    while (wire.next()) {
      const at = key(wire.field, wire.wireType);
      if (at === F2) host = wire.host();
      else if (at === F3_VARINT) port = wire.uint32();
      else if (at === F4) throw this.#problem(`${field}.socket_address.named_port`, 'only port_value is supported');
      else if (wire.field === 1 && wire.wireType === VARINT) protocol = wire.uint32();
      else wire.skip();
    }
    wire.leave(outer);
    if (protocol !== 0) throw this.#problem(`${field}.socket_address.protocol`, 'only TCP is supported');
    if (host === '') throw this.#problem(`${field}.socket_address.address`, 'must not be empty');
    // Envoy takes port 0; nobody listens there, so calls fail to connect.
    if (port > 65_535) throw this.#problem(`${field}.socket_address.port_value`, `${port} is not a port`);
    this.#host = host;
    this.#port = port;
  }

  #policy(): void {
    const wire = this.#wire;
    const outer = wire.enter();
    while (wire.next()) {
      switch (key(wire.field, wire.wireType)) {
        case F2:
          this.#dropOverload();
          break;
        case F3:
          this.#overprovisioningFactor = wire.wrappedUint32();
          if (this.#overprovisioningFactor === 0) throw new ConfigProblem('policy.overprovisioning_factor', 'must be greater than 0');
          break;
        default:
          this.#unsupported(
            wire.field === 4
              ? 'policy.endpoint_stale_after'
              : wire.field === 6
                ? 'policy.weighted_priority_health'
                : `policy.#${wire.field}`,
          );
      }
    }
    wire.leave(outer);
  }

  #dropOverload(): void {
    const wire = this.#wire;
    let category = '';
    let numerator = 0;
    let denominator = 0;
    const outer = wire.enter();
    while (wire.next()) {
      const at = key(wire.field, wire.wireType);
      if (at === F1) category = wire.text();
      else if (at === F2) {
        const inner = wire.enter();
        while (wire.next()) {
          if (wire.field === 1 && wire.wireType === VARINT) numerator = wire.uint32();
          else if (wire.field === 2 && wire.wireType === VARINT) denominator = wire.uint32();
          else wire.skip();
        }
        wire.leave(inner);
      } else wire.skip();
    }
    wire.leave(outer);
    const parts = DENOMINATORS[denominator];
    const path = `policy.drop_overloads[${this.#dropOverloads.length}].drop_percentage`;
    if (parts === undefined) throw new ConfigProblem(`${path}.denominator`, `unknown denominator ${denominator}`);
    this.#dropOverloads.push({ category, numerator: Math.min(numerator, parts), denominator: parts }); // rule 39: above 100 % is always
  }
}
