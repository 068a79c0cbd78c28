/**
 * Loads a module of ours on first use, synchronously: adapters bring libraries (undici, grpc-js, OpenTelemetry) that a process must not
 * pay for before it calls through them. `require` of ES modules works from Node 22.12 on, since no module here awaits at its top level.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Source runs as `.ts` (type stripping), the package as `.js`. */
const SUFFIX = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

export interface LazyModules {
  './client-status': typeof import('./client-status.ts');
  './adapters/undici/index': typeof import('./adapters/undici/index.ts');
  './adapters/grpc/index': typeof import('./adapters/grpc/index.ts');
  './adapters/grpc/ads-stream': typeof import('./adapters/grpc/ads-stream.ts');
  './adapters/grpc/call-credentials': typeof import('./adapters/grpc/call-credentials.ts');
  './adapters/rest/index': typeof import('./adapters/rest/index.ts');
  './adapters/node-http/index': typeof import('./adapters/node-http/index.ts');
  './adapters/opentelemetry/index': typeof import('./adapters/opentelemetry/index.ts');
  './security/tls-context': typeof import('./security/tls-context.ts');
  './sources/mesh-yaml-source': typeof import('./sources/mesh-yaml-source.ts');
  './sources/config-file-transport': typeof import('./sources/config-file-transport.ts');
  './sources/envoy-yaml': typeof import('./sources/envoy-yaml.ts');
  './xds/decode/endpoint-metadata': typeof import('./xds/decode/endpoint-metadata.ts');
  './xds/bootstrap': typeof import('./xds/bootstrap.ts');
  './xds/envoy-bootstrap': typeof import('./xds/envoy-bootstrap.ts');
  './registration': typeof import('./registration.ts');
}

export function load<P extends keyof LazyModules>(path: P): LazyModules[P] {
  return require(`${path}${SUFFIX}`) as LazyModules[P];
}
