/**
 * `inmesh/otel`: starts `@opentelemetry/sdk-node` when the application has no SDK of its own and `OTEL_*` variables ask for one.
 * `node --import inmesh/otel --import inmesh/register app.js` traces an unmodified application.
 */
import { createRequire } from 'node:module';
import { trace } from '@opentelemetry/api';
import { readEnvironment } from './core/environment.ts';
import type { Environment } from './core/environment.ts';
import { MeshError } from './core/errors.ts';

/** Variables whose presence means that somebody wants telemetry to go somewhere. */
const ASKING = [
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
  'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT',
  'OTEL_TRACES_EXPORTER',
  'OTEL_METRICS_EXPORTER',
  'OTEL_CONFIG_FILE',
];

export interface TelemetryHandle {
  /** False when nothing was started: an SDK is registered already, or nobody asked for one. */
  readonly started: boolean;
  /** Flushes and stops what was started. */
  shutdown(): Promise<void>;
}

const NOTHING: TelemetryHandle = { started: false, shutdown: () => Promise.resolve() };

let handle: TelemetryHandle | undefined;

function asked(env: Environment): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false;
  return ASKING.some((name) => (env[name] ?? '') !== '' && env[name] !== 'none');
}

function hasSdk(): boolean {
  const probe = trace.getTracerProvider();
  // The API's proxy answers with its no-op until a provider is registered.
  return (
    'getDelegate' in probe &&
    typeof probe.getDelegate === 'function' &&
    (probe.getDelegate() as { constructor: { name: string } }).constructor.name !== 'NoopTracerProvider'
  );
}

/**
 * Starts the SDK from the environment, once. Importing this module does so; call it again to get the handle.
 * @throws MeshError ERR_MESH_UNSUPPORTED when `OTEL_*` asks for it and `@opentelemetry/sdk-node` is not installed.
 */
export function startTelemetry(env: Environment = readEnvironment()): TelemetryHandle {
  if (handle !== undefined) return handle;
  if (!asked(env) || hasSdk()) return NOTHING;
  let module: typeof import('@opentelemetry/sdk-node');
  try {
    // Synchronous, so that `--import inmesh/otel` has finished before the application's first line.
    module = createRequire(import.meta.url)('@opentelemetry/sdk-node') as typeof module;
  } catch (error) {
    throw new MeshError('ERR_MESH_UNSUPPORTED', 'OTEL_* variables ask for telemetry, but @opentelemetry/sdk-node cannot be loaded', {
      cure: 'Run `npm install @opentelemetry/sdk-node`, or set OTEL_SDK_DISABLED=true',
      cause: error,
    });
  }
  const sdk = new module.NodeSDK({ instrumentations: [] });
  sdk.start();
  // A job that has nothing left to do must not lose what was batched. A process that is killed calls `shutdown` itself.
  process.once('beforeExit', () => void sdk.shutdown());
  handle = { started: true, shutdown: () => sdk.shutdown() };
  return handle;
}

startTelemetry();
