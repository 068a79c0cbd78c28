/** grpc-js through the mesh against grpc-go, in both directions, configured by go-control-plane; grpc-go's own xDS client beside it. */
import type { ServiceError } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { echoClient, echoServer, nameOf } from './echo.ts';
import type { ControlPlane, ControlPlaneOptions } from './harness.ts';
import {
  edit,
  expectShare,
  freePort,
  known,
  peers,
  runGo,
  snapshotText,
  startControlPlane,
  startEchoServer,
  startLoad,
  startMesh,
  tally,
  until,
} from './harness.ts';

interface GoResult {
  readonly calls: number;
  readonly servers: Readonly<Record<string, number>>;
  readonly codes: Readonly<Record<string, number>>;
  readonly first_error?: string;
  readonly peer_id?: string;
  readonly last_metadata?: Readonly<Record<string, string>>;
}

const goClient = async (plane: ControlPlane, target: string, ...more: readonly string[]): Promise<GoResult> => {
  const output = await runGo('grpcgo', ['client', '--xds-server', plane.address, '--target', target, ...more]);
  return JSON.parse(output.slice(output.indexOf('{\n'))) as GoResult;
};

async function splitScene(
  options: ControlPlaneOptions = {},
  more: readonly string[] = [],
): Promise<{ readonly plane: ControlPlane; readonly snapshot: string }> {
  const [v1, v2] = await Promise.all([startEchoServer('v1', more), startEchoServer('v2', more)]);
  const snapshot = snapshotText('b-grpc-client', { 50051: v1.port, 50052: v2.port });
  return { plane: await startControlPlane(snapshot, options), snapshot };
}

const CALLS = 2000;

describe.skipIf(peers.go === undefined)('grpc-js through the mesh, grpc-go servers', () => {
  // This snapshot has one listener and one route, so that even go-control-plane's ADS mode answers.
  test.each([
    { title: 'ADS mode', options: { ads: true } },
    { title: 'cache mode', options: { ads: false } },
    { title: 'ordered answers', options: { ads: true, flags: ['--ordered'] } },
  ])("the split and the header route are those of grpc-go's xDS client: $title", async ({ options }) => {
    const { plane } = await splitScene(options);
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const echo = echoClient(mesh, 'xds:///echo.local');
    const ours = await tally(CALLS, () => echo.answer());
    expect(Object.keys(ours).sort()).toEqual(['v1', 'v2']);
    expectShare(ours['v1'], CALLS, 0.8, 'inmesh');
    expect(await tally(20, () => echo.answer({ 'x-version': 'v2' }))).toEqual({ v2: 20 });
    const theirs = await goClient(plane, 'xds:///echo.local', '--n', String(CALLS));
    expect(theirs.codes).toEqual({ OK: CALLS });
    expectShare(theirs.servers['v1'], CALLS, 0.8, 'grpc-go');
    const pinned = await goClient(plane, 'xds:///echo.local', '--n', '20', '--headers', 'x-version=v2');
    expect(pinned.servers).toEqual({ v2: 20 });
  });

  test('the server sees metadata, authority and deadline as from grpc-js itself', async () => {
    const { plane } = await splitScene();
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const { metadata, text } = await echoClient(mesh, 'xds:///echo.local').say({ 'x-custom': 'one' });
    expect(text).toBe('hello');
    expect(metadata).toMatchObject({ ':authority': 'echo.local', 'x-custom': 'one', 'content-type': 'application/grpc' });
    expect(metadata['user-agent']).toMatch(/grpc-node-js/);
  });

  test('streams: 100 messages each way in order, on one server', async () => {
    const { plane } = await splitScene();
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const texts = Array.from({ length: 100 }, (_, i) => `message ${i}`);
    const replies = await echoClient(mesh, 'xds:///echo.local').chat(texts);
    expect(typeof replies === 'string' ? replies : replies.map((reply) => reply.text)).toEqual(texts);
    expect(new Set(typeof replies === 'string' ? [] : replies.map((reply) => reply.server)).size).toBe(1);
  });

  test('a listed retryable status is tried again: 20 % failures, 2 retries', async () => {
    const { plane, snapshot } = await splitScene({}, ['--fail', 'UNAVAILABLE:20']);
    // Envoy's default of 3 concurrent retries would get in the way; grpc-go has no such limit.
    await plane.put(
      edit(
        snapshot,
        ['version: "b1"', 'version: "b2"'],
        ['lb_policy: ROUND_ROBIN', 'lb_policy: ROUND_ROBIN\n    circuit_breakers: {thresholds: [{max_retries: 1000}]}'],
      ),
    );
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const echo = echoClient(mesh, 'xds:///echo.local');
    const counts = await tally(CALLS, () => echo.answer());
    const failed = counts['UNAVAILABLE'] ?? 0;
    expect((counts['v1'] ?? 0) + (counts['v2'] ?? 0) + failed).toBe(CALLS);
    // Three attempts must fail.
    expectShare(failed, CALLS, 0.2 ** 3, 'failed');
    const theirs = await goClient(plane, 'xds:///echo.local', '--n', String(CALLS), '--concurrency', '16');
    expectShare(theirs.codes['Unavailable'], CALLS, 0.2 ** 3, 'failed with grpc-go');
  });

  test('a deadline ends the call on both sides', async () => {
    const { plane } = await splitScene({}, ['--delay', '2s']);
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const begun = performance.now();
    const error: ServiceError = await echoClient(mesh, 'xds:///echo.local')
      .say({}, 300)
      .then(
        () => expect.fail('it answered'),
        (reason: ServiceError) => reason,
      );
    expect(nameOf(error.code)).toBe('DEADLINE_EXCEEDED');
    expect(performance.now() - begun).toBeLessThan(1_500);
  });

  test('a server that is killed: its share fails at once, the other goes on; back again, it is used again', async () => {
    const [v1, v2] = await Promise.all([startEchoServer('v1'), startEchoServer('v2')]);
    const plane = await startControlPlane(snapshotText('b-grpc-client', { 50051: v1.port, 50052: v2.port }));
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const echo = echoClient(mesh, 'xds:///echo.local');
    expect(Object.keys(await tally(200, () => echo.answer())).sort()).toEqual(['v1', 'v2']);
    await v2.running.kill();
    const counts = await tally(500, () => echo.answer());
    expect(Object.keys(counts).sort()).toEqual(['UNAVAILABLE', 'v1']);
    expectShare(counts['v1'], 500, 0.8, 'v1');
    await startEchoServer('v2', [], v2.port);
    await until('v2 is used again', async () => (await tally(20, () => echo.answer({ 'x-version': 'v2' })))['v2'] === 20, 20_000);
  });

  test('weights changed under load: no call fails', async () => {
    const { plane, snapshot } = await splitScene();
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const echo = echoClient(mesh, 'xds:///echo.local');
    await echo.say();
    const load = startLoad(() => echo.answer());
    await plane.put(edit(snapshot, ['version: "b1"', 'version: "b2"'], ['weight: 80', 'weight: 10'], ['weight: 20}', 'weight: 90}']));
    await until('the new weights', () => known(mesh).includes('RouteConfiguration echo b2 ACKED'));
    const counts = await tally(CALLS, () => echo.answer());
    expect((await load.stop()).filter((answer) => !/^v[12]$/.test(answer))).toEqual([]);
    expectShare(counts['v2'], CALLS, 0.9, 'v2');
  });
});

describe.skipIf(peers.go === undefined)('an xDS server listener with RBAC', () => {
  const server = async (): Promise<{ readonly plane: ControlPlane; readonly port: number; readonly snapshot: string }> => {
    const port = await freePort();
    const snapshot = snapshotText('c-grpc-server', { 50061: port });
    return { plane: await startControlPlane(snapshot), port, snapshot };
  };
  const allowed = ['--headers', 'x-caller=frontend'];

  test('grpc-js behind the mesh, called by grpc-go and by ourselves', async () => {
    const { plane, port } = await server();
    const mesh = await startMesh({ bootstrap: plane.bootstrap('server') });
    await echoServer(mesh, 'ours', port);
    expect(await goClient(plane, 'xds:///secure.local', '--n', '20', ...allowed)).toMatchObject({
      codes: { OK: 20 },
      servers: { ours: 20 },
      last_metadata: { 'x-caller': 'frontend' },
    });
    const without = await goClient(plane, 'xds:///secure.local', '--n', '20');
    expect(without).toMatchObject({ codes: { PermissionDenied: 20 } });
    expect(await goClient(plane, 'xds:///secure.local', '--n', '20', '--chat', ...allowed)).toMatchObject({
      codes: { PermissionDenied: 20 },
    });
    const echo = echoClient(mesh, 'xds:///secure.local');
    expect(await tally(20, () => echo.answer({ 'x-caller': 'frontend' }))).toEqual({ ours: 20 });
    expect(await echo.answer({ 'x-caller': 'other' })).toBe('PERMISSION_DENIED');
    expect(await echo.chat(['a'], { 'x-caller': 'frontend' })).toBe('PERMISSION_DENIED');
  });

  test('grpc-js through the mesh calls a grpc-go xDS server', async () => {
    const { plane, port } = await server();
    const { running } = await startEchoServer('', ['--xds', '--xds-server', plane.address, '--node', 'go-server'], port);
    await until(
      'grpc-go serves',
      () => running.output().includes('mode of') && /ServingModeServing|SERVING|serving/i.test(running.output()),
    );
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const echo = echoClient(mesh, 'xds:///secure.local');
    expect(await tally(20, () => echo.answer({ 'x-caller': 'frontend' }))).toEqual({ grpcgo: 20 });
    expect(await tally(20, () => echo.answer())).toEqual({ PERMISSION_DENIED: 20 });
    expect(await echo.chat(['a'], { 'x-caller': 'frontend' })).toBe('PERMISSION_DENIED');
  });

  test.each([
    { title: 'it stays in use', features: [], serves: true },
    { title: 'fail_on_data_errors: no longer serving, open connections end', features: ['fail_on_data_errors'], serves: false },
  ])('the listener is taken away (gRFC A88): $title; back again', async ({ features, serves }) => {
    const { plane, port, snapshot } = await server();
    const bootstrap = {
      ...plane.bootstrap('server'),
      xds_servers: [{ server_uri: plane.address, channel_creds: [{ type: 'insecure' }], server_features: features }],
    };
    const mesh = await startMesh({ bootstrap });
    await echoServer(mesh, 'ours', port);
    const echo = echoClient(await startMesh({ bootstrap: plane.bootstrap('caller') }), 'xds:///secure.local');
    const once = (): Promise<string> => echo.answer({ 'x-caller': 'frontend' });
    expect(await once()).toBe('ours');
    const api = snapshot.indexOf('  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener\n    name: secure.local');
    await plane.put(`version: "c2"\nresources:\n${snapshot.slice(api)}`);
    await until('the deletion is known', () => known(mesh).some((line) => line.endsWith('DOES_NOT_EXIST')));
    await until('the deletion is in force', async () => (await once()) === (serves ? 'ours' : 'UNAVAILABLE'));
    expect(await tally(20, once)).toEqual({ [serves ? 'ours' : 'UNAVAILABLE']: 20 });
    await plane.put(edit(snapshot, ['version: "c1"', 'version: "c3"']));
    await until('served again', async () => (await once()) === 'ours', 20_000);
  });

  test('new rules apply to calls on open connections, without a failed call', async () => {
    const { plane, port, snapshot } = await server();
    const mesh = await startMesh({ bootstrap: plane.bootstrap('server') });
    await echoServer(mesh, 'ours', port);
    const caller = await startMesh({ bootstrap: plane.bootstrap('caller') });
    const echo = echoClient(caller, 'xds:///secure.local');
    const load = startLoad(() => echo.answer({ 'x-caller': 'frontend' }), 4);
    expect(await tally(5, () => echo.answer({ 'x-caller': 'backend' }), 1)).toEqual({ PERMISSION_DENIED: 5 });
    await plane.put(edit(snapshot, ['version: "c1"', 'version: "c2"'], ['string_match: {exact: frontend}', 'string_match: {suffix: end}']));
    await until('the new rule', async () => (await echo.answer({ 'x-caller': 'backend' })) === 'ours');
    await plane.put(
      edit(snapshot, ['version: "c1"', 'version: "c3"'], ['string_match: {exact: frontend}', 'string_match: {prefix: front}']),
    );
    await until('the next rule', async () => (await echo.answer({ 'x-caller': 'backend' })) === 'PERMISSION_DENIED');
    expect([...new Set(await load.stop())]).toEqual(['ours']);
  });
});
