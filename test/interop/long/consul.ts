/** Starts a Consul agent with its own control plane on free loopback ports, talks to its HTTP API, and asks it for the bootstraps it writes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Running } from '../harness.ts';
import { freePort, peers, scratch, startProcess, until } from '../harness.ts';

export interface ConsulService {
  readonly name: string;
  readonly id?: string;
  /** Of the sidecar, which is where the mesh itself listens. */
  readonly port: number;
  readonly meta?: Readonly<Record<string, string>>;
  readonly upstreams?: Readonly<Record<string, number>>;
  readonly token?: string;
}

export interface ConsulOptions {
  readonly services: readonly ConsulService[];
  readonly entries?: readonly object[];
  /** A folder of its own, to be started again with what it knows; without it nothing is kept. */
  readonly dataFolder?: string;
  readonly acl?: object;
  /** To start again where another was. */
  readonly ports?: Consul['ports'];
}

export interface Consul {
  readonly ports: { readonly http: number; readonly grpc: number; readonly serf: number; readonly server: number };
  readonly running: Running;
  /** The HTTP API; throws for answers that are not 2xx. */
  api(method: string, path: string, body?: object, token?: string): Promise<unknown>;
  /** What `consul connect envoy -bootstrap` writes for the sidecar of a service. */
  bootstrap(service: string, more?: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
  kill(): Promise<void>;
}

const registered = ({ name, id, port, meta, upstreams = {}, token }: ConsulService): object => ({
  name,
  ...(id === undefined ? {} : { id }),
  ...(meta === undefined ? {} : { meta }),
  ...(token === undefined ? {} : { token }),
  address: '127.0.0.1',
  port,
  connect: {
    sidecar_service: {
      port,
      // Consul's own check would count the sidecar as down before the test serves there.
      checks: [{ name: 'alias', alias_service: id ?? name }],
      ...(token === undefined ? {} : { token }),
      proxy: {
        // By itself, Consul takes services for TCP until it has read its configuration entries, also after each of its starts.
        config: { protocol: 'http' },
        upstreams: Object.entries(upstreams).map(([destination_name, local_bind_port]) => ({ destination_name, local_bind_port })),
      },
    },
  },
});

export async function startConsul(options: ConsulOptions): Promise<Consul> {
  const ports = options.ports ?? { http: await freePort(), grpc: await freePort(), serf: await freePort(), server: await freePort() };
  const file = join(scratch(), 'agent.json');
  writeFileSync(
    file,
    JSON.stringify({
      node_name: 'n1',
      bind_addr: '127.0.0.1',
      client_addr: '127.0.0.1',
      disable_update_check: true,
      default_intention_policy: 'deny',
      connect: { enabled: true },
      ports: { http: ports.http, grpc: ports.grpc, serf_lan: ports.serf, server: ports.server, serf_wan: -1, grpc_tls: -1, dns: -1 },
      services: options.services.map(registered),
      config_entries: { bootstrap: options.entries ?? [] },
      ...(options.acl === undefined ? {} : { acl: options.acl }),
      ...(options.dataFolder === undefined ? {} : { server: true, bootstrap: true, data_dir: options.dataFolder }),
    }),
  );
  const running = startProcess(peers.consul ?? '', [
    'agent',
    ...(options.dataFolder === undefined ? ['-dev'] : []),
    `-config-file=${file}`,
    '-log-level=warn',
  ]);
  const address = `127.0.0.1:${ports.http}`;
  const api: Consul['api'] = async (method, path, body, token) => {
    const response = await fetch(`http://${address}/v1/${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: token === undefined ? {} : { 'x-consul-token': token },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' || text === 'true' ? undefined : (JSON.parse(text) as unknown);
  };
  await until(
    'Consul has a leader',
    async () => {
      if (running.child.exitCode !== null) throw new Error(`Consul ended: ${running.output()}`);
      return typeof (await api('GET', 'status/leader').catch(() => false)) === 'string' && (await api('GET', 'status/leader')) !== '';
    },
    30_000,
  );
  return {
    ports,
    running,
    api,
    bootstrap: async (service, more = []) => {
      const written = startProcess(peers.consul ?? '', [
        'connect',
        'envoy',
        '-bootstrap',
        `-sidecar-for=${service}`,
        `-http-addr=http://${address}`,
        `-grpc-addr=http://127.0.0.1:${ports.grpc}`,
        ...more,
      ]);
      await written.exited;
      const text = written.output();
      if (!text.trimStart().startsWith('{')) throw new Error(`no bootstrap: ${text}`);
      return JSON.parse(text) as Readonly<Record<string, unknown>>;
    },
    kill: running.kill,
  };
}
