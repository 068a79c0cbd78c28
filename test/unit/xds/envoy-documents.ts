/** Envoy bootstraps for tests: the least there can be, and what differs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Bootstrap, XdsServerConfig } from '../../../src/config/bootstrap.ts';
import { parseBootstrap } from '../../../src/configuration.ts';
import { MeshError } from '../../../src/core/errors.ts';

export function folder(files: Record<string, string>): string {
  const path = mkdtempSync(join(tmpdir(), 'inmesh-envoy-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

export type Json = Readonly<Record<string, unknown>>;

export const V3 = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
export const endpoint = (address: string, port_value: unknown): Json => ({
  endpoint: { address: { socket_address: { address, port_value } } },
});

export function cluster(rest: Json = {}, endpoints: readonly Json[] = [endpoint('127.0.0.1', 18000)]): Json {
  return { name: 'cp', type: 'STATIC', load_assignment: { cluster_name: 'cp', endpoints: [{ lb_endpoints: endpoints }] }, ...rest };
}

export const ENVOY_GRPC = { envoy_grpc: { cluster_name: 'cp' } };
export const ads = (rest: Json = {}): Json => ({ api_type: 'GRPC', transport_api_version: 'V3', grpc_services: [ENVOY_GRPC], ...rest });
export const ADS = { ads: {}, resource_api_version: 'V3' };

export function document(ads_config: Json | undefined = ads(), clusters: readonly unknown[] = [cluster()], dynamic: Json = {}): Json {
  return {
    node: { id: 'n', cluster: 'c' },
    dynamic_resources: { ads_config, lds_config: ADS, cds_config: ADS, ...dynamic },
    static_resources: { clusters },
  };
}

export const read = (value: unknown, env: Record<string, string> = {}): Bootstrap =>
  parseBootstrap(JSON.stringify(value), '/etc/envoy.json', env);
export const serverOf = (value: unknown, env: Record<string, string> = {}): XdsServerConfig | undefined => read(value, env).servers[0];
export const withSocket = (common_tls_context: Json, rest: Json = {}): Json =>
  cluster({
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: { '@type': `${V3}.UpstreamTlsContext`, common_tls_context, ...rest },
    },
  });

export function problemOf(run: () => unknown): MeshError {
  try {
    run();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
