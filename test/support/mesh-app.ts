/** Whole meshes for end-to-end tests: from the text of a `mesh.yaml`, with or without a control plane between. Closed with their test. */
import { request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { silentLogger } from '../../src/core/log.ts';
import { FAILURES } from '../../src/core/failure.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import type { CallCounters } from '../../src/telemetry/call-metrics.ts';
import { folder } from './mesh-process.ts';

/** A port that is free now, for what must be named before it is bound. */
export async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Nothing in flight: the counters that every call must give back. */
export function expectIdle(mesh: Mesh): void {
  const { callsInFlight, clusters, metrics } = mesh.describe();
  expect(callsInFlight, 'calls in flight').toBe(0);
  for (const { name, requests, pending, retries, endpoints } of clusters) {
    expect({ name, requests, pending, retries, active: endpoints.map((e) => e.active) }).toEqual({
      name,
      requests: 0,
      pending: 0,
      retries: 0,
      active: endpoints.map(() => 0),
    });
  }
  for (const { route, started, ended } of metrics as readonly CallCounters[]) expect({ route, ended }).toEqual({ route, ended: started });
}

export function closing(mesh: Mesh): Mesh {
  onTestFinished(() => mesh.close());
  return mesh;
}

/** A mesh of a file, without a control plane. */
export async function meshOf(text: string, options: MeshOptions = {}): Promise<Mesh> {
  const config = join(folder({ 'mesh.yaml': text }), 'mesh.yaml');
  return closing(await createMesh({ config, watch: false, logger: silentLogger, ...options }));
}

export async function planeOf(text: string, options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> {
  const plane = await ControlPlane.start({ text, ...options });
  onTestFinished(() => plane.close());
  return plane;
}

/** A mesh of a control plane. */
export async function meshOver(
  plane: ControlPlane,
  include: readonly string[],
  identity?: string,
  options: MeshOptions = {},
): Promise<Mesh> {
  const id = identity ?? 'app';
  return closing(await createMesh({ bootstrap: plane.bootstrap(id, identity), include, logger: silentLogger, ...options }));
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A request of somebody outside the mesh. */
export function rawGet(port: number, path = '/', headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts).toString() }),
      );
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
}

export const counters = (mesh: Mesh): readonly CallCounters[] => mesh.describe().metrics as readonly CallCounters[];

/** What `x-inmesh-failure` may say. */
export const CATALOGUE: ReadonlySet<string> = new Set(
  Object.values(FAILURES).map(({ flag, details }) => (flag === '' ? details : `${flag} ${details}`)),
);
