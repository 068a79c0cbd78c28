/** The development control plane on a real socket, seen by a plain grpc-js client: what it serves, hot reload in time, certificates. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { X509Certificate } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { Client, credentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ResourceKind } from '../../src/config/resource.ts';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { ControlPlaneOptions, Update } from '../../src/control-plane/control-plane.ts';
import { ControlPlane, PROVIDER_INSTANCE } from '../../src/control-plane/control-plane.ts';
import { MeshError } from '../../src/core/errors.ts';
import { unpack } from '../../src/proto/any.ts';
import type { DiscoveryResponse } from '../../src/proto/discovery.ts';
import { decodeDiscoveryResponse, encodeDiscoveryRequest } from '../../src/proto/discovery.ts';
import { readBootstrap } from '../../src/xds/bootstrap.ts';

const METHOD = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';
const FILE =
  'version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1000"] }\n  b: { endpoints: ["127.0.0.1:2"], mtls: strict }\ninbound: [{ port: 80, mtls: strict }]\n';

/** A client that knows nothing of inmesh: sends requests, takes responses in order. */
class RawClient {
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<Buffer, Buffer>;
  readonly #queue: { readonly response: DiscoveryResponse; readonly at: number }[] = [];
  readonly #nonces = new Map<string, DiscoveryResponse>();
  readonly ended: Promise<number>;
  #wake: (() => void) | undefined;
  #first = true;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 });
    const same = (bytes: Buffer): Buffer => bytes;
    this.#stream = this.#client.makeBidiStreamRequest(METHOD, same, same);
    this.#stream.on('data', (bytes: Buffer) => {
      const response = decodeDiscoveryResponse(bytes);
      this.#nonces.set(response.typeUrl, response);
      this.#queue.push({ response, at: performance.now() });
      this.#wake?.();
    });
    this.ended = new Promise((resolve) => {
      this.#stream.on('error', () => undefined);
      this.#stream.on('status', (status: { code: number }) => resolve(status.code));
    });
    onTestFinished(() => this.close());
  }

  ask(kind: ResourceKind, names: readonly string[], refusal?: string): void {
    const last = this.#nonces.get(TYPE_URLS[kind]);
    const node = {
      id: 'raw',
      cluster: '',
      metadata: {},
      locality: { region: '', zone: '', subZone: '' },
      userAgentName: 'test',
      userAgentVersion: '1',
      clientFeatures: [],
    };
    const bytes = encodeDiscoveryRequest({
      typeUrl: TYPE_URLS[kind],
      versionInfo: refusal === undefined ? (last?.versionInfo ?? '') : '',
      resourceNames: names,
      responseNonce: last?.nonce ?? '',
      errorDetail: refusal === undefined ? undefined : { code: 3, message: refusal },
      node: this.#first ? node : undefined,
    });
    this.#first = false;
    this.#stream.write(Buffer.from(bytes));
  }

  async next(): Promise<{ readonly response: DiscoveryResponse; readonly at: number }> {
    for (;;) {
      const found = this.#queue.shift();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }
}

async function start(options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> {
  const plane = await ControlPlane.start({ text: FILE, ...options });
  onTestFinished(() => plane.close());
  return plane;
}

function temporaryFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'mesh.yaml');
  writeFileSync(file, text);
  return file;
}

interface Assignment {
  readonly endpoints: readonly {
    readonly lbEndpoints: readonly {
      readonly hostIdentifier: {
        readonly value: {
          readonly address: { readonly address: { readonly value: { readonly portSpecifier: { readonly value: number } } } };
        };
      };
    }[];
  }[];
}
const portOf = (response: DiscoveryResponse): number | undefined => {
  const [any] = response.resources;
  return any === undefined
    ? undefined
    : unpack<Assignment>(any).endpoints[0]?.lbEndpoints[0]?.hostIdentifier.value.address.address.value.portSpecifier.value;
};

describe('the control plane', () => {
  test('answers, pushes, and hears refusals', async () => {
    const heard: string[] = [];
    const plane = await start({ onNack: (nack) => void heard.push(`${nack.nodeId} ${nack.message}`) });
    const client = new RawClient(plane.address);
    client.ask('listener', ['a']);
    expect((await client.next()).response).toMatchObject({ typeUrl: TYPE_URLS.listener, versionInfo: '1', resources: [{}] });
    client.ask('listener', ['a']);
    client.ask('endpoints', ['a']);
    const first = (await client.next()).response;
    expect([first.versionInfo, portOf(first)]).toEqual(['1', 1000]);
    client.ask('endpoints', ['a']);
    expect(plane.update(FILE.replace('1000', '1001'))).toMatchObject({ ok: true, changed: [{ kind: 'endpoints', name: 'a' }] });
    const second = (await client.next()).response;
    expect([second.versionInfo, portOf(second)]).toEqual(['2', 1001]);
    client.ask('endpoints', ['a'], 'no such port');
    client.ask('cluster', ['b']);
    await client.next();
    expect(heard).toEqual(['raw no such port']);
    expect(plane.nacks).toMatchObject([{ typeUrl: TYPE_URLS.endpoints, version: '2' }]);
    expect(plane.nodes).toEqual(['raw']);
  });

  test('misbehaves when told to: silence, then dropped streams', async () => {
    const plane = await start();
    const client = new RawClient(plane.address);
    plane.pause();
    client.ask('endpoints', ['a']);
    client.ask('listener', ['a']);
    plane.update(FILE.replace('1000', '1001'));
    const answer = client.next();
    expect(await Promise.race([answer.then(() => 'answered'), new Promise((resolve) => setTimeout(resolve, 50, 'silent'))])).toBe('silent');
    plane.resume();
    const responses = [await answer, await client.next()].map(({ response }) => response);
    expect(responses.map(({ typeUrl }) => typeUrl).sort()).toEqual([TYPE_URLS.endpoints, TYPE_URLS.listener].sort());
    plane.dropStreams();
    expect(await client.ended).toBe(14);
    expect(plane.nodes).toEqual([]);
  });

  test('bytes that are no request end the stream, not the server', async () => {
    const plane = await start();
    const client = new Client(plane.address, credentials.createInsecure());
    onTestFinished(() => client.close());
    const same = (bytes: Buffer): Buffer => bytes;
    const stream = client.makeBidiStreamRequest(METHOD, same, same);
    stream.on('error', () => undefined);
    const code = new Promise((resolve) => stream.on('status', (status: { code: number }) => resolve(status.code)));
    stream.on('data', () => undefined);
    stream.write(Buffer.from([0xff, 0xff, 0xff]));
    expect(await code).toBe(3);
    const other = new RawClient(plane.address);
    other.ask('cluster', ['a']);
    expect((await other.next()).response.resources).toHaveLength(1);
  });

  test('an invalid file or a taken port is told at the start', async () => {
    await expect(ControlPlane.start({ text: 'version: 2' })).rejects.toThrow(/mesh\.yaml:1:10/);
    const plane = await start();
    await expect(ControlPlane.start({ text: FILE, port: plane.port })).rejects.toThrow(MeshError);
  });
});

describe('hot reload', () => {
  const SAVES = 40;

  test(`${SAVES} saves, half of them invalid: each valid one is on the wire within 100 ms of the write, the others change nothing`, async () => {
    const file = temporaryFile(FILE);
    const updates: Update[] = [];
    const plane = await ControlPlane.start({ file, onUpdate: (update) => void updates.push(update) });
    onTestFinished(() => plane.close());
    const client = new RawClient(plane.address);
    client.ask('endpoints', ['a']);
    await client.next();
    client.ask('endpoints', ['a']);
    const times: number[] = [];
    const invalid = ['version: 1\nservices: [', FILE.replace('127.0.0.1:1000', '127.0.0.1'), `${FILE}nonsense: 1\n`, ''];
    for (let save = 0; save < SAVES; save += 2) {
      const seen = updates.length;
      writeFileSync(file, invalid[(save / 2) % invalid.length] ?? '');
      while (updates.length === seen) await new Promise((resolve) => setTimeout(resolve, 1));
      const port = 1001 + save;
      const written = performance.now();
      writeFileSync(file, FILE.replace('1000', String(port)));
      const { response, at } = await client.next();
      times.push(at - written);
      expect(portOf(response)).toBe(port);
      client.ask('endpoints', ['a']);
    }
    expect(updates.map(({ ok }) => ok)).toEqual(Array.from({ length: SAVES }, (_, index) => index % 2 === 1));
    times.sort((a, b) => a - b);
    expect(times.at(-1)).toBeLessThan(100);
  });
});

describe('certificates', () => {
  test('a bootstrap with certificate files of the identity; nothing is left after close', async () => {
    const plane = await ControlPlane.start({ text: FILE });
    const file = plane.bootstrapFile('web-1', 'web');
    const bootstrap = readBootstrap(readFileSync(file, 'utf8'), file);
    expect(bootstrap).toMatchObject({
      servers: [{ uri: plane.address, credentials: { type: 'insecure' } }],
      node: { id: 'web-1' },
      serverListenerTemplate: 'inbound/%s',
    });
    const provider = bootstrap.certificateProviders[PROVIDER_INSTANCE];
    const { certificateFile = '', privateKeyFile = '', caCertificateFile = '' } = provider as unknown as Record<string, string>;
    const leaf = new X509Certificate(readFileSync(certificateFile));
    const ca = new X509Certificate(readFileSync(caCertificateFile));
    expect(leaf.subjectAltName).toBe('URI:spiffe://dev/web');
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(statSync(privateKeyFile).mode & 0o077).toBe(0);
    plane.certificates.rotate('web');
    expect(new X509Certificate(readFileSync(certificateFile)).serialNumber).not.toBe(leaf.serialNumber);
    const folder = dirname(file);
    expect(existsSync(folder)).toBe(true);
    await plane.close();
    expect(existsSync(folder)).toBe(false);
  });

  test('a process without an identity has no certificate', async () => {
    const plane = await start();
    const providers = plane.bootstrap('nobody')['certificate_providers'] as Record<string, { config: Record<string, string> }>;
    expect(Object.keys(providers[PROVIDER_INSTANCE]?.config ?? {}).sort()).toEqual(['ca_certificate_file', 'refresh_interval']);
  });

  test('inline: every node gets its own certificate in the resource', async () => {
    const plane = await start({ certificates: 'inline' });
    plane.bootstrap('raw', 'raw-identity');
    const client = new RawClient(plane.address);
    client.ask('cluster', ['b']);
    const [any] = (await client.next()).response.resources;
    expect(any?.value === undefined ? '' : Buffer.from(any.value).toString('latin1')).toContain(
      plane.certificates.inline('raw-identity').certificateChainPem.slice(0, 200),
    );
  });

  test('the trust domain of certificates that are out there stays', async () => {
    const plane = await start();
    expect(plane.update(`${FILE}identity: { trustDomain: other }\n`)).toMatchObject({
      ok: false,
      errors: [{ line: 6, path: 'identity.trustDomain' }],
    });
  });
});
