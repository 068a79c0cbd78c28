/** Which configuration counts, in which order, and how wrong ones are reported. Nothing here opens a socket but to a dead port. */
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Environment } from '../../../src/core/environment.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { describe as describeMesh } from '../../../src/describe.ts';
import type { MeshOptions } from '../../../src/start.ts';
import { start, VERSION } from '../../../src/start.ts';
import { FakeClock } from '../../../src/testing/index.ts';
import { folder } from '../../support/mesh-process.ts';
import packageJson from '../../../package.json' with { type: 'json' };

const YAML = 'version: 1\nservices: { shop: { endpoints: ["127.0.0.1:1"] } }\n';
const bootstrap = (id: string): string =>
  JSON.stringify({ xds_servers: [{ server_uri: '127.0.0.1:1', channel_creds: [{ type: 'insecure' }] }], node: { id } });

/** Where the mesh says its configuration comes from. */
async function origin(options: string | MeshOptions, env: Environment): Promise<string> {
  const { engine, attached } = start(
    typeof options === 'string' ? { config: options, logger: silentLogger } : { logger: silentLogger, ...options },
    env,
  );
  onTestFinished(() => engine.close(0));
  await attached;
  return engine.source?.name ?? '';
}

function inFolder(files: Readonly<Record<string, string>>): string {
  const path = folder(files);
  const before = process.cwd();
  process.chdir(path);
  onTestFinished(() => process.chdir(before));
  return path;
}

test('the order: argument, GRPC_XDS_BOOTSTRAP, GRPC_XDS_BOOTSTRAP_CONFIG, INMESH_CONFIG, ./mesh.yaml', async () => {
  const path = inFolder({
    'mesh.yaml': YAML,
    'named.yaml': YAML,
    'arg.yaml': YAML,
    'boot.json': bootstrap('file'),
    'named.json': bootstrap('named'),
  });
  const env: Record<string, string> = {
    GRPC_XDS_BOOTSTRAP: join(path, 'boot.json'),
    GRPC_XDS_BOOTSTRAP_CONFIG: bootstrap('text'),
    INMESH_CONFIG: join(path, 'named.yaml'),
  };
  expect(await origin({ bootstrap: JSON.parse(bootstrap('object')) as object, config: 'arg.yaml' }, env)).toContain('xds');
  expect(await origin('arg.yaml', env)).toBe(`file ${join(path, 'arg.yaml')}`);
  expect(start({ config: 'boot.json', logger: silentLogger }, {}).engine).toBeDefined();
  expect(await origin({}, env)).toContain('xds');
  // A broken one that counts is not skipped for a good one that comes later.
  expect(() => start({}, { ...env, GRPC_XDS_BOOTSTRAP: join(path, 'missing.json') })).toThrow(
    /cannot read the file that GRPC_XDS_BOOTSTRAP names, .*missing\.json/,
  );
  delete env['GRPC_XDS_BOOTSTRAP'];
  expect(() => start({}, { ...env, GRPC_XDS_BOOTSTRAP_CONFIG: '{' })).toThrow(/GRPC_XDS_BOOTSTRAP_CONFIG/);
  expect(await origin({}, env)).toContain('xds');
  delete env['GRPC_XDS_BOOTSTRAP_CONFIG'];
  expect(await origin({}, env)).toBe(`file ${join(path, 'named.yaml')}`);
  expect(await origin({}, { INMESH_CONFIG: 'named.json' })).toContain('xds');
  expect(await origin({}, { INMESH_CONFIG: '', GRPC_XDS_BOOTSTRAP: '' })).toBe(`file ${join(path, 'mesh.yaml')}`);
});

test('none at all: says where it looked', () => {
  inFolder({});
  expect(() => start({}, {})).toThrow(
    expect.objectContaining({
      code: 'ERR_MESH_CONFIG',
      message:
        'no configuration was found. Looked in this order: the argument of createMesh, GRPC_XDS_BOOTSTRAP, GRPC_XDS_BOOTSTRAP_CONFIG, INMESH_CONFIG, ./mesh.yaml',
    }),
  );
});

describe('what is wrong is named', () => {
  const both = (code: string, message: RegExp): object =>
    expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as object;
  test.each<[string, Readonly<Record<string, string>>, string | MeshOptions, string, RegExp]>([
    ['no such file', {}, 'none.yaml', 'ERR_MESH_CONFIG', /cannot read the configuration .*none\.yaml: ENOENT/],
    ['not YAML', { 'a.yaml': 'version: [' }, 'a.yaml', 'ERR_MESH_CONFIG', /a\.yaml has/],
    [
      'an unknown key, with its place',
      { 'a.yaml': 'version: 1\nservises: {}\n' },
      'a.yaml',
      'ERR_MESH_CONFIG',
      /a\.yaml:2:1[\s\S]*services/,
    ],
    [
      'a bootstrap without servers',
      { 'a.json': '{"xds_servers":[]}' },
      'a.json',
      'ERR_MESH_BOOTSTRAP',
      /a\.json.*xds_servers|xds_servers.*a\.json/,
    ],
    ['a bootstrap that is no JSON', { 'a.json': 'nope' }, 'a.json', 'ERR_MESH_BOOTSTRAP', /a\.json/],
    ['a bootstrap object', {}, { bootstrap: { xds_servers: 7 } }, 'ERR_MESH_BOOTSTRAP', /option "bootstrap"/],
    ['startTimeout', { 'a.yaml': YAML }, { config: 'a.yaml', startTimeout: -1 }, 'ERR_MESH_OPTION', /startTimeout/],
    [
      'startTimeout that is no number',
      { 'a.yaml': YAML },
      { config: 'a.yaml', startTimeout: Number.NaN },
      'ERR_MESH_OPTION',
      /startTimeout/,
    ],
  ])('%s', (_name, files, options, code, message) => {
    inFolder(files);
    expect(() => start(options, {})).toThrow(both(code, message));
  });
});

test('startTimeout: the option, then the file, then 15 s', async () => {
  inFolder({ 'mesh.yaml': `${YAML}startTimeout: 3s\n`, 'plain.yaml': YAML });
  const timeout = async (options: MeshOptions): Promise<number> => {
    const { engine, attached } = start({ logger: silentLogger, ...options }, {});
    await attached;
    await engine.close(0);
    return engine.parts.startTimeoutMs;
  };
  expect([await timeout({ startTimeout: 7 }), await timeout({}), await timeout({ config: 'plain.yaml' })]).toEqual([7, 3000, 15_000]);
});

test('include: the option, INMESH_INCLUDE, the key of the file, the hosts of the file', async () => {
  inFolder({ 'mesh.yaml': `${YAML}include: ["*.file"]\n`, 'plain.yaml': YAML });
  const included = async (options: MeshOptions, env: Environment): Promise<boolean[]> => {
    const { engine, attached } = start({ logger: silentLogger, ...options }, env);
    await attached;
    const answers = ['a.option', 'a.env', 'b.env:80', 'a.file', 'shop'].map((host) => engine.includes(host));
    await engine.close(0);
    return answers;
  };
  const env = { INMESH_INCLUDE: 'a.env, b.env' };
  expect(await included({ include: ['*.option'] }, env)).toEqual([true, false, false, false, false]);
  expect(await included({}, env)).toEqual([false, true, true, false, false]);
  expect(await included({}, {})).toEqual([false, false, false, true, false]);
  expect(await included({ config: 'plain.yaml' }, {})).toEqual([false, false, false, false, true]);
  // Over xDS nothing is asked for unless it is named: the rest of the world never waits.
  expect(await included({ bootstrap: JSON.parse(bootstrap('x')) as object }, {})).toEqual([false, false, false, false, false]);
});

test.each<[string, MeshOptions, Environment, string]>([
  ['the option', { include: ['*.x'] }, { INMESH_INCLUDE: '*.y' }, 'option'],
  ['INMESH_INCLUDE', {}, { INMESH_INCLUDE: '*.y' }, 'INMESH_INCLUDE'],
  ['the key of the file', {}, {}, 'mesh.yaml include'],
  ['the hosts of the file', { config: 'plain.yaml' }, {}, 'mesh.yaml hosts'],
  ['nothing', { bootstrap: JSON.parse(bootstrap('x')) as object }, {}, 'none'],
  ['INMESH_INCLUDE over xDS', { bootstrap: JSON.parse(bootstrap('x')) as object }, { INMESH_INCLUDE: '*.y' }, 'INMESH_INCLUDE'],
])('describe() names the rule: %s', async (_name, options, env, rule) => {
  inFolder({ 'mesh.yaml': `${YAML}include: ["*.file"]\n`, 'plain.yaml': YAML });
  const { engine, attached } = start({ logger: silentLogger, ...options }, env);
  onTestFinished(() => engine.close(0));
  await attached;
  engine.includes('a.x');
  expect(describeMesh(engine).hosts).toMatchObject([{ authority: 'a.x', by: rule }]);
});

test('after close nothing is left on the clock', async () => {
  inFolder({ 'mesh.yaml': 'version: 1\nservices: { shop: { endpoints: ["127.0.0.1:1"], outlier: {}, breaker: {}, timeout: 1s } }\n' });
  for (const options of [{}, { bootstrap: JSON.parse(bootstrap('x')) as object, include: ['shop'] }]) {
    const clock = new FakeClock();
    const { engine, attached } = start({ clock, logger: silentLogger, ...options }, {});
    await attached;
    await clock.advance(100);
    await engine.close(0);
    expect(clock.pending).toBe(0);
  }
});

test.each([
  ['GENERATOR=grpc and delta', { GENERATOR: 'grpc' }, 'delta', true],
  ['state of the world', { GENERATOR: 'grpc' }, 'sotw', false],
  ['another generator', {}, 'delta', false],
] as const)(
  'istiod’s generator for gRPC loses names over delta, which is said at the start: %s',
  async (_name, metadata, protocol, warned) => {
    const plain = JSON.parse(bootstrap('x')) as { readonly node: object };
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    const { engine, attached } = start(
      { bootstrap: { ...plain, node: { ...plain.node, metadata } }, protocol, include: ['shop'], logger },
      {},
    );
    onTestFinished(() => engine.close(0));
    await attached;
    expect(warnings.some((message) => message.includes('GENERATOR=grpc'))).toBe(warned);
  },
);

test('the version is that of the package', () => {
  expect(VERSION).toBe(packageJson.version);
});

test('hosts belong to the mesh from the first moment on, before the source is there', async () => {
  const { engine, attached } = start({ bootstrap: JSON.parse(bootstrap('x')) as object, include: ['shop'], logger: silentLogger }, {});
  expect([engine.source, engine.includes('shop'), engine.includes('other')]).toEqual([undefined, true, false]);
  await attached;
  expect([engine.includes('shop'), engine.includes('other')]).toEqual([true, false]);
  await engine.close(0);
});
