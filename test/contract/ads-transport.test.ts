/** What the xDS client relies on, whatever carries its messages: gRPC streams, REST polling, files (`core/transport.ts`). Real sockets and files. */
import { Server } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpsServer } from 'node:https';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createAdsTransport } from '../../src/adapters/grpc/ads-stream.ts';
import { createRestTransport } from '../../src/adapters/rest/index.ts';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { Alarm, Clock, Timer } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { realRandom } from '../../src/core/random.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import { lateGrpc } from '../../src/late-grpc.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../src/core/transport.ts';
import { pack } from '../../src/proto/any.ts';
import { decodeDiscoveryResponse, encodeDiscoveryRequest } from '../../src/proto/discovery.ts';
import { createConfigFileTransport } from '../../src/sources/config-file-transport.ts';
import { FakeClientSecurity, identity, testCa } from '../support/fake-inbound.ts';
import { deadPort, listen, serve, track } from '../support/http-servers.ts';
import { folder } from '../support/mesh-process.ts';
import { byteStream, portOf } from '../support/byte-server.ts';

const METHOD = '/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters';
const until = (check: () => boolean): Promise<boolean> => vi.waitUntil(check, { timeout: 5000, interval: 5 });
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Real time that knows how many timers are set. */
class CountingClock implements Clock {
  readonly #clock = new RealClock();
  readonly #set = new Set<Timer>();
  get pending(): number {
    return this.#set.size;
  }
  now(): number {
    return this.#clock.now();
  }
  wallTime(): number {
    return this.#clock.wallTime();
  }
  set(alarm: Alarm, delayMs: number, background?: boolean): Timer {
    const fire = (): void => {
      this.#set.delete(timer);
      alarm.onAlarm();
    };
    const timer = this.#clock.set({ onAlarm: fire }, delayMs, background);
    this.#set.add(timer);
    return timer;
  }
  clear(timer: Timer): void {
    this.#set.delete(timer);
    this.#clock.clear(timer);
  }
}

interface Rig {
  readonly transport: AdsTransport;
  /** Another content from now on. */
  put(version: string): void;
  /** The far side is no longer there; not for files, which stay what they were. */
  readonly kill: (() => void) | undefined;
  /** Things that are open. */
  open(): number;
}

const text = (version: string): string => JSON.stringify({ version_info: version, resources: [{ '@type': TYPE_URLS.cluster, name: 'a' }] });
const bytesOf = (version: string): Buffer =>
  Buffer.from(
    pack('envoy.service.discovery.v3.DiscoveryResponse', {
      versionInfo: version,
      typeUrl: TYPE_URLS.cluster,
      resources: [],
      nonce: version,
    }).value,
  );

async function grpcRig(clock: Clock, present: boolean, late = false): Promise<Rig> {
  const streams = new Set<ServerDuplexStream<Buffer, Buffer>>();
  let version = '1';
  const server = new Server();
  server.addService(
    {
      s: byteStream(METHOD),
    },
    {
      s: (stream: ServerDuplexStream<Buffer, Buffer>) => {
        streams.add(stream);
        stream.on('error', () => undefined);
        stream.on('close', () => streams.delete(stream));
        stream.on('end', () => stream.end());
        stream.once('data', () => stream.write(bytesOf(version)));
      },
    },
  );
  const bound = await portOf(server);
  onTestFinished(() => server.forceShutdown());
  const port = present ? bound : await deadPort();
  const load = (): AdsTransport => createAdsTransport({ uri: `127.0.0.1:${port}`, credentials: { type: 'insecure' } }, { clock });
  return {
    transport: late ? lateGrpc({ address: { host: '127.0.0.1', port }, clock, load }) : load(),
    put: (next) => {
      version = next;
      for (const stream of streams) stream.write(bytesOf(version));
    },
    kill: () => server.forceShutdown(),
    open: () => streams.size,
  };
}

async function restRig(clock: Clock, present: boolean): Promise<Rig> {
  let version = '1';
  const server = await serve((_request, response) => response.end(text(version)));
  const transport = createRestTransport({
    uri: `127.0.0.1:${present ? server.port : await deadPort()}`,
    security: undefined,
    identity: undefined,
    refreshDelayMs: 10,
    requestTimeoutMs: 2000,
    clock,
    random: realRandom,
    log: silentLogger,
    background: false,
  });
  const kill = (): void => {
    server.server.close();
    server.server.closeAllConnections();
  };
  return { transport, put: (next) => void (version = next), kill, open: () => server.sockets.size };
}

async function fileRig(clock: Clock, present: boolean): Promise<Rig> {
  const path = join(folder(), 'cds.json');
  const put = (version: string): void => {
    writeFileSync(`${path}.new`, text(version));
    renameSync(`${path}.new`, path);
  };
  if (present) put('1');
  const source = { kind: 'path', id: 'x', path, watchedDirectory: undefined, initialFetchTimeoutMs: undefined } as const;
  return { transport: createConfigFileTransport(source, { clock, log: silentLogger }), put, kill: undefined, open: () => 0 };
}

class Recorder implements AdsStreamEvents {
  readonly events: string[] = [];
  onConnected(): void {
    this.events.push('connected');
  }
  onMessage(bytes: Uint8Array): void {
    this.events.push(`message ${decodeDiscoveryResponse(bytes).versionInfo}`);
  }
  onEnd(code: number): void {
    this.events.push(`end ${code}`);
  }
}

const REQUEST = encodeDiscoveryRequest({
  typeUrl: TYPE_URLS.cluster,
  versionInfo: '',
  resourceNames: [],
  responseNonce: '',
  errorDetail: undefined,
  node: undefined,
});

describe.each([
  ['gRPC', grpcRig],
  ['gRPC, loaded late', (clock: Clock, present: boolean) => grpcRig(clock, present, true)],
  ['REST', restRig],
  ['files', fileRig],
] as const)('%s', (_name, make) => {
  async function setup(
    present = true,
  ): Promise<Rig & { readonly clock: CountingClock; readonly recorder: Recorder; readonly stream: AdsStream }> {
    const clock = new CountingClock();
    const rig = await make(clock, present);
    const recorder = new Recorder();
    const stream = rig.transport.open(METHOD, recorder);
    onTestFinished(async () => {
      stream.cancel();
      await pause(20);
      rig.transport.close();
      await until(() => rig.open() === 0 && clock.pending === 0);
      expect(
        recorder.events.filter((event) => event.startsWith('end')),
        'ends',
      ).toHaveLength(1);
    });
    stream.send(REQUEST);
    return { ...rig, clock, recorder, stream };
  }

  test('connected once, before the first message; each content once', async () => {
    const { recorder, put } = await setup();
    await until(() => recorder.events.length === 2);
    put('2');
    await until(() => recorder.events.length === 3);
    await pause(60);
    expect(recorder.events).toEqual(['connected', 'message 1', 'message 2']);
  });

  test('no message between pause and resume', async () => {
    const { recorder, put, stream } = await setup();
    await until(() => recorder.events.length === 2);
    stream.pause();
    put('2');
    await pause(100);
    expect(recorder.events).toHaveLength(2);
    stream.resume();
    await until(() => recorder.events.length === 3);
    expect(recorder.events.at(-1)).toBe('message 2');
  });

  test('cancel: one end with CANCELLED, and nothing afterwards; a second stream is not touched', async () => {
    const { recorder, put, stream, transport } = await setup();
    await until(() => recorder.events.length === 2);
    const other = new Recorder();
    const second = transport.open(METHOD, other);
    second.send(REQUEST);
    await until(() => other.events.length === 2);
    stream.cancel();
    stream.cancel();
    put('2');
    await until(() => other.events.length === 3);
    expect(recorder.events).toEqual(['connected', 'message 1', 'end 1']);
    second.cancel();
    await until(() => other.events.at(-1) === 'end 1');
  });

  test('cancelled before anything came', async () => {
    const { recorder, stream } = await setup();
    stream.cancel();
    await pause(50);
    expect(recorder.events).toEqual(['end 1']);
  });

  test('nobody there: one end, not connected', async () => {
    const { recorder } = await setup(false);
    await until(() => recorder.events.length > 0);
    await pause(30);
    expect(recorder.events).toEqual([expect.stringMatching(/^end (14|5)$/)]);
  });

  test('the far side goes: one end, or what was had stays', async () => {
    const { recorder, kill } = await setup();
    await until(() => recorder.events.length === 2);
    if (kill === undefined) return;
    kill();
    await until(() => recorder.events.length === 3);
    // grpc-js says CANCELLED of a server that is shut down by force.
    expect(recorder.events.at(-1)).toMatch(/^end (14|1)$/);
  });
});

test('REST with TLS: nothing is sent before the peer is verified, and without certificates nothing is connected', async () => {
  const ca = testCa();
  const [good, stranger] = [identity(ca, 'spiffe://test/server'), identity(testCa(), 'spiffe://test/server')];
  const bodies: string[] = [];
  const serveTls = async (own: object): Promise<number> => {
    const server = createHttpsServer(own, (request, response) => {
      bodies.push(request.headers['host'] ?? '');
      request.resume();
      request.on('end', () => response.end(text('1')));
    });
    server.on('tlsClientError', () => undefined);
    track(server);
    return listen(server);
  };
  const ask = async (port: number, security: FakeClientSecurity): Promise<string[]> => {
    const recorder = new Recorder();
    const clock = new CountingClock();
    const options = {
      identity: undefined,
      refreshDelayMs: 5000,
      requestTimeoutMs: 2000,
      random: realRandom,
      log: silentLogger,
      background: false,
    };
    const transport = createRestTransport({ ...options, uri: `127.0.0.1:${port}`, security, clock });
    transport.open(METHOD, recorder).send(REQUEST);
    await until(() => recorder.events.length > 0);
    await pause(30);
    transport.close();
    expect(clock.pending).toBe(0);
    return recorder.events;
  };
  const port = await serveTls(good);
  expect(await ask(port, new FakeClientSecurity(ca, identity(ca, 'spiffe://test/app')))).toEqual(['connected', 'message 1', 'end 1']);
  expect(bodies).toEqual([`127.0.0.1:${port}`]);
  expect(await ask(await serveTls(stranger), new FakeClientSecurity(ca, identity(ca, 'spiffe://test/app')))).toEqual(['end 14']);
  const picky = new FakeClientSecurity(ca, identity(ca, 'spiffe://test/app'));
  picky.accepts = () => false;
  expect(await ask(port, picky)).toEqual(['end 14']);
  expect(picky.verified).toBe(1);
  // The chain is not looked at, the name is all the same.
  const unverified = new (class extends FakeClientSecurity {
    override readonly verifiesChain = false;
  })(ca, identity(ca, 'spiffe://test/app'));
  unverified.accepts = () => false;
  expect(await ask(await serveTls(stranger), unverified)).toEqual(['end 14']);
  expect(unverified.verified).toBe(1);
  expect(await ask(port, new FakeClientSecurity(ca, undefined))).toEqual(['end 14']);
  expect(bodies).toHaveLength(1);
});

test('a file that is gone keeps what it said; a file of binary form', async () => {
  const clock = new CountingClock();
  const path = join(folder(), 'cds.pb');
  writeFileSync(path, bytesOf('b1'));
  const source = { kind: 'path', id: 'x', path, watchedDirectory: undefined, initialFetchTimeoutMs: undefined } as const;
  const transport = createConfigFileTransport(source, { clock, log: silentLogger });
  const recorder = new Recorder();
  transport.open(METHOD, recorder).send(REQUEST);
  await until(() => recorder.events.length === 2);
  rmSync(path);
  await pause(60);
  writeFileSync(`${path}.new`, bytesOf('b2'));
  renameSync(`${path}.new`, path);
  await until(() => recorder.events.length === 3);
  transport.close();
  expect(recorder.events).toEqual(['connected', 'message b1', 'message b2', 'end 1']);
  expect(clock.pending).toBe(0);
});
