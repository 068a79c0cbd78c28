/** Where `@opentelemetry/api` touches the mesh; loaded only once a provider is registered. */
export { bridgeMetrics } from './metrics.ts';
export { createTracer } from './tracer.ts';
