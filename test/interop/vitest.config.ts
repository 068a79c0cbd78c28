import { defineConfig } from 'vitest/config';

const long = process.env['INMESH_INTEROP_LONG'] === '1';

export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/interop/**/*.test.ts'],
    // Building Consul and Envoy Gateway takes minutes: only where they are asked for (scripts/interop.mjs).
    exclude: long ? [] : ['test/interop/long/**'],
    globalSetup: ['test/interop/peers.ts'],
    pool: 'forks',
    // Shares are measured and processor time is bounded, so the files do not run against each other.
    fileParallelism: false,
    // As in test/vitest.config.ts: src runs as Node runs it.
    server: { deps: { external: [/\/src\/.*\.ts$/] } },
    // Tests with real sockets and real time share two busy cores in CI: one more try there, printed by the reporter; none elsewhere.
    retry: process.env['CI'] === undefined ? 0 : 1,
    testTimeout: 60_000,
    hookTimeout: 30_000,
  },
});
