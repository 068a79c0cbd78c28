/** Every deed of a misbehave script on a real socket, seen by a plain grpc-js client; and a mesh that lives through some of them. */
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { Step } from '../../src/control-plane/misbehave/script.ts';
import { anyToJson } from '../../src/proto/any.ts';
import { serve, until } from '../support/http-servers.ts';
import { meshOver } from '../support/mesh-app.ts';
import { RawDelta, RawSotw } from '../support/raw-xds.ts';

const FILE = 'version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1000"] }\n  b: { endpoints: ["127.0.0.1:2"] }\n  c: {}\n';
const EDS = TYPE_URLS.endpoints;
const CDS = TYPE_URLS.cluster;

async function start(misbehave: readonly Step[], options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> {
  const plane = await ControlPlane.start({ text: FILE, misbehave, ...options });
  onTestFinished(() => plane.close());
  return plane;
}

function readable(any: { readonly typeUrl: string; readonly value: Uint8Array }): boolean {
  try {
    anyToJson(any);
    return true;
  } catch {
    return false;
  }
}

describe('responses that are not as they should be', () => {
  test('stale-nonce: the second response carries the nonce of the first; its answer still counts', async () => {
    const plane = await start([{ do: 'stale-nonce', on: 'endpoints', after: 1 }]);
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: EDS, resourceNames: ['a'] });
    const first = await client.next();
    client.send({ typeUrl: EDS, resourceNames: ['a'], responseNonce: first.nonce });
    plane.update(FILE.replace('1000', '1001'));
    const second = await client.next();
    expect(second.nonce).toBe(first.nonce);
    client.send({ typeUrl: EDS, resourceNames: ['a', 'b'], responseNonce: second.nonce });
    expect((await client.next()).nonce).not.toBe(first.nonce);
  });

  test('duplicate, junk, wrong-type: in both dialects, and the right response after the repair', async () => {
    const plane = await start([
      { do: 'duplicate', on: 'cluster' },
      { do: 'junk', on: 'endpoints', repairMs: 20 },
      { do: 'wrong-type', on: 'routes' },
    ]);
    const sotw = new RawSotw(plane.address);
    sotw.send({ typeUrl: CDS });
    expect((await sotw.next()).resources).toHaveLength(4);
    sotw.send({ typeUrl: EDS, resourceNames: ['a', 'b'] });
    const junk = await sotw.next();
    expect(junk.resources.map(readable)).toEqual([false, true]);
    const right = await sotw.next();
    expect(right.resources.map(readable)).toEqual([true, true]);
    expect(right.versionInfo).toBe(junk.versionInfo);
    expect(right.nonce).not.toBe(junk.nonce);
    sotw.send({ typeUrl: TYPE_URLS.routes, resourceNames: ['a'] });
    expect((await sotw.next()).resources[0]?.typeUrl).not.toBe(TYPE_URLS.routes);

    plane.misbehave([{ do: 'duplicate' }, { do: 'junk', on: 'endpoints' }]);
    const delta = new RawDelta(plane.address);
    delta.send({ typeUrl: CDS, resourceNamesSubscribe: ['a'] });
    expect((await delta.next()).resources.map(({ name }) => name)).toEqual(['a', 'a']);
    delta.send({ typeUrl: EDS, resourceNamesSubscribe: ['a', 'b'] });
    const bodies = (await delta.next()).resources;
    expect(bodies.map(({ resource }) => resource !== undefined && readable(resource))).toEqual([false, true]);
  });

  test('unknown-type comes before the right response; unasked brings more; repeat repeats; errors replace', async () => {
    const plane = await start([
      { do: 'unknown-type', on: 'cluster' },
      { do: 'unasked', on: 'endpoints' },
      { do: 'repeat', on: 'routes', copies: 2 },
      { do: 'errors', on: 'listener', code: 'NOT_FOUND', message: 'gone' },
    ]);
    const client = new RawDelta(plane.address);
    client.send({ typeUrl: CDS, resourceNamesSubscribe: ['a'] });
    expect((await client.next()).typeUrl).toMatch(/Nothing$/);
    expect((await client.next()).typeUrl).toBe(CDS);
    client.send({ typeUrl: EDS, resourceNamesSubscribe: ['a'] });
    expect((await client.next()).resources.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    client.send({ typeUrl: TYPE_URLS.routes, resourceNamesSubscribe: ['a'] });
    const three = [await client.next(), await client.next(), await client.next()];
    expect(new Set(three.map(({ nonce }) => nonce)).size).toBe(3);
    client.send({ typeUrl: TYPE_URLS.listener, resourceNamesSubscribe: ['a'] });
    expect(await client.next()).toMatchObject({
      resources: [],
      resourceErrors: [{ resourceName: { name: 'a' }, errorDetail: { code: 5, message: 'gone' } }],
    });
  });

  test('slow and huge', async () => {
    const plane = await start([
      { do: 'slow', on: 'endpoints', byMs: 60 },
      { do: 'huge', on: 'endpoints', bytes: 300_000 },
    ]);
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: EDS, resourceNames: ['a'] });
    const before = performance.now();
    const bytes = await client.stream.next();
    expect(performance.now() - before).toBeGreaterThan(50);
    expect(bytes.length).toBeGreaterThan(300_000);
    client.send({ typeUrl: CDS, resourceNames: ['a'] });
    expect((await client.next()).typeUrl).toBe(CDS);
  });

  test('only on the nodes and as often as it is said', async () => {
    const plane = await start([{ do: 'duplicate', node: 'web-*', times: 2 }]);
    const count = async (id: string): Promise<number> => {
      const client = new RawSotw(plane.address);
      client.send({ typeUrl: EDS, resourceNames: ['a'], node: { id } });
      return (await client.next()).resources.length;
    };
    expect([await count('api'), await count('web-1'), await count('web-2'), await count('web-3')]).toEqual([1, 2, 2, 1]);
  });
});

describe('what happens by itself', () => {
  test('silence on one type, for a while', async () => {
    const plane = await start([{ do: 'silence', on: 'endpoints', forMs: 80 }]);
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: EDS, resourceNames: ['a'] });
    client.send({ typeUrl: CDS, resourceNames: ['a'] });
    expect((await client.next()).typeUrl).toBe(CDS);
    expect((await client.next()).typeUrl).toBe(EDS);
  });

  test('reset with a code, after so many responses or after a time; the next stream is well', async () => {
    const plane = await start([
      { do: 'reset', after: 2, code: 'RESOURCE_EXHAUSTED', message: 'enough' },
      { do: 'reset', afterMs: 100, code: 'INTERNAL' },
    ]);
    const one = new RawDelta(plane.address);
    one.send({ typeUrl: EDS, resourceNamesSubscribe: ['a'] });
    await one.next();
    one.send({ typeUrl: CDS, resourceNamesSubscribe: ['a'] });
    await one.next();
    expect(await one.stream.ended).toEqual({ code: 8, details: 'enough' });
    const two = new RawDelta(plane.address);
    two.send({ typeUrl: EDS, resourceNamesSubscribe: ['a'] });
    await two.next();
    expect(await two.stream.ended).toMatchObject({ code: 13 });
    const three = new RawDelta(plane.address);
    three.send({ typeUrl: EDS, resourceNamesSubscribe: ['a'] });
    await three.next();
    expect(await three.stream.silentFor(150)).toBe(true);
  });

  test('empty, and back: complete lists in one dialect, removals in the other', async () => {
    const plane = await start([]);
    const sotw = new RawSotw(plane.address);
    sotw.send({ typeUrl: CDS });
    await sotw.next();
    const delta = new RawDelta(plane.address);
    delta.send({ typeUrl: EDS, resourceNamesSubscribe: ['a'] });
    await delta.next();
    plane.misbehave([{ do: 'empty', forMs: 50, times: 2 }]);
    expect(await sotw.next()).toMatchObject({ typeUrl: CDS, versionInfo: '0', resources: [] });
    expect(await delta.next()).toMatchObject({ resources: [], removedResources: ['a'] });
    expect((await sotw.next()).resources).toHaveLength(3);
    expect((await delta.next()).resources.map(({ name }) => name)).toEqual(['a']);
  });

  test('an older version comes back', async () => {
    const plane = await start([]);
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: EDS, resourceNames: ['a'] });
    const old = await client.next();
    client.send({ typeUrl: EDS, resourceNames: ['a'], responseNonce: old.nonce });
    plane.update(FILE.replace('1000', '1001'));
    const now = await client.next();
    expect([old.versionInfo, now.versionInfo]).toEqual(['1', '2']);
    plane.misbehave([{ do: 'older-version', on: 'endpoints', forMs: 30 }]);
    const back = await client.next();
    expect(back.versionInfo).toBe('1');
    expect(back.resources[0]?.value).toEqual(old.resources[0]?.value);
    expect((await client.next()).versionInfo).toBe('2');
  });

  test('repeat-on-nack: what is refused comes again, each time with a nonce of its own', async () => {
    const plane = await start([{ do: 'junk', on: 'endpoints' }, { do: 'repeat-on-nack' }]);
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: EDS, resourceNames: ['a'] });
    const nonces = new Set<string>();
    let response = await client.next();
    for (let round = 0; round < 20; round++) {
      nonces.add(response.nonce);
      client.send({ typeUrl: EDS, resourceNames: ['a'], responseNonce: response.nonce, errorDetail: { code: 3, message: 'junk' } });
      response = await client.next();
      expect(readable(response.resources[0] ?? { typeUrl: '', value: new Uint8Array() })).toBe(false);
    }
    expect(nonces.size).toBe(20);
    expect(plane.nacks).toHaveLength(20);
    client.send({ typeUrl: EDS, resourceNames: ['a', 'b'], responseNonce: response.nonce });
    expect((await client.next()).resources).toHaveLength(1);
  });

  test('hang: open, and neither read nor written; then alive again', async () => {
    const plane = await start([{ do: 'hang', after: 1, forMs: 150 }]);
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: EDS, resourceNames: ['a'] });
    const { nonce } = await client.next();
    await new Promise((resolve) => setTimeout(resolve, 40));
    plane.update(FILE.replace('1000', '1001'));
    client.send({ typeUrl: CDS, resourceNames: ['a'] });
    expect(await client.stream.silentFor(60)).toBe(true);
    expect((await client.next()).nonce).not.toBe(nonce);
    expect((await client.next()).typeUrl).toBe(CDS);
  });

  test('disconnect: the connection is cut', async () => {
    const plane = await start([{ do: 'disconnect', after: 1 }]);
    const client = new RawSotw(plane.address);
    client.send({ typeUrl: EDS, resourceNames: ['a'] });
    await client.next();
    expect(await client.stream.ended).toMatchObject({ code: 14 });
  });
});

test('a plane that shall misbehave later says so at its start; its port is free afterwards', async () => {
  const plain = await ControlPlane.start({ text: FILE });
  onTestFinished(() => plain.close());
  expect(() => plain.misbehave([])).toThrow(/misbehave: \[\]/);
  await expect(start([{ do: 'junk', on: 'endpoint' }])).rejects.toThrow(/"endpoint" is neither/);
  const plane = await ControlPlane.start({ text: FILE, misbehave: [] });
  const { port } = plane;
  await plane.close();
  const refused = await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  expect(refused).toBe('ECONNREFUSED');
});

test.each(['sotw', 'delta'] as const)('a mesh goes on serving through refusals, emptiness of one type and resets, %s', async (protocol) => {
  const backend = await serve((_request, response) => response.end('shop'));
  const text = (path: string): string =>
    `version: 1\nservices:\n  shop: { endpoints: ["127.0.0.1:${backend.port}"], routes: [{ match: { path: ${path} } }] }\n`;
  const plane = await start([], { text: text('/**') });
  const mesh = await meshOver(plane, ['shop'], undefined, { protocol });
  const get = async (): Promise<string> => (await mesh.fetch('http://shop/')).text();
  expect(await get()).toBe('shop');
  plane.misbehave([{ do: 'junk', on: 'routes' }, { do: 'repeat-on-nack' }]);
  plane.update(text('/other'));
  await until(() => plane.nacks.length > 0);
  expect(await get()).toBe('shop');
  plane.misbehave([{ do: 'reset' }]);
  await until(() => plane.nodes.length === 0);
  expect(await get()).toBe('shop');
});
