/** The package as its users get it: packed, installed in an empty project, loaded, type-checked and called on Node 22, 24 and 26. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Consumer, Ran } from './consumer.ts';
import { MAJORS, makeConsumer, root, run } from './consumer.ts';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly version: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
};

let consumer: Consumer;
const upstream = createServer((request, response) => response.end(`upstream ${request.headers.host ?? ''}${request.url ?? ''}`));

beforeAll(async () => {
  const [made] = await Promise.all([makeConsumer(), new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))]);
  consumer = made;
  const { port } = upstream.address() as AddressInfo;
  consumer.write(
    'mesh.yaml',
    `version: 1\nservices:\n  shop:\n    endpoints: ["127.0.0.1:${port}"]\n    retries: { attempts: 2, on: [503] }\n`,
  );
  consumer.write(
    'import.mjs',
    `import { createMesh, FAILURES, MeshError } from 'inmesh';\nimport { stepLayer } from 'inmesh/extend';\nimport { FakeClock } from 'inmesh/testing';\n${BODY}`,
  );
  consumer.write(
    'require.cjs',
    `const { createMesh, FAILURES, MeshError } = require('inmesh');\nconst { stepLayer } = require('inmesh/extend');\nconst { FakeClock } = require('inmesh/testing');\n(async () => {\n${BODY}})();\n`,
  );
});

afterAll(() => {
  upstream.closeAllConnections();
  upstream.close();
  consumer.remove();
});

/** Finds `./mesh.yaml`, makes one call, closes; the process must end by itself. */
const BODY = `const mesh = await createMesh();
await mesh.ready();
const reply = await mesh.fetch('http://shop/cart');
console.log(typeof stepLayer, typeof FakeClock, typeof MeshError, FAILURES.routeNotFound.flag, reply.status, await reply.text());
await mesh.close();
`;

/** A listener and a cluster in files, named by an Envoy bootstrap. */
function writeEnvoyFiles(port: number): void {
  const type = 'type.googleapis.com/envoy';
  const router = { name: 'router', typed_config: { '@type': `${type}.extensions.filters.http.router.v3.Router` } };
  const route_config = {
    name: 'r',
    virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'shop' } }] }],
  };
  const manager = {
    '@type': `${type}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'x',
    http_filters: [router],
    route_config,
  };
  const listener = { '@type': `${type}.config.listener.v3.Listener`, name: 'shop', api_listener: { api_listener: manager } };
  const address = { socket_address: { address: '127.0.0.1', port_value: port } };
  const load_assignment = { cluster_name: 'shop', endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] };
  const cluster = { '@type': `${type}.config.cluster.v3.Cluster`, name: 'shop', type: 'STATIC', load_assignment };
  const file = (path: string): object => ({ resource_api_version: 'V3', path_config_source: { path } });
  consumer.write('lds.json', JSON.stringify({ resources: [listener] }));
  consumer.write('cds.json', JSON.stringify({ resources: [cluster] }));
  const dynamic_resources = { lds_config: file('lds.json'), cds_config: file('cds.json') };
  consumer.write('envoy.json', JSON.stringify({ node: { id: 'n' }, dynamic_resources }));
}

const ENVOY = `import { createMesh } from 'inmesh';
import { Client, Server, ServerCredentials, credentials } from '@grpc/grpc-js';
const mesh = await createMesh({ config: 'envoy.json', include: ['shop'] });
const reply = await mesh.fetch('http://shop/cart');
console.log(reply.status, await reply.text());
const server = new Server();
mesh.grpc.addAdminServices(server);
const port = await new Promise((resolve, reject) =>
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound))),
);
const client = new Client('127.0.0.1:' + port, credentials.createInsecure());
const same = (bytes) => bytes;
const answer = await new Promise((resolve, reject) =>
  client.makeUnaryRequest('/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus', same, same, Buffer.alloc(0), (error, bytes) =>
    error ? reject(error) : resolve(bytes),
  ),
);
console.log('status of shop,', answer.toString('latin1').includes('envoy.config.cluster.v3.Cluster'));
client.close();
server.forceShutdown();
await mesh.close();
`;

const node = (major: number, ...args: string[]): Promise<Ran> => run(consumer.nodes.get(major) ?? '', args, consumer.folder);

describe.each(MAJORS)('on Node %i', (major) => {
  const answer = { code: 0, out: 'function function function NR 200 upstream shop/cart\n', error: '' };

  test('the version is what it says', async () => {
    expect((await node(major, '--version')).out).toMatch(new RegExp(`^v${major}\\.`));
  });

  test('import, and a meshed call', async () => {
    expect(await node(major, 'import.mjs')).toEqual(answer);
  });

  test('require, and a meshed call', async () => {
    const { code, out, error } = await node(major, 'require.cjs');
    expect({ code, out }).toEqual({ code: 0, out: answer.out });
    // Node 22 may call require of ES modules experimental.
    expect(error.split('\n').filter((line) => line !== '' && !/ExperimentalWarning|--trace-warnings/.test(line))).toEqual([]);
  });

  test('an unmodified application with --import inmesh/register', async () => {
    consumer.write('app.mjs', "const reply = await fetch('http://shop/cart');\nconsole.log(reply.status, await reply.text());\n");
    expect(await node(major, '--import', 'inmesh/register', 'app.mjs')).toEqual({ code: 0, out: '200 upstream shop/cart\n', error: '' });
  });

  test('an Envoy bootstrap whose configuration is in files, and CSDS', async () => {
    writeEnvoyFiles((upstream.address() as AddressInfo).port);
    consumer.write('envoy.mjs', ENVOY);
    expect(await node(major, 'envoy.mjs')).toEqual({ code: 0, out: '200 upstream shop/cart\nstatus of shop, true\n', error: '' });
  });

  test('what is loaded on first use is there', async () => {
    const table = readFileSync(join(root, 'src/lazy.ts'), 'utf8');
    const modules = [...table.matchAll(/'\.\/([^']+)': typeof import/g)].map(([, path]) => path);
    expect(modules.length).toBeGreaterThan(10);
    const script = `const fs = await import('node:fs');
for (const name of ${JSON.stringify(modules)}) if (Object.keys(await import(fs.realpathSync('node_modules/inmesh/dist/' + name + '.js'))).length === 0) console.log(name);`;
    consumer.write('lazy.mjs', script);
    expect(await node(major, 'lazy.mjs')).toEqual({ code: 0, out: '', error: '' });
  });

  test('the command', async () => {
    expect(await node(major, 'node_modules/.bin/inmesh', '--version')).toEqual({ code: 0, out: `${manifest.version}\n`, error: '' });
  });
});

describe('what an application loads', () => {
  /** Modules loaded from `node_modules`, in both module systems. */
  async function loaded(major: number, app: string): Promise<readonly string[]> {
    consumer.write(
      'spy.mjs',
      `import { registerHooks } from 'node:module';
const seen = new Set();
registerHooks({ load(url, context, next) { seen.add(url); return next(url, context); } });
process.on('exit', () => console.log(JSON.stringify([...seen].filter((url) => url.includes('/node_modules/')).map((url) => url.slice(url.lastIndexOf('/node_modules/') + 14)))));
`,
    );
    consumer.write('spied.mjs', app);
    const { code, out, error } = await node(major, '--import', './spy.mjs', 'spied.mjs');
    expect({ code, error }).toEqual({ code: 0, error: '' });
    return JSON.parse(out.trim().split('\n').at(-1) ?? '') as string[];
  }

  const HEAVY =
    /^(@grpc|@bufbuild|protobufjs|@protobufjs|@opentelemetry|xxhash-wasm|opossum|p-retry)\/|^inmesh\/dist\/(proto|xds|control-plane|cli|adapters\/(grpc|opentelemetry|node-http))\/|^inmesh\/dist\/shared\/any-/;
  const FETCH =
    "import { createMesh } from 'inmesh';\nconst mesh = await createMesh();\nawait mesh.ready();\nawait (await mesh.fetch('http://shop/')).text();\n";

  test.each(MAJORS)('fetch and mesh.yaml load neither grpc-js nor protobuf, on Node %i', async (major) => {
    const modules = await loaded(major, `${FETCH}await mesh.close();\n`);
    expect(modules).toContain('inmesh/dist/index.js');
    expect(modules).toContain('inmesh/dist/adapters/undici/index.js');
    expect(modules.filter((name) => HEAVY.test(name))).toEqual([]);
  });

  test('with gRPC they are loaded, so the spy sees them', async () => {
    const modules = await loaded(24, `${FETCH}mesh.grpc.channelOptions();\nawait mesh.close();\n`);
    expect(modules.some((name) => name.startsWith('@grpc/grpc-js/'))).toBe(true);
    expect(modules.some((name) => name.startsWith('inmesh/dist/adapters/grpc/'))).toBe(true);
  });

  test('INMESH_DISABLE=1 loads next to nothing', async () => {
    const modules = await loaded(24, "process.env.INMESH_DISABLE = '1';\nawait import('inmesh/register');\n");
    const own = modules.map((name) => name.replace(/-[\w-]{8}\.js$/, '.js')).toSorted();
    expect(own).toEqual(
      ['register.js', 'shared/environment.js', 'shared/lazy.js', 'shared/rolldown-runtime.js'].map((name) => `inmesh/dist/${name}`),
    );
  });
});

describe('the tarball', () => {
  test('has what it should, and nothing else', () => {
    const paths = consumer.files.map(({ path }) => path);
    for (const wanted of [
      'package.json',
      'README.md',
      'LICENSE',
      'NOTICE',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/sources/mesh.schema.json',
      'dist/proto/any.js',
    ]) {
      expect(paths).toContain(wanted);
    }
    expect(
      paths.filter((path) => !/^(dist\/.*\.(js|d\.ts|json)|dist\/THIRD-PARTY\.txt|package\.json|README\.md|LICENSE|NOTICE)$/.test(path)),
    ).toEqual([]);
    expect(paths.filter((path) => /(^|\/)(src|test|tests|examples|scripts)\/|\.test\./.test(path))).toEqual([]);
    expect(consumer.unpackedSize).toBeLessThan(4_000_000);
    const command = consumer.files.find(({ path }) => path === 'dist/cli/main.js');
    expect(((command?.mode ?? 0) & 0o111) !== 0).toBe(true);
  });

  test('every entry of the exports is there', () => {
    const paths = new Set(consumer.files.map(({ path }) => `./${path}`));
    const targets = Object.values(manifest.exports).flatMap((target) =>
      typeof target === 'string' ? [target] : [target.types, target.default],
    );
    expect(targets.filter((target) => !paths.has(target))).toEqual([]);
  });

  test('nothing of ours runs when it is installed', () => {
    const installed = JSON.parse(readFileSync(join(consumer.folder, 'node_modules/inmesh/package.json'), 'utf8')) as {
      readonly scripts?: Readonly<Record<string, string>>;
    };
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare', 'prepack', 'prepublish', 'prepublishOnly'])
      expect(installed.scripts?.[name]).toBeUndefined();
  });

  test('compiled code imports compiled code', () => {
    const wrong = consumer.files
      .filter(({ path }) => path.endsWith('.js'))
      .filter(({ path }) =>
        /(?:from|import\()\s*['"]\.[^'"]+\.ts['"]/.test(readFileSync(join(consumer.folder, 'node_modules/inmesh', path), 'utf8')),
      );
    expect(wrong).toEqual([]);
  });
});

describe('types', () => {
  const CODE = `
import { createServer } from 'node:http';
import { createMesh, FAILURES, MeshError } from 'inmesh';
import type { Failure, Mesh, MeshDescription, MeshOptions } from 'inmesh';
import { stepLayer } from 'inmesh/extend';
import type { Attempt, FilterFactory, Layer, Observer } from 'inmesh/extend';
import { FakeClock } from 'inmesh/testing';
import { startTelemetry } from 'inmesh/otel';
import 'inmesh/register';

const observer: Observer = { onCallEnd: (call) => void call.status };
const layer: Layer<Attempt> = stepLayer('mine', { enter: () => undefined });
const options: MeshOptions = { config: 'mesh.yaml', include: ['*'], observers: [observer], attemptLayers: [layer], onFailure: 'throw' };
export async function use(): Promise<number> {
  const mesh: Mesh = await createMesh(options);
  const reply: Response = await mesh.fetch('http://shop/', { method: 'POST', body: 'x' });
  const description: MeshDescription = mesh.describe();
  mesh.http.server(createServer()).listen(0);
  const failure: Failure | undefined = new MeshError('ERR_MESH_OPTION', 'x').failure;
  await mesh.close({ drainMs: 10 });
  // @ts-expect-error: not an option
  await mesh.close({ drain: 10 });
  return reply.status + description.callsInFlight + FAILURES.routeNotFound.httpStatus + (failure?.kind.httpStatus ?? 0) + new FakeClock().now();
}
export const factories: readonly FilterFactory<unknown>[] = [];
export const handle = startTelemetry();
`;

  test('a consumer type-checks, as ES module and as CommonJS, declarations of libraries included', async () => {
    consumer.write('types.mts', CODE);
    consumer.write('types.cts', CODE);
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023', 'dom'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: false,
    };
    consumer.write('tsconfig.json', JSON.stringify({ compilerOptions, files: ['types.mts', 'types.cts'] }));
    const { out, code } = await run(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'],
      consumer.folder,
    );
    expect(out).toBe('');
    expect(code).toBe(0);
  });
});
