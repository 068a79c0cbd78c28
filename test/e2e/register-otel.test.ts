/** `inmesh/otel` in real processes: starts the SDK only when `OTEL_*` asks for it, and never a second one. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { serve } from '../support/http-servers.ts';
import { run, src } from '../support/mesh-process.ts';

const require = createRequire(import.meta.url);
const url = (name: string): string => pathToFileURL(require.resolve(name)).href;
const FLAGS = ['--import', src('otel.ts'), '--import', src('register.ts')];
const API = `import { trace } from ${JSON.stringify(url('@opentelemetry/api'))}; import { createRequire } from 'node:module';`;
/** Whether sdk-node was loaded, and what is registered. */
const REPORT = `
  const delegate = trace.getTracerProvider().getDelegate?.() ?? trace.getTracerProvider();
  console.log('provider', delegate.constructor.name, Object.keys(createRequire(import.meta.url).cache).some((f) => f.includes('@opentelemetry/sdk-node')));
`;

async function shop() {
  const server = await serve((_request, response) => response.end('ok'));
  return { server, yaml: `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${server.port}"] } }\n` };
}
const CALL = `await (await fetch('http://shop/path')).text();`;

test('OTEL_TRACES_EXPORTER=console: an unmodified application prints its CLIENT span, and the wire carries it', async () => {
  const { server, yaml } = await shop();
  const { out, err, code } = await run(`${API}\n${CALL}\n${REPORT}\nconsole.log('done');`, {
    flags: FLAGS,
    env: { OTEL_TRACES_EXPORTER: 'console', OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' },
    files: { 'mesh.yaml': yaml },
  });
  expect([err, code]).toEqual(['', 0]);
  expect(out).toMatch(/provider \w*TracerProvider true/);
  expect(out).not.toContain('NoopTracerProvider');
  expect(out).toContain('http://shop/path');
  const traceparent = String(server.seen[0]?.headers['traceparent']);
  expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  expect(out).toContain(traceparent.split('-')[1]);
});

test('what was batched is exported when the application has nothing left to do', async () => {
  const sink = await serve((_request, response) => response.end());
  const { yaml } = await shop();
  const { code } = await run(CALL, {
    flags: FLAGS,
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${sink.port}`, OTEL_LOGS_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' },
    files: { 'mesh.yaml': yaml },
  });
  expect(code).toBe(0);
  expect(sink.seen.map(({ url: path }) => path)).toContain('/v1/traces');
});

describe('starts nothing', () => {
  test.each<[string, Record<string, string>]>([
    ['when nothing asks', {}],
    ['when the exporter is none', { OTEL_TRACES_EXPORTER: 'none' }],
    ['when the SDK is disabled', { OTEL_TRACES_EXPORTER: 'console', OTEL_SDK_DISABLED: 'true' }],
    ['when only a name is set', { OTEL_SERVICE_NAME: 'shop' }],
  ])('%s', async (_name, env) => {
    const { server, yaml } = await shop();
    const { out, err } = await run(`${API}\n${CALL}\n${REPORT}`, { flags: FLAGS, env, files: { 'mesh.yaml': yaml } });
    expect([err, out.trim()]).toEqual(['', 'provider NoopTracerProvider false']);
    expect(server.seen[0]?.headers).not.toHaveProperty('traceparent');
  });

  test('when the application has an SDK of its own', async () => {
    const { server, yaml } = await shop();
    const own = `import { trace } from ${JSON.stringify(url('@opentelemetry/api'))}; import { TracerProvider } from ${JSON.stringify(url('@opentelemetry/sdk-trace'))}; class Own extends TracerProvider {} trace.setGlobalTracerProvider(new Own());`;
    const { out, err } = await run(`${API}\n${CALL}\n${REPORT}`, {
      flags: ['--import', `data:text/javascript,${encodeURIComponent(own)}`, ...FLAGS],
      env: { OTEL_TRACES_EXPORTER: 'console' },
      files: { 'mesh.yaml': yaml },
    });
    expect([err, out.trim()]).toEqual(['', 'provider Own false']);
    expect(server.seen).toHaveLength(1);
  });
});
