/** Who may talk to the development control plane (TLS, client certificates, tokens), and what clients report to it over LRS. */
import { readFileSync } from 'node:fs';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { credentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { LoadReport } from '../../src/control-plane/load-reports.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import { LoadStatsRequestSchema, LoadStatsResponseSchema } from '../../src/proto/gen/envoy/service/load_stats/v3/lrs_pb.js';
import { serve, until } from '../support/http-servers.ts';
import { meshOver } from '../support/mesh-app.ts';
import { RawDelta, RawSotw, RawStream } from '../support/raw-xds.ts';

const FILE = 'version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1000"] }\n';
const LRS = '/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats';

async function start(options: Partial<ControlPlaneOptions>): Promise<ControlPlane> {
  const plane = await ControlPlane.start({ text: FILE, ...options });
  onTestFinished(() => plane.close());
  return plane;
}

describe('TLS', () => {
  test('mutual: with a certificate of the test CA, which says who asks; not without, nor with a foreign one', async () => {
    const plane = await start({ tls: 'mutual', certificates: 'sds' });
    const { certificateFile, privateKeyFile } = plane.certificates.files('web');
    const roots = Buffer.from(plane.certificates.rootsPem);
    const good = credentials.createSsl(roots, readFileSync(privateKeyFile), readFileSync(certificateFile));
    const client = new RawDelta(plane.address, undefined, { credentials: good });
    client.send({ typeUrl: TYPE_URLS.secret, resourceNamesSubscribe: ['default'], node: { id: 'never bootstrapped' } });
    const [own] = (await client.next()).resources;
    expect(own?.name).toBe('default');

    const none = new RawDelta(plane.address, undefined, { credentials: credentials.createSsl(roots) });
    none.send({ typeUrl: TYPE_URLS.cluster });
    expect(await none.stream.ended).toMatchObject({ code: 14 });
    const foreign = createTestCa({ trustDomain: 'dev', clock: new RealClock() }).issue({ spiffeId: 'spiffe://dev/web' });
    const pair = credentials.createSsl(roots, Buffer.from(foreign.privateKeyPem), Buffer.from(foreign.certificateChainPem));
    const other = new RawDelta(plane.address, undefined, { credentials: pair });
    other.send({ typeUrl: TYPE_URLS.cluster });
    expect(await other.stream.ended).toMatchObject({ code: 14 });
    const plain = new RawDelta(plane.address);
    plain.send({ typeUrl: TYPE_URLS.cluster });
    expect(await plain.stream.ended).toMatchObject({ code: 14 });
  });

  test.each(['server', 'mutual'] as const)('%s: a mesh connects by the bootstrap that is written for it', async (tls) => {
    const backend = await serve((_request, response) => response.end('here'));
    const plane = await start({ tls, text: FILE.replace('1000', String(backend.port)) });
    const mesh = await meshOver(plane, ['a'], 'web');
    expect(await (await mesh.fetch('http://a/')).text()).toBe('here');
  });
});

describe('a token', () => {
  test.each([
    ['authorization', undefined, 'Bearer s3cret'],
    ['x-consul-token', 'x-consul-token', 's3cret'],
  ])('in %s: right, wrong, missing', async (key, tokenHeader, value) => {
    const plane = await start({ token: 's3cret', ...(tokenHeader === undefined ? {} : { tokenHeader }) });
    const client = new RawSotw(plane.address, undefined, { metadata: { [key]: value } });
    client.send({ typeUrl: TYPE_URLS.cluster });
    expect((await client.next()).resources).toHaveLength(1);
    const wrong = new RawSotw(plane.address, undefined, { metadata: { [key]: `${value}x` } });
    expect(await wrong.stream.ended).toEqual({ code: 16, details: `the token in "${key}" is not the expected one` });
    const none = new RawStream(plane.address, LRS);
    expect(await none.ended).toEqual({ code: 16, details: `the token in "${key}" is missing` });
    expect(plane.nodes).toHaveLength(1);
  });
});

describe('load reports', () => {
  const send = (stream: RawStream, request: MessageInitShape<typeof LoadStatsRequestSchema>): void =>
    stream.write(toBinary(LoadStatsRequestSchema, create(LoadStatsRequestSchema, request)));
  const next = async (stream: RawStream) => fromBinary(LoadStatsResponseSchema, await stream.next());

  test('asked for, kept, and asked for otherwise', async () => {
    const heard: LoadReport[] = [];
    const plane = await start({ onLoadReport: (report) => void heard.push(report) });
    const stream = new RawStream(plane.address, LRS);
    send(stream, { node: { id: 'n1' } });
    expect(await next(stream)).toMatchObject({
      sendAllClusters: true,
      clusters: [],
      loadReportingInterval: { seconds: 10n },
      reportEndpointGranularity: false,
    });
    send(stream, {
      clusterStats: [
        {
          clusterName: 'a',
          clusterServiceName: 'a.svc',
          totalDroppedRequests: 3n,
          droppedRequests: [{ category: 'throttle', droppedCount: 2n }],
          loadReportInterval: { seconds: 1n, nanos: 500_000_000 },
          upstreamLocalityStats: [
            {
              locality: { region: 'r', zone: 'z', subZone: 's' },
              priority: 1,
              totalIssuedRequests: 10n,
              totalSuccessfulRequests: 7n,
              totalErrorRequests: 1n,
              totalRequestsInProgress: 2n,
              cpuUtilization: { numRequestsFinishedWithMetric: 4n, totalMetricValue: 1.5 },
              loadMetricStats: [{ metricName: 'named_metrics.q', numRequestsFinishedWithMetric: 8n, totalMetricValue: 16 }],
            },
          ],
        },
      ],
    });
    await until(() => heard.length > 0);
    expect(heard).toMatchObject([
      {
        nodeId: 'n1',
        clusters: [
          {
            cluster: 'a',
            service: 'a.svc',
            dropped: 3,
            droppedBy: { throttle: 2 },
            intervalMs: 1500,
            localities: [
              {
                region: 'r',
                zone: 'z',
                subZone: 's',
                priority: 1,
                issued: 10,
                successful: 7,
                errors: 1,
                inProgress: 2,
                metrics: [
                  { name: 'cpu_utilization', requests: 4, total: 1.5 },
                  { name: 'named_metrics.q', requests: 8, total: 16 },
                ],
              },
            ],
          },
        ],
      },
    ]);
    expect(plane.loadReports).toEqual(heard);
    plane.askForLoads({ clusters: ['a', 'b'], intervalMs: 250, endpoints: true });
    expect(await next(stream)).toMatchObject({
      sendAllClusters: false,
      clusters: ['a', 'b'],
      loadReportingInterval: { seconds: 0n, nanos: 250_000_000 },
      reportEndpointGranularity: true,
    });
  });

  test('bytes that are no request end the stream', async () => {
    const plane = await start({});
    const stream = new RawStream(plane.address, LRS);
    stream.write(Uint8Array.of(0xff, 0xff));
    expect(await stream.ended).toMatchObject({ code: 3 });
    expect(plane.loadReports).toEqual([]);
  });
});
