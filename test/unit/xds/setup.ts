/** An `XdsClient` on a fake control plane and a fake clock. Closed at the end of the test, with no timer left. */
import { expect, onTestFinished } from 'vitest';
import { silentLogger } from '../../../src/core/log.ts';
import type { LogFields, Logger } from '../../../src/core/log.ts';
import type { Random } from '../../../src/core/random.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { XdsClient } from '../../../src/xds/client.ts';
import type { XdsClientOptions } from '../../../src/xds/client.ts';
import { FakeTransport, bootstrap, fakeTypes } from './fake-control-plane.ts';

export class RecordingLogger implements Logger {
  readonly lines: string[] = [];
  debug(): void {}
  info(message: string, fields?: LogFields): void {
    this.#add('info', message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#add('warn', message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#add('error', message, fields);
  }
  #add(level: string, message: string, fields: LogFields = {}): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  }
}

export interface Setup {
  readonly client: XdsClient;
  readonly clock: FakeClock;
  readonly transport: FakeTransport;
  /** By server URI, for those beside the first. */
  readonly transports: Map<string, FakeTransport>;
  readonly types: ReturnType<typeof fakeTypes>;
  readonly changes: () => number;
}

/** Jitter 1.0 unless `random` says otherwise. */
export function setup(change: Partial<XdsClientOptions> = {}, random: Random = new ScriptedRandom(0.5)): Setup {
  const clock = new FakeClock();
  const types = fakeTypes();
  const transports = new Map<string, FakeTransport>();
  const transport = new FakeTransport();
  const config = change.bootstrap ?? bootstrap();
  transports.set(config.servers[0]?.uri ?? '', transport);
  const client = new XdsClient({
    bootstrap: config,
    transport: (server) => {
      const known = transports.get(server.uri) ?? new FakeTransport();
      transports.set(server.uri, known);
      return known;
    },
    types: Object.values(types),
    decode: { filters: [], lbPolicies: [] },
    clock,
    random,
    log: silentLogger,
    wildcard: false,
    userAgentVersion: '1.2.3',
    ...change,
  });
  let changes = 0;
  client.onChange(() => changes++);
  onTestFinished(async () => {
    await client.close();
    expect(clock.pending, 'timers left').toBe(0);
  });
  return { client, clock, transport, transports, types, changes: () => changes };
}
