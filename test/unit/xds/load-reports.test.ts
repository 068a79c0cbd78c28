/** Load reports on simulated time: what is said when, and that no attempt is reported twice or not at all. */
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { silentLogger } from '../../../src/core/log.ts';
import { MetricChoice } from '../../../src/core/load.ts';
import type { ClusterLoad } from '../../../src/core/load.ts';
import { FakeClock, settle } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { LoadReporter } from '../../../src/xds/load-reporter.ts';
import { FakeLoadTransport } from './fake-load-server.ts';
import type { PlainReport } from './fake-load-server.ts';
import { RecordingLogger, setup } from './setup.ts';
import { bootstrap } from './fake-control-plane.ts';

const NODE = {
  id: 'n1',
  cluster: '',
  locality: { region: '', zone: '', subZone: '' },
  metadata: {},
  userAgentName: 'inmesh',
  userAgentVersion: '1',
  clientFeatures: ['first'],
};

function reporting(log: RecordingLogger | typeof silentLogger = silentLogger) {
  const clock = new FakeClock();
  const transport = new FakeLoadTransport();
  const reporter = new LoadReporter({ clock, random: new ScriptedRandom(0.5), log, uri: 'cp:1', node: NODE, transport: () => transport });
  return { clock, transport, reporter };
}

/** One attempt from begin to end. */
function attempt(load: ClusterLoad, ok = true, locality = 'r/z/s', priority = 0): void {
  const place = load.at(locality, priority);
  place.start();
  place.end(ok);
}

test('the first request names the node and no clusters; then one report for each interval, of what there was in it', async () => {
  const { clock, transport, reporter } = reporting();
  const { load, release } = reporter.open('echo', 'echo-eds');
  await settle();
  const { stream } = transport;
  expect(stream.method).toBe('/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats');
  expect(stream.take()).toEqual([{ node: 'n1', features: ['first', 'envoy.lrs.supports_send_all_clusters'], clusters: [] }]);
  attempt(load); // before the server has said anything
  await clock.advance(500);
  stream.ask(2000);
  attempt(load, false);
  const running = load.at('r/z/s', 0);
  running.start();
  load.drop();
  load.drop('lb');
  await clock.advance(1999);
  expect(stream.take()).toEqual([]);
  await clock.advance(1);
  const place = { at: 'r/z/s', issued: 3, ok: 1, errors: 1, running: 1 };
  expect(stream.take()).toEqual([
    { clusters: [{ name: 'echo/echo-eds', ms: 2500, localities: [place], dropped: 2, droppedBy: { lb: 1 } }] },
  ]);
  attempt(load, true, '//', 1);
  await clock.advance(2000);
  // In progress is what it is, all others are differences.
  expect(stream.take()).toEqual([
    {
      clusters: [
        {
          name: 'echo/echo-eds',
          ms: 2000,
          localities: [
            { ...place, issued: 0, ok: 0, errors: 0 },
            { at: '//', priority: 1, issued: 1, ok: 1, errors: 0, running: 0 },
          ],
        },
      ],
    },
  ]);
  running.end(true);
  await clock.advance(2000);
  expect(stream.take()).toEqual([
    { clusters: [{ name: 'echo/echo-eds', ms: 2000, localities: [{ ...place, issued: 0, ok: 1, errors: 0, running: 0 }] }] },
  ]);
  // Nothing is said once, then not again.
  await clock.advance(10_000);
  expect(stream.take()).toEqual([{ clusters: [] }]);
  attempt(load);
  await clock.advance(2000);
  expect(stream.take().map(({ clusters }) => clusters[0]?.ms)).toEqual([2000]);
  release();
  stream.end(0);
  await reporter.close();
  expect(clock.pending).toBe(0);
});

test('metrics of endpoints are summed by name', async () => {
  const { clock, transport, reporter } = reporting();
  const { load } = reporter.open('echo', '');
  await settle();
  transport.stream.ask(1000);
  const place = load.at('//', 0);
  for (const value of [1.5, 2.5]) {
    place.start();
    place.report((name) => (name === 'endpoint-load-metrics' ? `TEXT named_metrics.queue=${value},cpu_utilization=0.5` : undefined));
    place.end(true);
  }
  await clock.advance(1000);
  expect(transport.stream.take()[1]?.clusters[0]?.localities[0]?.metrics).toEqual({ queue: [2, 4] });
  expect(transport.stream.sent[1]?.clusters[0]?.localities[0]?.utilization).toBeUndefined();
  load.choice = new MetricChoice(['cpu_utilization', 'named_metrics.queue', 'unknown']);
  for (const text of ['named_metrics.queue=3,cpu_utilization=0.5,named_metrics.other=1', 'mem_utilization=1,cpu_utilization=0.25'])
    place.report((name) => (name === 'endpoint-load-metrics' ? `TEXT ${text}` : undefined));
  await clock.advance(1000);
  expect(transport.stream.take()[0]?.clusters[0]?.localities[0]).toMatchObject({
    metrics: { 'named_metrics.queue': [1, 3] },
    utilization: { cpuUtilization: [2, 0.75] },
  });
  load.choice = new MetricChoice(['named_metrics.*']);
  place.report((name) => (name === 'endpoint-load-metrics' ? 'TEXT named_metrics.a=1,named_metrics.b=2' : undefined));
  await clock.advance(1000);
  expect(transport.stream.take()[0]?.clusters[0]?.localities[0]?.metrics).toEqual({ 'named_metrics.a': [1, 1], 'named_metrics.b': [1, 2] });
  await closing(reporter, transport);
});

test('only the clusters that the server names are reported, the first one too; a later answer changes them and the interval', async () => {
  const { clock, transport, reporter } = reporting();
  const shares = ['a', 'b', 'c'].map((name) => reporter.open(name, ''));
  await settle();
  const { stream } = transport;
  stream.take();
  const all = (): void => shares.forEach(({ load }) => attempt(load));
  const said = (): readonly string[][] =>
    stream.take().map(({ clusters }) => clusters.map(({ name, ms, localities }) => `${name} ${localities[0]?.issued} in ${ms}`));
  stream.ask(1000, ['a', 'c']);
  all();
  await clock.advance(1000);
  expect(said()).toEqual([['a 1 in 1000', 'c 1 in 1000']]);
  all();
  await clock.advance(200);
  // Counts from the last report.
  stream.ask(500, ['b']);
  await clock.advance(300);
  expect(said()).toEqual([['b 2 in 1500']]);
  stream.ask(undefined);
  await clock.advance(1000);
  expect(said()).toEqual([['a 1 in 1500', 'c 1 in 1500']]);
  await closing(reporter, transport);
});

test('an interval of nothing counts as a second, a tiny one as 100 ms', async () => {
  const { clock, transport, reporter } = reporting();
  const { load } = reporter.open('a', '');
  await settle();
  const { stream } = transport;
  stream.ask(0);
  stream.take();
  attempt(load);
  await clock.advance(999);
  expect(stream.take()).toHaveLength(0);
  await clock.advance(1);
  expect(stream.take()).toHaveLength(1);
  stream.ask(1);
  attempt(load);
  await clock.advance(99);
  expect(stream.take()).toHaveLength(0);
  await clock.advance(1);
  expect(stream.take()).toHaveLength(1);
  await closing(reporter, transport);
});

test('a stream that ends is opened again with back-off; what was counted meanwhile is in the next report, and nothing twice', async () => {
  const log = new RecordingLogger();
  const { clock, transport, reporter } = reporting(log);
  const { load } = reporter.open('a', '');
  await settle();
  transport.stream.end(14, 'down');
  await clock.advance(999);
  expect(transport.streams).toHaveLength(1);
  await clock.advance(1);
  expect(transport.streams).toHaveLength(2);
  transport.stream.end(14, 'down');
  await clock.advance(1600);
  expect(transport.streams).toHaveLength(3);
  expect(log.lines).toEqual(['warn load cannot be reported {"server":"cp:1","problem":"UNAVAILABLE: down"}']);
  attempt(load);
  transport.stream.ask(1000);
  await clock.advance(1000);
  expect(issued(transport)).toBe(1);
  const long = load.at('r/z/s', 0);
  long.start();
  transport.stream.end(14, 'reset');
  attempt(load);
  // It was served, so the next one comes at once.
  await clock.advance(1000);
  expect(transport.streams).toHaveLength(4);
  expect(transport.stream.take()[0]?.node).toBe('n1');
  transport.stream.ask(1000);
  await clock.advance(1000);
  expect(issued(transport)).toBe(3);
  expect(transport.stream.take()[0]?.clusters[0]).toMatchObject({ ms: 2000, localities: [{ issued: 2, ok: 1, running: 1 }] });
  long.end(false);
  await closing(reporter, transport);
});

test('bytes that are no answer end the stream, and it is tried again', async () => {
  const { clock, transport, reporter } = reporting();
  reporter.open('a', '');
  await settle();
  transport.stream.events.onMessage(Uint8Array.of(0xff, 0xff));
  expect(transport.stream.ended).toBe(true);
  await clock.advance(1000);
  expect(transport.streams).toHaveLength(2);
  await closing(reporter, transport);
});

test('the stream lives while some cluster reports; the last words come first', async () => {
  const { clock, transport, reporter } = reporting();
  await settle();
  expect(transport.streams).toHaveLength(0);
  const [one, same, other] = [reporter.open('a', ''), reporter.open('a', ''), reporter.open('b', '')];
  expect(same.load).toBe(one.load);
  await settle();
  const { stream } = transport;
  stream.ask(1000);
  stream.take();
  attempt(one.load);
  attempt(same.load);
  one.release();
  one.release();
  same.release();
  await clock.advance(1000);
  expect(stream.take().map(({ clusters }) => clusters.map(({ name }) => name))).toEqual([['a']]);
  attempt(other.load);
  other.release();
  expect(stream.take().map(({ clusters }) => clusters.map(({ name }) => name))).toEqual([['b']]);
  expect(stream.finished).toBe(true);
  expect(stream.ended).toBe(false);
  stream.end(0);
  await settle();
  expect(clock.pending).toBe(0);
  // Another one begins anew.
  const again = reporter.open('a', '');
  await settle();
  expect(transport.streams).toHaveLength(2);
  again.release();
  await reporter.close();
});

test('close() waits for the answer of a server that is there, and a second at most', async () => {
  const { clock, transport, reporter } = reporting();
  const { load, release } = reporter.open('a', '');
  await settle();
  transport.stream.events.onConnected();
  attempt(load);
  release();
  const closed = reporter.close();
  await clock.advance(300);
  expect(transport.stream.ended).toBe(false);
  transport.stream.ask(10_000);
  expect(issued(transport)).toBe(1);
  expect(transport.stream.finished).toBe(true);
  await clock.advance(699);
  expect(transport.stream.ended).toBe(false);
  await clock.advance(1);
  await closed;
  expect(transport.closed).toBe(true);
});

test('close() between two streams opens one more for what is left, and ends with a server that refuses', async () => {
  const { clock, transport, reporter } = reporting();
  const { load } = reporter.open('a', '');
  await settle();
  transport.stream.ask(1000);
  transport.stream.end(14, 'reset');
  await settle();
  attempt(load);
  const closed = reporter.close();
  expect(transport.streams).toHaveLength(2);
  transport.stream.ask(1000);
  expect(issued(transport)).toBe(1);
  transport.stream.end(0);
  await closed;
  expect([issued(transport), transport.streams.length, clock.pending]).toEqual([1, 2, 0]);
  const down = reporting();
  const share = down.reporter.open('a', '');
  await settle();
  attempt(share.load);
  down.transport.stream.end(14, 'refused');
  await settle();
  const ended = down.reporter.close();
  down.transport.stream.end(14, 'refused');
  await ended;
  expect([down.transport.streams.length, down.clock.pending]).toEqual([2, 0]);
});

test('close() does not wait for a server that has not answered when there is nothing to say', async () => {
  const { clock, transport, reporter } = reporting();
  reporter.open('a', '');
  await settle();
  transport.stream.events.onConnected();
  await reporter.close();
  expect(transport.stream.ended).toBe(true);
  expect(clock.pending).toBe(0);
});

test('whatever happens in between, the reports add up to what was counted', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('start' as const), cluster: fc.nat(2), priority: fc.nat(1) }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat(9), ok: fc.boolean() }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('drop' as const), cluster: fc.nat(2), category: fc.constantFrom('x', undefined) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.nat(3000) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('ask' as const), ms: fc.integer({ min: 100, max: 3000 }), only: fc.boolean() }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { clock, transport, reporter } = reporting();
      const shares = ['a', 'b', 'c'].map((name) => reporter.open(name, ''));
      const counted = { issued: 0, ok: 0, errors: 0, dropped: 0, running: 0 };
      const running: (() => void)[] = [];
      await settle();
      for (const one of steps) {
        if (one.kind === 'start') {
          const place = shares[one.cluster]?.load.at('r/z/s', one.priority);
          place?.start();
          counted.issued++;
          running.push(() => place?.end(true));
        } else if (one.kind === 'end' && running.length > 0) {
          running.splice(one.which % running.length, 1)[0]?.();
          counted.ok++;
        } else if (one.kind === 'drop') {
          shares[one.cluster]?.load.drop(one.category);
          counted.dropped++;
        } else if (one.kind === 'time') await clock.advance(one.ms);
        else if (one.kind === 'cut') transport.stream.end(14);
        else if (one.kind === 'ask' && !transport.stream.ended) transport.stream.ask(one.ms, one.only ? ['b'] : undefined);
      }
      await clock.advance(300_000);
      transport.stream.ask(1000);
      counted.running = running.length;
      for (const { release } of shares) release();
      transport.stream.end(0);
      await reporter.close();
      const reported = { issued: 0, ok: 0, errors: 0, dropped: 0, running: 0 };
      const last = new Map<string, number>();
      for (const { clusters } of transport.streams.flatMap(({ sent }) => sent)) {
        for (const { name, localities, dropped = 0 } of clusters) {
          reported.dropped += dropped;
          for (const { issued, ok, errors, running: now, priority } of localities) {
            reported.issued += issued;
            reported.ok += ok;
            reported.errors += errors;
            last.set(`${name} ${priority}`, now);
          }
        }
      }
      reported.running = [...last.values()].reduce((sum, n) => sum + n, 0);
      expect(reported).toEqual(counted);
      expect(clock.pending).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test('a client reports to the first server of the authority that has the cluster, and to none for static ones', async () => {
  const loads = new Map<string, FakeLoadTransport>();
  const server = (uri: string) => ({
    uri,
    credentials: { type: 'insecure' as const },
    features: [],
    protocol: 'sotw' as const,
    aggregated: true,
  });
  const { client } = setup({
    bootstrap: bootstrap({
      servers: [server('one:1'), server('two:1')],
      authorities: { other: { servers: [server('three:1')], clientListenerTemplate: '' } },
    }),
    transport: ({ uri }) => {
      const transport = new FakeLoadTransport();
      loads.set(uri, transport);
      return transport;
    },
  });
  const shares = [client.reportLoad('a', ''), client.reportLoad('xdstp://other/envoy.config.cluster.v3.Cluster/b', 'b-eds')];
  await settle();
  expect([...loads.keys()]).toEqual(['one:1', 'three:1']);
  expect(client.reportLoad('xdstp://nobody/envoy.config.cluster.v3.Cluster/b', '')).toBeUndefined();
  onTestFinished(() => shares.forEach((share) => share?.release()));
  await client.close();
  expect([...loads.values()].map(({ closed }) => closed)).toEqual([true, true]);
  expect(client.reportLoad('a', '')).toBeUndefined();
});

function issued(transport: FakeLoadTransport): number {
  const reports: readonly PlainReport[] = transport.streams.flatMap(({ sent }) => sent);
  return reports.flatMap(({ clusters }) => clusters.flatMap(({ localities }) => localities)).reduce((sum, { issued: n }) => sum + n, 0);
}

async function closing(reporter: LoadReporter, transport: FakeLoadTransport): Promise<void> {
  const closed = reporter.close();
  transport.stream.end(0);
  await closed;
}

test('with a server that never answers, of clusters that come and go only the last thousand are remembered', async () => {
  const { clock, transport, reporter } = reporting();
  const staying = reporter.open('staying', '');
  await settle();
  attempt(staying.load);
  transport.stream.end(12, 'no such service');
  for (let cluster = 0; cluster < 1500; cluster++) {
    const { load, release } = reporter.open(`c${cluster}`, '');
    attempt(load);
    release();
  }
  // One that is used again is not among them.
  const again = reporter.open('c600', '');
  reporter.open('late', '').release();
  await clock.advance(1000);
  transport.stream.ask(1000);
  await clock.advance(1000);
  const reported = transport.stream.take().flatMap(({ clusters }) => clusters.map(({ name }) => name));
  expect([reported.length, reported.slice(0, 3), reported.at(-1)]).toEqual([1001, ['staying', 'c500', 'c501'], 'c1499']);
  expect(reported).toContain('c600');
  again.release();
  staying.release();
  await clock.advance(1000);
  await reporter.close();
});
