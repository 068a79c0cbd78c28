import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/docs/**/*.test.ts'],
    globalSetup: ['test/support/build-dist.ts'],
    pool: 'forks',
    // The examples have ports of their own, written in their files.
    fileParallelism: false,
    // Tests with real sockets and real time share two busy cores in CI: one more try there, printed by the reporter; none elsewhere.
    retry: process.env['CI'] === undefined ? 0 : 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
