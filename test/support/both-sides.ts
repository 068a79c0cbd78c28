/**
 * A mesh that serves (`shop` by HTTP, `echo` by gRPC) and one that calls it, both of one control plane, for tests of what must hold for both
 * protocols on both sides. What the control plane says is the test's business.
 */
import { createServer } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { onTestFinished } from 'vitest';
import type { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import type { Outcome } from './echo-grpc.ts';
import { echoStub, startEcho, unary } from './echo-grpc.ts';
import { track, until } from './http-servers.ts';
import { freePort, meshOver } from './mesh-app.ts';

export interface Ports {
  readonly web: number;
  readonly rpc: number;
}

export const freePorts = async (): Promise<Ports> => ({ web: await freePort(), rpc: await freePort() });

export interface BothSides {
  readonly plane: ControlPlane;
  readonly serving: Mesh;
  readonly mesh: Mesh;
  /** Serial numbers of the certificates that HTTP callers have shown. */
  readonly shown: ReadonlySet<string>;
  /** One call of each kind at the same time. */
  ask(header?: string): Promise<readonly [Response, Outcome]>;
  /** `200 ID-OF-THE-CALLER 0 hi` when both are answered. */
  both(): Promise<string>;
}

/** `options`: of both meshes. */
export async function bothSides(plane: ControlPlane, { web, rpc }: Ports, options: MeshOptions = {}): Promise<BothSides> {
  const serving = await meshOver(plane, [], 'server', options);
  const shown = new Set<string>();
  const server = createServer((request, response) => {
    if ('encrypted' in request.socket) shown.add((request.socket as TLSSocket).getPeerCertificate().serialNumber);
    response.end(serving.http.peerOf(request)?.tls?.uriSans.join() ?? 'served');
  });
  // Many connections, so that new certificates are needed.
  server.maxRequestsPerSocket = 5;
  track(server);
  serving.http.server(server);
  await new Promise<void>((resolve) => server.listen(web, '127.0.0.1', resolve));
  const echo = await startEcho({ interceptors: serving.grpc.serverInterceptors() }, serving.grpc.serverCredentials(), rpc);
  onTestFinished(() => echo.close());
  const mesh = await meshOver(plane, ['shop', 'echo'], 'app', options);
  const stub = echoStub('xds:///echo', mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
  onTestFinished(() => stub.close());
  const ask: BothSides['ask'] = (header) => {
    const metadata = new Metadata();
    if (header !== undefined) metadata.set(header, '1');
    const headers = header === undefined ? {} : { [header]: '1' };
    return Promise.all([mesh.fetch('http://shop/', { headers }), unary(stub, 'hi', metadata)]);
  };
  const both = async (): Promise<string> => {
    const [response, reply] = await ask();
    return `${response.status} ${await response.text()} ${reply.code} ${reply.code === 0 ? reply.value : reply.details}`;
  };
  return { plane, serving, mesh, shown, ask, both };
}

export interface Load {
  /** Until ten more calls were answered. */
  tenMore(): Promise<void>;
  /** Ends it; every answer but `expected`. */
  stop(): Promise<readonly string[]>;
}

/** Two callers without a pause, until they are stopped or the test ends. */
export function underLoad(both: BothSides['both'], expected: string): Load {
  const failed: string[] = [];
  let [running, calls] = [true, 0];
  const caller = async (): Promise<void> => {
    while (running) {
      const got = await both().catch((error: unknown) => String(error));
      calls++;
      if (got !== expected) failed.push(got);
      // Calls that fail at once must not keep everything else from running.
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const callers = [caller(), caller()];
  onTestFinished(() => void (running = false));
  return {
    tenMore: async () => {
      const before = calls;
      await until(() => calls > before + 10);
    },
    stop: async () => {
      running = false;
      await Promise.all(callers);
      return failed;
    },
  };
}
