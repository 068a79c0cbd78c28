/**
 * The application of the outage suite: a mesh from its bootstrap to the answers of calls, on one simulated clock, with the control plane of
 * `control-plane.ts` as its only one. Only the wires are played: grpc-js on the one side, HTTP on the other.
 */
import { expect, onTestFinished } from 'vitest';
import { OutboundCall } from '../../../../src/core/call.ts';
import type { Attempt } from '../../../../src/core/call.ts';
import { LB_POLICIES } from '../../../../src/balancing/registry.ts';
import { FILTERS } from '../../../../src/filters/registry.ts';
import { hostPatterns } from '../../../../src/matching/host-patterns.ts';
import { MeshEngine } from '../../../../src/mesh.ts';
import { withProtocol } from '../../../../src/protocol.ts';
import { Telemetry } from '../../../../src/telemetry/telemetry.ts';
import { FakeClock } from '../../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../../src/testing/seeded-random.ts';
import { readBootstrap } from '../../../../src/xds/bootstrap.ts';
import { XdsClient } from '../../../../src/xds/client.ts';
import { RESOURCE_TYPES } from '../../../../src/xds/resource-types.ts';
import { NO_TLS, finish } from '../../../support/mesh-engine.ts';
import { cluster, endpoints, listener, routeResource, to } from '../../../support/mesh-raw.ts';
import { ScriptedExchange, ScriptedTransport } from '../../../support/scripted-transport.ts';
import { requestHead } from '../../routing/builders.ts';
import { RecordingLogger } from '../setup.ts';
import { MemoryPlane } from './control-plane.ts';
import type { Json, KeepAlive } from './control-plane.ts';

export const DIALECTS = ['sotw', 'delta'] as const;
export type DialectName = (typeof DIALECTS)[number];

export const A = 1001;
export const B = 1002;

/** Path `/N/` leads to cluster `cN`, every other to the last one; all have one endpoint, with `port`. `bad` replaces fields of clusters. */
export function shop(port: number, clusters = 2, bad: Readonly<Record<string, Json>> = {}): readonly Json[] {
  const names = Array.from({ length: clusters }, (_, i) => `c${i}`);
  return [
    listener('shop', 'shop'),
    routeResource('shop', [...names.map((name, i) => to(name, { prefix: `/${i}/` })), to(names.at(-1) ?? '')]),
    ...names.flatMap((name) => [cluster(name, { connect_timeout: `${port - 1000}s`, ...bad[name] }), endpoints(name, port)]),
  ];
}

export interface OutageOptions {
  readonly protocol: DialectName;
  readonly features?: readonly string[];
  readonly wildcard?: boolean;
  readonly lastGood?: string;
  readonly keepAlive?: KeepAlive;
  readonly seed?: number;
  readonly startTimeoutMs?: number;
  readonly include?: readonly string[];
  /** What the control plane serves when the mesh starts; absent: it refuses. */
  readonly resources?: readonly Json[];
  /** How else it is away. */
  readonly absent?: ((plane: MemoryPlane) => void) | undefined;
}

/** A call that was begun: port of the endpoint that answered it, or how it failed; undefined while it waits. */
export interface Begun {
  readonly answer: string | undefined;
  readonly message: string;
}

/** Answers at once, with whom it asked on record. */
class Wires extends ScriptedTransport {
  readonly #clock: FakeClock;
  readonly ports = new WeakMap<object, string>();

  constructor(clock: FakeClock) {
    super([], clock);
    this.#clock = clock;
  }

  override next(attempt: Attempt): ScriptedExchange {
    this.ports.set(attempt.call, String(attempt.endpoint?.port));
    return new ScriptedExchange(attempt, { kind: 'reply', status: 200, delayMs: 0 }, this.#clock);
  }
}

export class Outage {
  readonly clock = new FakeClock();
  readonly log = new RecordingLogger();
  readonly plane: MemoryPlane;
  readonly client: XdsClient;
  readonly engine: MeshEngine;
  readonly #wires = new Wires(this.clock);

  constructor(options: OutageOptions) {
    const { protocol, features = [], seed = 1 } = options;
    const { clock, log } = this;
    this.plane = new MemoryPlane(clock, options.keepAlive);
    if (options.resources !== undefined) this.plane.serve(options.resources, '1');
    options.absent?.(this.plane);
    const text = JSON.stringify({
      xds_servers: [{ server_uri: 'cp:1', channel_creds: [{ type: 'insecure' }], server_features: ['xds_v3', ...features] }],
      node: { id: 'app' },
    });
    const decode = { filters: FILTERS, lbPolicies: LB_POLICIES };
    this.client = new XdsClient({
      bootstrap: withProtocol(readBootstrap(text, 'outages'), protocol),
      transport: () => this.plane,
      types: RESOURCE_TYPES,
      decode,
      clock,
      // Its own, so that a twin of the same seed says what the client drew.
      random: new SeededRandom(seed),
      log,
      wildcard: options.wildcard ?? false,
      userAgentVersion: '0',
      ...(options.lastGood !== undefined && { lastGood: options.lastGood }),
    });
    this.engine = new MeshEngine({
      clock,
      random: new SeededRandom(seed),
      log,
      telemetry: new Telemetry({ clock, observers: [], tracer: () => undefined, bridge: () => undefined }),
      ...decode,
      breakers: {},
      attemptLayers: [],
      startTimeoutMs: options.startTimeoutMs ?? 20_000,
    });
    this.engine.attach(this.client, hostPatterns([...(options.include ?? ['shop'])]), NO_TLS);
  }

  /** Moves time on to `time`. */
  async until(time: number): Promise<void> {
    await this.clock.advance(Math.max(0, time - this.clock.now()));
  }

  /** Lets pass what takes no time. */
  async settle(): Promise<void> {
    await this.clock.advance(0);
  }

  begin(path = '/', authority = 'shop'): Begun {
    const call = new OutboundCall(requestHead({ authority, path }), { replayable: true }, this.#wires);
    const begun: { answer: string | undefined; message: string } = { answer: undefined, message: '' };
    void this.engine.handle(call).then((reply) => {
      const { failure } = reply;
      begun.message = failure?.message ?? '';
      begun.answer = failure === undefined ? this.#wires.ports.get(call) : `${reply.status} ${failure.kind.details}`;
      finish(call, reply);
    });
    return begun;
  }

  /** What a call is answered now, without time passing. */
  async get(path = '/', authority = 'shop'): Promise<string> {
    await this.settle();
    const begun = this.begin(path, authority);
    await this.settle();
    return begun.answer ?? 'waits';
  }

  /** Lets `ms` pass with a call at each `stepMs`; the answers, each once. */
  async traffic(ms: number, stepMs: number): Promise<readonly string[]> {
    const end = this.clock.now() + ms;
    const seen = new Set<string>();
    while (this.clock.now() < end) {
      await this.clock.advance(Math.min(stepMs, end - this.clock.now()));
      seen.add(await this.get());
    }
    return [...seen];
  }

  /** Names of resources of a type by their status in CSDS (gRFC A40). */
  status(type: string, status: string): readonly string[] {
    const resources = this.client.describe().resources.filter(({ typeUrl }) => typeUrl.endsWith(`.${type}`));
    return resources.filter((resource) => resource.status === status).map(({ name }) => name);
  }

  /** Everything ends with the mesh: no timer, no stream, no call is left. */
  async close(): Promise<void> {
    await this.engine.close(0);
    expect(this.clock.pending, 'timers left').toBe(0);
    expect(this.engine.active, 'calls left').toBe(0);
    expect(this.plane.streams.filter(({ ended }) => !ended).length, 'streams left').toBe(0);
    expect(this.plane.closed || this.plane.opened.length === 0, 'transport closed').toBe(true);
  }
}

/** Closed when the test ends. */
export function outage(options: OutageOptions): Outage {
  const made = new Outage(options);
  onTestFinished(() => made.close());
  return made;
}

/** With `resources` (default: those of `A`) in force for five minutes: the stream is an old one, which is replaced at once when it ends. */
export async function running(options: OutageOptions): Promise<Outage> {
  const made = outage({ resources: shop(A), ...options });
  await made.clock.advance(300_000);
  expect(await made.get()).toBe(String(A));
  return made;
}

/** The waits of gRFC A57 that a client of this seed makes: 1 s x 1.6 to 120 s, 20 % jitter. `skip`: what it drew before. */
export function backoff(seed: number, count: number, skip: number): readonly number[] {
  const random = new SeededRandom(seed);
  for (let i = 0; i < skip; i++) random.next();
  return Array.from({ length: count }, (_, i) => Math.min(120_000, 1000 * 1.6 ** i) * (0.8 + 0.4 * random.next()));
}
