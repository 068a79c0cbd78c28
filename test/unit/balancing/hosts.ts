/** Endpoints without a cluster behind them, and the bounds of a fair draw. */
import { expect } from 'vitest';
import type { OutboundCall } from '../../../src/core/call.ts';
import type { Cluster, Endpoint, HealthStatus, Picker } from '../../../src/core/endpoint.ts';

export class FakeHost implements Endpoint {
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly hostname = '';
  readonly cluster: Cluster;
  locality = '';
  weight = 1;
  health: HealthStatus = 'healthy';
  active = 0;
  ejected = false;

  constructor(index: number, cluster: Cluster = fakeCluster()) {
    this.host = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
    this.port = 8080;
    this.address = `${this.host}:${this.port}`;
    this.cluster = cluster;
  }

  get security(): Cluster['security'] {
    return this.cluster.security;
  }

  connection(): never {
    throw new Error('a fake host has no connection');
  }
}

export function fakeCluster(name = 'test'): Cluster {
  return {
    name,
    security: undefined,
    http2: false,
    connectTimeoutMs: 5000,
    maxRequestsPerConnection: undefined,
    requests: 0,
    pending: 0,
    retries: 0,
    pick: () => undefined,
  };
}

export function hosts(count: number, set: (host: FakeHost, index: number) => void = () => undefined): FakeHost[] {
  return Array.from({ length: count }, (_, index) => {
    const host = new FakeHost(index);
    set(host, index);
    return host;
  });
}

/** A call as far as pickers look at it. */
export function pickCall(protocol: 'http' | 'grpc' = 'http', tried?: Endpoint[]): OutboundCall {
  return { head: { protocol }, tried } as unknown as OutboundCall;
}

/** Picks `times` times; how often each host came, in the order of `of`. */
export function tally(picker: Picker, times: number, of: readonly Endpoint[], call = pickCall()): number[] {
  const counts = new Map<Endpoint | undefined, number>();
  for (let i = 0; i < times; i++) {
    const host = picker.pick(call);
    counts.set(host, (counts.get(host) ?? 0) + 1);
  }
  expect([...counts.keys()].filter((host) => host === undefined || !of.includes(host))).toEqual([]);
  return of.map((host) => counts.get(host) ?? 0);
}

/** Six standard deviations of the binomial: a fair draw leaves them about twice in a thousand million runs. */
export function expectBinomial(count: number, trials: number, probability: number, what = ''): void {
  const deviation = 6 * Math.sqrt(trials * probability * (1 - probability));
  const mean = trials * probability;
  expect(count, `${what}: ${count} of ${trials}, expected ${mean} ± ${deviation}`).toBeGreaterThanOrEqual(Math.floor(mean - deviation));
  expect(count, `${what}: ${count} of ${trials}, expected ${mean} ± ${deviation}`).toBeLessThanOrEqual(Math.ceil(mean + deviation));
}
