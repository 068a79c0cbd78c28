/** The architecture as data: levels, third-party containment, banned globals. `architecture.test.ts` holds the source against it. */

/** A file imports from lower levels and from its own folder; folders on one level do not see each other. First match wins. */
export const LEVELS: readonly (readonly [prefix: string, level: number])[] = [
  ['src/core/', 1],
  ['src/config/', 2],
  // Matchers are compiled from configuration types.
  ['src/matching/', 2.5],
  ['src/proto/', 2],
  ['src/xds/', 3],
  ['src/routing/', 3],
  ['src/filters/', 3],
  ['src/balancing/', 3],
  ['src/resilience/', 3],
  ['src/security/', 3],
  ['src/telemetry/', 3],
  ['src/cluster/', 4],
  ['src/adapters/', 5],
  ['src/describe.ts', 7],
  ['src/outbound.ts', 5],
  ['src/inbound.ts', 5],
  ['src/plan.ts', 5],
  ['src/roots.ts', 5],
  ['src/cluster-changes.ts', 5],
  ['src/demand.ts', 5],
  ['src/on-demand-targets.ts', 5],
  ['src/inbound-listeners.ts', 5],
  ['src/inbound-sockets.ts', 5],
  ['src/sources/', 6],
  ['src/mesh.ts', 6],
  ['src/mesh-parts.ts', 6],
  ['src/waiters.ts', 6],
  ['src/start.ts', 6],
  ['src/configuration.ts', 6],
  ['src/options.ts', 6],
  ['src/control-plane-option.ts', 6],
  ['src/control-plane-transport.ts', 6],
  ['src/protocol.ts', 6],
  ['src/runtime-layers.ts', 6],
  ['src/subscription.ts', 6],
  ['src/lazy.ts', 6],
  ['src/late-tls.ts', 6],
  ['src/late-grpc.ts', 6],
  ['src/registration.ts', 7],
  ['src/control-plane/', 7],
  ['src/cli/', 7],
  ['src/client-status.ts', 7],
  ['src/facade.ts', 7],
  ['src/index.ts', 7],
  ['src/extend.ts', 7],
  ['src/otel.ts', 7],
  ['src/register.ts', 7],
];

/** Files at the root of `src` tell one story together: on one level they may see each other, and the CLI starts what it wants. */
export const ROOT_FILES = /^src\/[^/]+\.ts$/;

export const EXTRA_EDGES: readonly (readonly [from: RegExp, to: RegExp, why: string])[] = [
  [/^src\/cli\//, /^src\/(control-plane\/|index\.ts|facade\.ts|start\.ts)/, 'commands start the control plane and meshes'],
  [/^src\/(mesh|start|configuration)\.ts$/, /^src\/sources\//, 'start-up makes the source that the configuration names'],
];

/** adapters/* see core/ and their library only; these are the exceptions. */
export const ADAPTER_EXTRAS: readonly (readonly [from: RegExp, to: RegExp])[] = [
  [/^src\/adapters\/grpc\//, /^src\/(proto\/|config\/bootstrap\.ts)/],
  [/^src\/adapters\/rest\//, /^src\/proto\//],
  [/^src\/adapters\/opentelemetry\//, /^src\/telemetry\//],
];

/** Third-party packages and the only places that may import them. */
export const CONTAINMENT: readonly (readonly [name: string, allowed: RegExp])[] = [
  ['undici', /^src\/adapters\/undici\//],
  ['@grpc/grpc-js', /^src\/(adapters\/grpc|control-plane|cli\/demo)\//],
  ['@bufbuild/protobuf', /^src\/proto\//],
  ['opossum', /^src\/resilience\/breaker\.ts$/],
  ['p-retry', /^src\/(resilience\/retry\.ts|xds\/|security\/)/],
  ['re2js', /^src\/matching\/regex\.ts$/],
  ['xxhash-wasm', /^src\/matching\/xxhash\.ts$/],
  ['yaml', /^src\/sources\//],
  ['@opentelemetry/api', /^src\/(adapters\/opentelemetry\/|otel\.ts$)/],
  ['@opentelemetry/sdk-node', /^src\/otel\.ts$/],
];

/** The façade's types name the libraries that its users hold; nothing is loaded by that. */
export const TYPE_ONLY_IMPORTS = /^src\/facade\.ts$/;

/** Globals that belong to one module each. */
export const BANNED: readonly (readonly [what: RegExp, allowed: RegExp, cure: string])[] = [
  [/\bDate\.now\(|\bnew Date\(/, /^src\/core\/real-clock\.ts$|^src\/control-plane\/ca\//, 'take a Clock'],
  [/\bMath\.random\(/, /^src\/core\/random\.ts$/, 'take a Random'],
  [/\bset(Timeout|Interval|Immediate)\(/, /^src\/core\/real-clock\.ts$|^src\/testing\//, 'take a Clock'],
  [/\bprocess\.env\b/, /^src\/core\/environment\.ts$/, 'use readEnvironment()'],
  [/\bconsole\./, /^src\/cli\//, 'take a Logger'],
  [/\bperformance\.now\(/, /^src\/core\/real-clock\.ts$/, 'take a Clock'],
];

export const MAX_LINES = 400;
/** At least this share of files stays under 250 lines. */
export const SMALL_SHARE = 0.9;
