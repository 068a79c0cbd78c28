/** What a stream to a control plane says about who opens it, against a real grpc-js server on loopback; and certificates that rotate. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Metadata, ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAdsTransport } from '../../../src/adapters/grpc/ads-stream.ts';
import type { AdsServer, AdsTransportOptions } from '../../../src/adapters/grpc/ads-stream.ts';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import type { Logger } from '../../../src/core/log.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import { FakeClock } from '../../../src/testing/index.ts';
import { byteStream, portOf } from '../../support/byte-server.ts';

const METHOD = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';
const definition = {
  stream: byteStream(METHOD),
} satisfies ServiceDefinition;

const clock = new RealClock();
const ca = createTestCa({ trustDomain: 'test', clock });
const folder = mkdtempSync(join(tmpdir(), 'inmesh-auth-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
  return path;
}

const trust = write('ca.pem', ca.certificatePem);
const SECRET = 'very-secret-token';

interface Seen {
  readonly metadata: Metadata;
  /** Names in the client's certificate. */
  readonly peer: string;
}

async function control(
  options: { tls?: boolean; clients?: boolean; refuse?: { code: number; details: string } } = {},
): Promise<{ readonly port: number; readonly seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = new Server();
  server.addService(definition, {
    stream(call: ServerDuplexStream<Buffer, Buffer>) {
      const peer = options.clients === true ? String(call.getAuthContext().sslPeerCertificate?.subjectaltname) : '';
      seen.push({ metadata: call.metadata, peer });
      if (options.refuse === undefined) call.write(Buffer.of(1));
      else call.emit('error', options.refuse);
    },
  });
  const { certificateChainPem, privateKeyPem } = ca.issue({ dnsNames: ['localhost'] });
  const pair = { cert_chain: Buffer.from(certificateChainPem), private_key: Buffer.from(privateKeyPem) };
  const credentials =
    options.tls === true
      ? ServerCredentials.createSsl(Buffer.from(ca.certificatePem), [pair], options.clients ?? false)
      : ServerCredentials.createInsecure();
  const port = await portOf(server, '127.0.0.1:0', credentials);
  onTestFinished(() => server.forceShutdown());
  return { port, seen };
}

/** Everything that was logged, as one text. */
function recorder(): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const add = (message: string, fields?: object): void => void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  return { lines, log: { debug: add, info: add, warn: add, error: add } };
}

function transport(server: AdsServer, options: AdsTransportOptions = {}) {
  const made = createAdsTransport(server, { environment: {}, ...options });
  onTestFinished(() => made.close());
  return made;
}

/** `ok`, or the status with its text. */
function outcome(made: ReturnType<typeof transport>): Promise<string> {
  return new Promise((resolve) => {
    const stream = made.open(METHOD, {
      onConnected: () => undefined,
      onMessage() {
        resolve('ok');
        stream.cancel();
      },
      onEnd: (code, details) => resolve(`${code}: ${details}`),
    });
    stream.send(Buffer.of(1));
  });
}

const TLS = { type: 'tls', certificateFile: undefined, privateKeyFile: undefined, caCertificateFile: trust } as const;
const PLAIN = { type: 'insecure' } as const;

function jwt(exp: number, note = ''): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ exp, note })}.${Buffer.from('signature').toString('base64url')}`;
}

describe('metadata', () => {
  test('texts and files, read anew for every stream; one warning where the channel is not encrypted', async () => {
    const { port, seen } = await control();
    const { log, lines } = recorder();
    const path = write('consul', `${SECRET}\n`);
    const made = transport(
      {
        uri: `127.0.0.1:${port}`,
        credentials: PLAIN,
        metadata: [
          { key: 'x-consul-token', parts: [{ file: path }] },
          { key: 'authorization', parts: ['Bearer ', { file: path }] },
          { key: 'x-plain', parts: ['a b'] },
          { key: 'x-empty', parts: [''] },
        ],
      },
      { log },
    );
    expect(await outcome(made)).toBe('ok');
    write('consul', 'second');
    expect(await outcome(made)).toBe('ok');
    expect(seen.map(({ metadata }) => metadata.getMap())).toMatchObject([
      { 'x-consul-token': SECRET, authorization: `Bearer ${SECRET}`, 'x-plain': 'a b' },
      { 'x-consul-token': 'second', authorization: 'Bearer second' },
    ]);
    expect(seen[0]?.metadata.get('x-empty')).toEqual(['']);
    expect(lines).toEqual([
      `metadata for the control plane goes over an insecure channel: x-consul-token, authorization, x-plain {"server":"127.0.0.1:${port}"}`,
    ]);
  });

  test('over TLS there is no warning', async () => {
    const { port, seen } = await control({ tls: true });
    const { log, lines } = recorder();
    expect(
      await outcome(
        transport({ uri: `localhost:${port}`, credentials: TLS, metadata: [{ key: 'x-consul-token', parts: [SECRET] }] }, { log }),
      ),
    ).toBe('ok');
    expect(seen[0]?.metadata.get('x-consul-token')).toEqual([SECRET]);
    expect(lines).toEqual([]);
  });

  test.each([
    ['is missing', () => join(folder, 'nowhere'), /^14: no credentials: cannot read .*nowhere: ENOENT$/],
    ['is empty', () => write('empty', ' \n'), /^14: no credentials: .*empty is empty$/],
    [
      'has two lines',
      () => write('lines', `${SECRET}\nsecond`),
      /^14: no credentials: .*lines holds characters that metadata cannot carry/,
    ],
    ['is too long', () => write('long', 'x'.repeat(70_000)), /^14: no credentials: .*long has 70000 bytes/],
  ])('a file that %s: no connection is made', async (_name, path, message) => {
    const { port, seen } = await control();
    const made = transport({ uri: `127.0.0.1:${port}`, credentials: PLAIN, metadata: [{ key: 'x', parts: [{ file: path() }] }] });
    const found = await outcome(made);
    expect(found).toMatch(message);
    expect(found).not.toContain(SECRET);
    expect(seen).toEqual([]);
  });
});

describe('a JWT in a file (gRFC A97)', () => {
  const now = Date.now() / 1000;

  test('sent as Bearer; kept until it nears its end, then read again', async () => {
    const { port, seen } = await control({ tls: true });
    const fake = new FakeClock();
    const start = fake.wallTime() / 1000;
    const first = jwt(start + 600, 'first');
    const path = write('jwt', first);
    const made = transport(
      { uri: `localhost:${port}`, credentials: TLS, callCredentials: [{ type: 'jwt_token_file', path }] },
      { clock: fake },
    );
    expect(await outcome(made)).toBe('ok');
    const second = jwt(start + 1200, 'second');
    write('jwt', `${second}\n`);
    expect(await outcome(made)).toBe('ok');
    await fake.advance(580_000);
    expect(await outcome(made)).toBe('ok');
    const sent = seen.map(({ metadata }) => metadata.get('authorization'));
    expect(sent).toEqual([[`Bearer ${first}`], [`Bearer ${first}`], [`Bearer ${second}`]]);
  });

  test.each([
    ['is missing', () => join(folder, 'no-jwt'), /^14: no credentials: cannot read .*no-jwt: ENOENT$/],
    ['is no JWT', () => write('opaque', SECRET), /^16: no credentials: .*opaque holds no JWT with an expiry/],
    ['has no exp', () => write('forever', jwt(Number.NaN)), /^16: no credentials: .*forever holds no JWT with an expiry/],
    ['has expired', () => write('old', jwt(now - 10)), /^16: no credentials: .*old gave a token that has expired$/],
  ])('a file that %s', async (_name, path, message) => {
    const { port, seen } = await control({ tls: true });
    const server: AdsServer = { uri: `localhost:${port}`, credentials: TLS, callCredentials: [{ type: 'jwt_token_file', path: path() }] };
    const found = await outcome(transport(server));
    expect(found).toMatch(message);
    expect(found).not.toContain(SECRET);
    expect(seen).toEqual([]);
  });

  test('never in the clear, whoever forgot to check; cancelled while it is read', async () => {
    const { port, seen } = await control();
    const path = write('clear', jwt(now + 600));
    const server: AdsServer = { uri: `127.0.0.1:${port}`, credentials: PLAIN, callCredentials: [{ type: 'jwt_token_file', path }] };
    expect(await outcome(transport(server))).toBe('16: no credentials: tokens are not sent over an insecure channel');
    const ends: number[] = [];
    const slow: AdsServer = { uri: `127.0.0.1:${port}`, credentials: PLAIN, metadata: [{ key: 'x', parts: [{ file: path }] }] };
    transport(slow)
      .open(METHOD, { onConnected() {}, onMessage() {}, onEnd: (code) => void ends.push(code) })
      .cancel();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([ends, seen]).toEqual([[1], []]);
  });
});

test('a refusal says what was sent, without the values, also where the server repeats them', async () => {
  const details = `bad token ${SECRET}`;
  const refused = await control({ refuse: { code: 16, details } });
  const metadata = [{ key: 'x-consul-token', parts: ['Bearer ', { file: write('sent', SECRET) }] }];
  expect(await outcome(transport({ uri: `127.0.0.1:${refused.port}`, credentials: PLAIN, metadata }))).toBe(
    `16: bad token [redacted] (sent: x-consul-token (from ${join(folder, 'sent')}))`,
  );
  const denied = await control({ tls: true, refuse: { code: 7, details: 'no' } });
  const { certificateChainPem: cert, privateKeyPem: key } = ca.issue({ spiffeId: 'spiffe://test/a' });
  const pair = { certificateFile: write('c.pem', cert), privateKeyFile: write('k.pem', key) };
  expect(await outcome(transport({ uri: `localhost:${denied.port}`, credentials: { ...TLS, ...pair } }))).toBe(
    '7: no (sent: a client certificate)',
  );
  expect(await outcome(transport({ uri: `localhost:${denied.port}`, credentials: TLS }))).toBe('7: no (no credentials were sent)');
  const other = await control({ refuse: { code: 5, details: 'gone' } });
  expect(await outcome(transport({ uri: `127.0.0.1:${other.port}`, credentials: PLAIN, metadata }))).toBe('5: gone');
});

describe('certificates that rotate', () => {
  test('the next connection has the new pair; a broken rotation keeps the last good one, and a broken CA file too', async () => {
    const { port, seen } = await control({ tls: true, clients: true });
    const { log, lines } = recorder();
    const issue = (name: string) => ca.issue({ spiffeId: `spiffe://test/${name}` });
    const put = ({ certificateChainPem, privateKeyPem }: ReturnType<typeof issue>): void => {
      write('cert.pem', certificateChainPem);
      write('key.pem', privateKeyPem);
    };
    put(issue('one'));
    const anchors = write('anchors.pem', ca.certificatePem);
    const files = { certificateFile: join(folder, 'cert.pem'), privateKeyFile: join(folder, 'key.pem'), caCertificateFile: anchors };
    const made = transport({ uri: `localhost:${port}`, credentials: { type: 'tls', ...files } }, { log });
    expect(await outcome(made)).toBe('ok');
    const two = issue('two');
    put(two);
    expect(await outcome(made)).toBe('ok');
    // Caught half-way: the new certificate with the old key.
    const three = issue('three');
    write('cert.pem', three.certificateChainPem);
    expect(await outcome(made)).toBe('ok');
    expect(await outcome(made)).toBe('ok');
    write('anchors.pem', 'nonsense');
    write('cert.pem', 'nonsense');
    expect(await outcome(made)).toBe('ok');
    write('anchors.pem', ca.certificatePem);
    put(three);
    expect(await outcome(made)).toBe('ok');
    expect(seen.map(({ peer }) => peer.replace('URI:spiffe://test/', ''))).toEqual(['one', 'two', 'two', 'two', 'two', 'three']);
    expect(lines).toEqual([
      expect.stringMatching(/cert\.pem and .*key\.pem do not belong together {"kept":true}/),
      expect.stringMatching(/cert\.pem holds no PEM certificate that can be read; .*anchors\.pem holds no PEM certificate .*"kept":true/),
      expect.stringMatching(/in order again/),
    ]);
  });

  test('files that were never good: no connection', async () => {
    const { port, seen } = await control({ tls: true });
    const broken = transport({ uri: `localhost:${port}`, credentials: { ...TLS, caCertificateFile: write('bad.pem', 'nonsense') } });
    expect(await outcome(broken)).toMatch(/^14: TLS handshake: no certificates: .*bad\.pem holds no PEM certificate/);
    expect(seen).toEqual([]);
  });
});
