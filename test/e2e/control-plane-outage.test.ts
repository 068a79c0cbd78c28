/**
 * Outages of the control plane on real time, under calls, in both dialects: killed, an older or an empty configuration back, one bad resource
 * among 50, hanging without close, away at the start. Calls go on by what was good, and what comes back counts.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import { serve, until } from '../support/http-servers.ts';
import { closing, expectIdle, freePort } from '../support/mesh-app.ts';
import { cluster, endpoints, listener, meshFile, routeResource, to } from '../support/mesh-raw.ts';

type Resources = Parameters<typeof meshFile>[0];

const answering = (body: string) => serve((_request, response) => response.end(body));

async function start(port: number, resources: Resources, options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> {
  const plane = await ControlPlane.start({ text: meshFile(resources), port, ...options });
  onTestFinished(() => plane.close());
  return plane;
}

async function meshTo(port: number, protocol: 'sotw' | 'delta', options: MeshOptions = {}): Promise<Mesh> {
  const bootstrap = { xds_servers: [{ server_uri: `127.0.0.1:${port}`, channel_creds: [{ type: 'insecure' }] }], node: { id: 'app' } };
  return closing(await createMesh({ bootstrap, include: ['shop'], logger: silentLogger, protocol, startTimeout: 20_000, ...options }));
}

/** The path chooses among 50 clusters; all have the same endpoint. */
const shop = (port: number, change: Readonly<Record<string, unknown>> = {}): Resources => [
  listener('shop', 'shop'),
  routeResource('shop', [...Array.from({ length: 49 }, (_, i) => to(`c${i}`, { prefix: `/${i}/` })), to('c49')]),
  ...Array.from({ length: 50 }, (_, i) => [cluster(`c${i}`, i === 7 ? change : {}), endpoints(`c${i}`, port)]).flat(),
];

async function get(mesh: Mesh, path = '/'): Promise<string> {
  const response = await mesh.fetch(`http://shop${path}`);
  return response.ok ? response.text() : `${response.status} ${response.headers.get('x-inmesh-failure')}`;
}

/** Until calls are answered so; the time limit is the test's. */
async function becomes(mesh: Mesh, answer: string): Promise<void> {
  while ((await get(mesh)) !== answer) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Calls without a pause; `stop` gives what they were answered, each answer once. */
function load(mesh: Mesh): { readonly calls: number; stop(): Promise<readonly string[]> } {
  const seen = new Set<string>();
  let [running, calls] = [true, 0];
  const done = (async () => {
    while (running) {
      seen.add(await get(mesh).catch((error: unknown) => String(error)));
      calls++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  return {
    get calls() {
      return calls;
    },
    async stop() {
      running = false;
      await done;
      return [...seen].sort();
    },
  };
}

const connected = (mesh: Mesh): boolean => mesh.describe().source?.connected === true;

describe.each(['sotw', 'delta'] as const)('%s', (protocol) => {
  test('killed: no call fails; back with another, older configuration: it counts', async () => {
    const [port, a, b] = [await freePort(), await answering('a'), await answering('b')];
    const plane = await start(port, shop(a.port));
    const mesh = await meshTo(port, protocol);
    await mesh.ready();
    plane.update(meshFile(shop(b.port)));
    await becomes(mesh, 'b');
    const calls = load(mesh);
    await plane.close();
    await until(() => !connected(mesh));
    const before = calls.calls;
    await until(() => calls.calls > before + 50);
    // A new process, whose first version is the one before the change.
    await start(port, shop(a.port));
    await becomes(mesh, 'a');
    expect(await calls.stop()).toEqual(['a', 'b']);
    expectIdle(mesh);
  });

  test('back with nothing: what was good stays, is said to be gone, and counts again when it comes back', async () => {
    const [port, a, b] = [await freePort(), await answering('a'), await answering('b')];
    const plane = await start(port, shop(a.port), { misbehave: [] });
    const mesh = await meshTo(port, protocol);
    await mesh.ready();
    const calls = load(mesh);
    plane.misbehave([{ do: 'empty', times: 1000 }]);
    plane.dropStreams();
    const gone = () => mesh.describe().source?.resources.filter(({ error }) => error !== undefined).length ?? 0;
    await until(() => gone() > 0, 10_000);
    const before = calls.calls;
    await until(() => calls.calls > before + 50);
    plane.misbehave([]);
    plane.update(meshFile(shop(b.port)));
    await becomes(mesh, 'b');
    expect(await calls.stop()).toEqual(['a', 'b']);
  });

  test('one bad cluster among 50: it keeps what it had, the other 49 move', async () => {
    const [port, a, b] = [await freePort(), await answering('a'), await answering('b')];
    const plane = await start(port, shop(a.port));
    const mesh = await meshTo(port, protocol);
    await mesh.ready();
    const calls = load(mesh);
    const changed = shop(b.port, { connect_timeout: '-1s' }).map((resource) => {
      const json = resource as Readonly<Record<string, unknown>>;
      const good = String(json['@type']).endsWith('.Cluster') && json['name'] !== 'c7';
      return good ? { ...json, connect_timeout: '2s' } : json;
    });
    plane.replace(changed as Parameters<ControlPlane['replace']>[0]);
    await until(() => plane.nacks.length > 0);
    await becomes(mesh, 'b');
    const states = mesh.describe().source?.resources.filter(({ typeUrl }) => typeUrl.endsWith('.Cluster')) ?? [];
    expect(states.filter(({ status }) => status === 'NACKED').map(({ name }) => name)).toEqual(['c7']);
    expect(states.filter(({ status }) => status === 'ACKED').length).toBe(49);
    // Its endpoints are another resource, which was good.
    expect(await get(mesh, '/7/')).toBe('b');
    expect(await calls.stop()).toEqual(['a', 'b']);
  });

  test('hangs without closing: calls go on, the keep-alive notices, and what changed meanwhile comes', async () => {
    const [port, a, b] = [await freePort(), await answering('a'), await answering('b')];
    const plane = await start(port, shop(a.port), { misbehave: [] });
    const mesh = await meshTo(port, protocol, { controlPlane: { keepalive: { interval: 1000, timeout: 300 } } });
    await mesh.ready();
    const calls = load(mesh);
    plane.misbehave([{ do: 'hang', times: 1 }]);
    plane.update(meshFile(shop(b.port)));
    await becomes(mesh, 'b');
    expect(await calls.stop()).toEqual(['a', 'b']);
  });

  test('away at the start: the first call waits, and is answered when the control plane comes', async () => {
    const [port, a] = [await freePort(), await answering('a')];
    const mesh = await meshTo(port, protocol);
    const first = get(mesh);
    await until(() => mesh.describe().source?.problem !== undefined);
    await start(port, shop(a.port));
    expect(await first).toBe('a');
    await mesh.ready();
  });
});
