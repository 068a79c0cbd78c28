/**
 * Every way of calling × {plain, mutual TLS} over the project's control plane: it works, reconfiguration under load loses no call, and a
 * dead control plane harms nobody.
 */
import { createServer } from 'node:http';
import { ChannelCredentials } from '@grpc/grpc-js';
import { request } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Mesh } from '../../src/index.ts';
import type { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { chat, collect, echoStub, expand, startEcho, unary } from '../support/echo-grpc.ts';
import type { EchoStub } from '../support/echo-grpc.ts';
import { track, until } from '../support/http-servers.ts';
import { expectIdle, freePort, meshOver, planeOf, rawGet } from '../support/mesh-app.ts';

interface World {
  readonly plane: ControlPlane;
  readonly mesh: Mesh;
  readonly stub: EchoStub;
  /** Serves version `v` from now on. */
  use(version: number): void;
  /** Calls served by each version. */
  hits(): readonly [number, number];
  readonly ports: readonly number[];
}

async function world(mtls: 'strict' | 'off'): Promise<World> {
  const ports = await Promise.all(Array.from({ length: 4 }, freePort));
  const [h0, h1, g0, g1] = ports;
  const yaml = (version: number): string => `version: 1
services:
  shop: { endpoints: [{ address: "127.0.0.1:${h0}", labels: { v: "0" } }, { address: "127.0.0.1:${h1}", labels: { v: "1" } }], mtls: ${mtls}${mtls === 'strict' ? ', identity: spiffe://dev/server' : ''}, routes: [{ to: { labels: { v: "${version}" } } }] }
  echo: { endpoints: [{ address: "127.0.0.1:${g0}", labels: { v: "0" } }, { address: "127.0.0.1:${g1}", labels: { v: "1" } }], protocol: grpc, mtls: ${mtls}${mtls === 'strict' ? ', identity: spiffe://dev/server' : ''}, routes: [{ to: { labels: { v: "${version}" } } }] }
inbound: [${ports.map((port) => `{ port: ${port}, mtls: ${mtls}${mtls === 'strict' ? ', allow: [{ from: [spiffe://dev/app] }]' : ''} }`).join(', ')}]
`;
  const plane = await planeOf(yaml(0));
  const serving = await meshOver(plane, [], 'server');
  const hits = [0, 0];
  for (const [version, port] of [
    [0, h0],
    [1, h1],
  ] as const) {
    const server = createServer((incoming, response) => {
      hits[version] = (hits[version] ?? 0) + 1;
      const parts: Buffer[] = [];
      incoming.on('data', (part: Buffer) => parts.push(part));
      incoming.on('end', () => response.end(`v${version} ${Buffer.concat(parts).toString()}`));
    });
    track(server);
    serving.http.server(server);
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  }
  const echoes = await Promise.all(
    [g0, g1].map((port) => startEcho({ interceptors: serving.grpc.serverInterceptors() }, serving.grpc.serverCredentials(), port)),
  );
  onTestFinished(() => echoes.forEach((echo) => echo.close()));
  const mesh = await meshOver(plane, ['shop', 'echo'], 'app');
  await mesh.ready();
  const stub = echoStub('xds:///echo', mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
  onTestFinished(() => stub.close());
  return {
    plane,
    mesh,
    stub,
    ports,
    use(version) {
      expect(plane.update(yaml(version)).ok).toBe(true);
    },
    hits: () => [(hits[0] ?? 0) + (echoes[0]?.state.calls ?? 0), (hits[1] ?? 0) + (echoes[1]?.state.calls ?? 0)],
  };
}

/** One call with a check of its answer; a text when it failed. */
const ways: Readonly<Record<string, (w: World, n: number) => Promise<string | undefined>>> = {
  'mesh.fetch': async ({ mesh }, n) => {
    const response = await mesh.fetch('http://shop/', { method: 'POST', body: `b${n}` });
    const text = await response.text();
    return response.status === 200 && /^v[01] b\d+$/.test(text) ? undefined : `${response.status} ${text}`;
  },
  'global fetch with dispatcher': async ({ mesh }, n) => {
    const response = await fetch('http://shop/', { method: 'POST', body: `b${n}`, dispatcher: mesh.dispatcher } as RequestInit);
    const text = await response.text();
    return response.status === 200 && /^v[01] b\d+$/.test(text) ? undefined : `${response.status} ${text}`;
  },
  'undici.request': async ({ mesh }, n) => {
    const { statusCode, body } = await request('http://shop/', { method: 'POST', body: `b${n}`, dispatcher: mesh.dispatcher });
    const text = await body.text();
    return statusCode === 200 && /^v[01] b\d+$/.test(text) ? undefined : `${statusCode} ${text}`;
  },
  'gRPC unary': async ({ stub }, n) => {
    const { code, value, details } = await unary(stub, `u${n}`);
    return code === 0 && value === `u${n}` ? undefined : `${code} ${details}`;
  },
  'gRPC streams': async ({ stub }, n) => {
    if (n % 3 === 0) {
      const { code, values, details } = await chat(stub, ['a', 'b', 'c']);
      return code === 0 && values.join('') === 'abc' ? undefined : `${code} ${details} ${values.join()}`;
    }
    if (n % 3 === 1) {
      const { code, value, details } = await collect(stub, ['x', 'y']);
      return code === 0 && value === 'xy' ? undefined : `${code} ${details}`;
    }
    const { code, values, details } = await expand(stub, 5);
    return code === 0 && values.length === 5 ? undefined : `${code} ${details}`;
  },
};

/** Four callers without a pause until `stop`; what failed. */
function load(w: World, call: (typeof ways)[string]): { count: () => number; stop: () => Promise<readonly string[]> } {
  const failed: string[] = [];
  let [running, count] = [true, 0];
  const caller = async (): Promise<void> => {
    while (running) {
      const problem = await call(w, count++).catch((error: unknown) => `threw ${String(error)}`);
      if (problem !== undefined) failed.push(problem);
    }
  };
  const callers = [caller(), caller(), caller(), caller()];
  return {
    count: () => count,
    stop: async () => {
      running = false;
      await Promise.all(callers);
      return failed;
    },
  };
}

describe.each(['off', 'strict'] as const)('mtls: %s', (mtls) => {
  test.each(Object.entries(ways))('%s', async (_name, call) => {
    const w = await world(mtls);
    expect(await call(w, 0)).toBeUndefined();
    expect(w.hits()).toEqual([1, 0]);

    const busy = load(w, call);
    for (let round = 1; round <= 12; round++) {
      w.use(round % 2);
      const before = busy.count();
      await until(() => busy.count() > before + 8);
    }
    w.use(1);
    expect(await busy.stop()).toEqual([]);
    // Both versions served: the updates came into force while calls ran.
    expect(Math.min(...w.hits())).toBeGreaterThan(1);
    // The last version comes into force, and stays.
    for (let tries = 0, before = w.hits()[1]; w.hits()[1] === before; tries++) {
      expect(tries).toBeLessThan(200);
      expect(await call(w, 0)).toBeUndefined();
    }
    const [old] = w.hits();
    expect(await call(w, 0)).toBeUndefined();
    expect(w.hits()[0]).toBe(old);

    const blind = load(w, call);
    await w.plane.close();
    await until(() => w.mesh.describe().source?.connected === false, 5000);
    const after = blind.count();
    await until(() => blind.count() > after + 30, 5000);
    expect(await blind.stop()).toEqual([]);
    await until(() => w.mesh.describe().callsInFlight === 0);
    expectIdle(w.mesh);
    // The negative control of mTLS: nobody comes in without it.
    const [port = 0] = w.ports;
    if (mtls === 'strict') await expect(rawGet(port)).rejects.toThrow();
    else expect((await rawGet(port)).status).toBe(200);
  });
});

test('a job with fetch and gRPC over xDS that closes nothing ends by itself; one that closes its mesh ends at once', async () => {
  const { run, src } = await import('../support/mesh-process.ts');
  const w = await world('off');
  const app = (last: string): string => `
    import { createMesh } from ${JSON.stringify(src('index.ts'))};
    import { createRequire } from 'node:module';
    const grpc = createRequire(${JSON.stringify(import.meta.url)})('@grpc/grpc-js');
    const mesh = await createMesh({ bootstrap: JSON.parse(process.env.BOOT), include: ['shop', 'echo'] });
    await mesh.ready();
    console.log(await (await mesh.fetch('http://shop/')).text());
    const same = (value) => value;
    const client = new grpc.Client('xds:///echo', grpc.credentials.createInsecure(), mesh.grpc.channelOptions());
    console.log(await new Promise((resolve) => client.makeUnaryRequest('/echo.Echo/Unary', same, same, Buffer.from('hi'), (error, value) => resolve(String(error ?? value)))));
    ${last}
    console.log('done');
  `;
  for (const [last, limit] of [
    ['', 3000],
    ['await mesh.close();', 1000],
  ] as const) {
    const { code, out, err, lingeredMs } = await run(app(last), { env: { BOOT: JSON.stringify(w.plane.bootstrap('job')) } });
    expect([err, code, out.split('\n')]).toEqual(['', 0, ['v0 ', 'hi', 'done', '']]);
    expect(lingeredMs).toBeLessThan(limit);
  }
});
