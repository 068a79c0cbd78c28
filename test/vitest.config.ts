import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    exclude: ['test/bench/**', 'test/docs/**', 'test/interop/**', 'test/package/**'],
    pool: 'forks',
    // src runs as Node runs it (type stripping), not transformed: `require` of our own modules and `import` then share one copy.
    server: { deps: { external: [/\/src\/.*\.ts$/] } },
    // Tests with real sockets and real time share two busy cores in CI: one more try there, printed by the reporter; none elsewhere.
    retry: process.env['CI'] === undefined ? 0 : 1,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    dangerouslyIgnoreUnhandledErrors: false,
  },
});
