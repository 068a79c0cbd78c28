import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    exclude: ['test/bench/**', 'test/docs/**', 'test/interop/**', 'test/package/**'],
    pool: 'forks',
    // src runs as Node runs it (type stripping), not transformed: `require` of our own modules and `import` then share one copy.
    server: { deps: { external: [/\/src\/.*\.ts$/] } },
    testTimeout: 20_000,
    hookTimeout: 30_000,
    dangerouslyIgnoreUnhandledErrors: false,
  },
});
