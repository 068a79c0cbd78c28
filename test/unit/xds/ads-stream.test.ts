/** The real transport against a real grpc-js server on loopback. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAdsTransport } from '../../../src/adapters/grpc/ads-stream.ts';
import type { AdsServer, AdsTransportOptions } from '../../../src/adapters/grpc/ads-stream.ts';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { realRandom } from '../../../src/core/random.ts';
import type { AdsStreamEvents } from '../../../src/core/transport.ts';
import { XdsClient } from '../../../src/xds/client.ts';
import { bootstrap, fakeTypes, resource, responseBytes } from './fake-control-plane.ts';
import { byteStream, portOf } from '../../support/byte-server.ts';

const METHOD = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';
type Stream = ServerDuplexStream<Buffer, Buffer>;

const definition = {
  stream: byteStream(METHOD),
} satisfies ServiceDefinition;

async function listen(
  onStream: (stream: Stream) => void,
  credentials = ServerCredentials.createInsecure(),
  port = 0,
): Promise<{ server: Server; port: number }> {
  const server = new Server({ 'grpc.max_send_message_length': -1 });
  server.addService(definition, { stream: onStream });
  const bound = await portOf(server, `127.0.0.1:${port}`, credentials);
  onTestFinished(() => server.forceShutdown());
  return { server, port: bound };
}

/** Events as they came, and promises for them. */
class Recorder implements AdsStreamEvents {
  readonly events: string[] = [];
  readonly messages: Uint8Array[] = [];
  ended: { code: number; details: string } | undefined;
  #wake: (() => void) | undefined;

  onConnected(): void {
    this.#add('connected');
  }
  onMessage(bytes: Uint8Array): void {
    this.messages.push(bytes);
    this.#add(`message ${bytes.length}`);
  }
  onEnd(code: number, details: string): void {
    this.ended = { code, details };
    this.#add(`end ${code}`);
  }
  #add(event: string): void {
    this.events.push(event);
    this.#wake?.();
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
  async end(): Promise<{ code: number; details: string }> {
    await this.until(() => this.ended !== undefined);
    return this.ended ?? { code: -1, details: '' };
  }
}

function transport(server: number | AdsServer, options: AdsTransportOptions = {}) {
  const made = createAdsTransport(
    typeof server === 'number' ? { uri: `127.0.0.1:${server}`, credentials: { type: 'insecure' } } : server,
    options,
  );
  onTestFinished(() => made.close());
  return made;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('a stream', () => {
  test('bytes both ways, connected before the first message, the status at the end', async () => {
    const { port } = await listen((stream) => {
      stream.on('data', (bytes: Buffer) =>
        bytes.length === 0 ? stream.emit('error', { code: 5, details: 'bye' }) : stream.write(Buffer.from(bytes).reverse()),
      );
    });
    const recorder = new Recorder();
    const stream = transport(port).open(METHOD, recorder);
    stream.send(Uint8Array.of(1, 2, 3));
    await recorder.until(() => recorder.messages.length === 1);
    expect([...(recorder.messages[0] ?? [])]).toEqual([3, 2, 1]);
    stream.send(Buffer.from('xyz').subarray(1));
    await recorder.until(() => recorder.messages.length === 2);
    expect(Buffer.from(recorder.messages[1] ?? []).toString()).toBe('zy');
    stream.send(new Uint8Array());
    expect(await recorder.end()).toEqual({ code: 5, details: 'bye' });
    expect(recorder.events).toEqual(['connected', 'message 3', 'message 2', 'end 5']);
    stream.send(Uint8Array.of(1));
    stream.cancel();
    await pause(20);
    expect(recorder.events).toHaveLength(4);
  });

  test('connected is told without any message', async () => {
    const { port } = await listen(() => undefined);
    const recorder = new Recorder();
    transport(port).open(METHOD, recorder);
    await recorder.until(() => recorder.events.length === 1);
    expect(recorder.events).toEqual(['connected']);
  });

  test('messages beyond 4 MB', async () => {
    const { port } = await listen((stream) => stream.write(Buffer.alloc(20_000_000, 7)));
    const recorder = new Recorder();
    transport(port).open(METHOD, recorder);
    await recorder.until(() => recorder.messages.length === 1);
    expect(recorder.messages[0]?.length).toBe(20_000_000);
  });

  test('flow control: nothing between pause and resume, nothing lost', async () => {
    const { port } = await listen((stream) => {
      for (let index = 0; index < 50; index++) stream.write(Buffer.of(index));
    });
    const recorder = new Recorder();
    const seen: number[] = [];
    let paused = false;
    const stream = transport(port).open(METHOD, {
      onConnected: () => undefined,
      onEnd: () => undefined,
      onMessage(bytes) {
        expect(paused).toBe(false);
        paused = true;
        stream.pause();
        setTimeout(() => {
          paused = false;
          seen.push(bytes[0] ?? -1);
          stream.resume();
          recorder.onMessage(bytes);
        }, 1);
      },
    });
    await recorder.until(() => recorder.messages.length === 50);
    expect(seen).toEqual(Array.from({ length: 50 }, (_, index) => index));
  });

  test.each([false, true])('cancel ends once, paused: %s', async (paused) => {
    const cancelled: string[] = [];
    const { port } = await listen((stream) => {
      stream.on('cancelled', () => cancelled.push('server'));
      stream.write(Buffer.of(1));
    });
    const recorder = new Recorder();
    const stream = transport(port).open(METHOD, recorder);
    await recorder.until(() => recorder.messages.length === 1);
    if (paused) stream.pause();
    stream.cancel();
    stream.cancel();
    expect((await recorder.end()).code).toBe(1);
    await pause(50);
    expect(recorder.events.filter((event) => event.startsWith('end'))).toEqual(['end 1']);
    expect(cancelled).toEqual(['server']);
  });

  test('no server: UNAVAILABLE; as soon as there is one, the next stream connects at once (no back-off of grpc-js on top)', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    const made = transport(port);
    for (let attempt = 0; attempt < 5; attempt++) {
      const recorder = new Recorder();
      made.open(METHOD, recorder);
      const { code, details } = await recorder.end();
      expect(code).toBe(14);
      expect(details).toContain('ECONNREFUSED');
    }
    await listen((stream) => stream.write(Buffer.of(1)), undefined, port);
    const recorder = new Recorder();
    const begin = performance.now();
    made.open(METHOD, recorder);
    await recorder.until(() => recorder.messages.length === 1 || recorder.ended !== undefined);
    expect(recorder.ended).toBeUndefined();
    expect(performance.now() - begin).toBeLessThan(900);
  });

  test('a connection that swallows everything is noticed by keepalive', async () => {
    const { port } = await listen((stream) => stream.write(Buffer.of(1)));
    let swallow = false;
    const sockets: Socket[] = [];
    const proxy = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      sockets.push(near, far);
      near.on('data', (bytes: Buffer) => swallow || far.write(bytes)).on('error', () => undefined);
      far.on('data', (bytes: Buffer) => swallow || near.write(bytes)).on('error', () => undefined);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    });
    const recorder = new Recorder();
    transport((proxy.address() as AddressInfo).port, { keepaliveMs: 200, keepaliveTimeoutMs: 200 }).open(METHOD, recorder);
    await recorder.until(() => recorder.messages.length === 1);
    swallow = true;
    expect((await recorder.end()).code).toBe(14);
  });
});

describe('TLS', () => {
  const clock = new RealClock();
  const ca = createTestCa({ trustDomain: 'test', clock });
  const otherCa = createTestCa({ trustDomain: 'test', clock });

  function files(entries: Record<string, string>): Record<string, string> {
    const directory = mkdtempSync(join(tmpdir(), 'inmesh-ads-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const paths: Record<string, string> = {};
    for (const [name, text] of Object.entries(entries)) {
      paths[name] = join(directory, name);
      writeFileSync(paths[name], text);
    }
    return paths;
  }

  function serverCredentials(
    names: { dnsNames?: readonly string[]; ipAddresses?: readonly string[] },
    clients: boolean,
  ): ServerCredentials {
    const { certificateChainPem, privateKeyPem } = ca.issue(names);
    return ServerCredentials.createSsl(
      Buffer.from(ca.certificatePem),
      [{ cert_chain: Buffer.from(certificateChainPem), private_key: Buffer.from(privateKeyPem) }],
      clients,
    );
  }

  function server(uri: string, paths: Record<string, string>): AdsServer {
    return {
      uri,
      credentials: { type: 'tls', certificateFile: paths['cert'], privateKeyFile: paths['key'], caCertificateFile: paths['ca'] },
    };
  }

  async function outcome(made: AdsServer): Promise<string> {
    const recorder = new Recorder();
    transport(made).open(METHOD, recorder);
    await recorder.until(() => recorder.messages.length === 1 || recorder.ended !== undefined);
    return recorder.ended === undefined ? 'ok' : `${recorder.ended.code}: ${recorder.ended.details}`;
  }

  const greet = (stream: Stream): void => void stream.write(Buffer.of(1));

  test('by DNS name and by IP address; the name has to be in the certificate', async () => {
    const trust = files({ ca: ca.certificatePem });
    const byName = await listen(greet, serverCredentials({ dnsNames: ['localhost'] }, false));
    const byAddress = await listen(greet, serverCredentials({ ipAddresses: ['127.0.0.1'] }, false));
    expect(await outcome(server(`localhost:${byName.port}`, trust))).toBe('ok');
    expect(await outcome(server(`dns:///localhost:${byName.port}`, trust))).toBe('ok');
    expect(await outcome(server(`127.0.0.1:${byAddress.port}`, trust))).toBe('ok');
    expect(await outcome(server(`127.0.0.1:${byName.port}`, trust))).toMatch(
      /^14: TLS handshake: .*IP: 127\.0\.0\.1 is not in the cert's list/,
    );
    expect(await outcome(server(`localhost:${byAddress.port}`, trust))).toMatch(/^14: TLS handshake: .*does not contain a DNS name/);
  });

  test('a server of another CA, a server without TLS, and missing files: UNAVAILABLE with the reason, nothing in the clear', async () => {
    const good = await listen(greet, serverCredentials({ dnsNames: ['localhost'] }, false));
    let plainStreams = 0;
    const plain = await listen(() => plainStreams++);
    expect(await outcome(server(`localhost:${good.port}`, files({ ca: otherCa.certificatePem })))).toMatch(
      /^14: .*(signature|issuer|self.signed|unable to verify)/i,
    );
    expect(await outcome(server(`localhost:${good.port}`, {}))).toMatch(/^14: /);
    expect(await outcome(server(`localhost:${plain.port}`, files({ ca: ca.certificatePem })))).toMatch(/^14: /);
    expect(await outcome(server(`localhost:${good.port}`, { ca: '/nowhere/ca.pem' }))).toMatch(/^14: .*ENOENT.*\/nowhere\/ca\.pem/);
    expect(plainStreams).toBe(0);
  });

  test('a client certificate where the server asks for one; files that are replaced count from the next stream on', async () => {
    const { certificateChainPem: cert, privateKeyPem: key } = ca.issue({ spiffeId: 'spiffe://test/client' });
    const { port } = await listen(greet, serverCredentials({ dnsNames: ['localhost'] }, true));
    const paths = files({ ca: ca.certificatePem, cert, key });
    expect(await outcome(server(`localhost:${port}`, files({ ca: ca.certificatePem })))).toMatch(/^14: /);
    const made = transport(server(`localhost:${port}`, paths));
    writeFileSync(paths['cert'] ?? '', 'broken');
    const broken = new Recorder();
    made.open(METHOD, broken);
    expect((await broken.end()).code).toBe(14);
    writeFileSync(paths['cert'] ?? '', cert);
    const mended = new Recorder();
    made.open(METHOD, mended);
    await mended.until(() => mended.messages.length === 1 || mended.ended !== undefined);
    expect(mended.ended).toBeUndefined();
  });
});

test('the client on the real transport: subscribed, updated, server killed and back on the same port', async () => {
  const requests: number[] = [];
  let version = 0;
  const serve = (stream: Stream): void => {
    version++;
    stream.on('data', (bytes: Buffer) => {
      requests.push(bytes.length);
      // Once for each stream: its first request has the node and is the longest.
      if (bytes.length > 150)
        stream.write(Buffer.from(responseBytes('listener', `${version}`, `n${version}`, [resource('listener', 'a', `value ${version}`)])));
    });
  };
  const first = await listen(serve);
  const client = new XdsClient({
    bootstrap: bootstrap({
      servers: [{ uri: `127.0.0.1:${first.port}`, credentials: { type: 'insecure' }, features: [], protocol: 'sotw', aggregated: true }],
    }),
    transport: (server) => createAdsTransport(server),
    types: Object.values(fakeTypes()),
    decode: { filters: [], lbPolicies: [] },
    clock: new RealClock(),
    random: realRandom,
    log: silentLogger,
    wildcard: false,
    userAgentVersion: '1',
  });
  onTestFinished(() => client.close());
  const until = async (text: string): Promise<void> => {
    const state = client.get('listener', 'a');
    if (state.status === 'present' && String(state.value) === text) return;
    await new Promise<void>((resolve) => client.onChange(() => resolve()));
    await until(text);
  };
  client.want([{ kind: 'listener', name: 'a' }]);
  await until('value 1');
  expect(client.describe().connected).toBe(true);
  first.server.forceShutdown();
  await pause(50);
  expect(client.describe().connected).toBe(false);
  expect(client.get('listener', 'a').status).toBe('present');
  await listen(serve, undefined, first.port);
  await until('value 2');
});

describe('a process with an open stream', () => {
  const script = `
    import { createAdsTransport } from ${JSON.stringify(new URL('../../../src/adapters/grpc/ads-stream.ts', import.meta.url).href)};
    const [port, background] = process.argv.slice(1);
    const transport = createAdsTransport({ uri: '127.0.0.1:' + port, credentials: { type: 'insecure' } }, { background: background === 'true' });
    transport.open(${JSON.stringify(METHOD)}, { onConnected() {}, onEnd() {}, onMessage() { console.log('message'); } });
  `;

  test.each([true, false])('background: %s', async (background) => {
    const { port } = await listen((stream) => stream.write(Buffer.of(1)));
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, String(port), String(background)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill());
    await once(child.stdout, 'data');
    const exited = await Promise.race([
      once(child, 'exit').then(([code]) => `exit ${String(code)}`),
      pause(background ? 10_000 : 700).then(() => 'runs'),
    ]);
    expect(exited).toBe(background ? 'exit 0' : 'runs');
  });
});
