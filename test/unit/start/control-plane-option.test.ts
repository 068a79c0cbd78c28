import { describe, expect, test } from 'vitest';
import type { Bootstrap } from '../../../src/config/bootstrap.ts';
import { MeshError } from '../../../src/core/errors.ts';
import { withControlPlane } from '../../../src/control-plane-option.ts';
import type { ControlPlaneOptions } from '../../../src/control-plane-option.ts';
import { checkOptions } from '../../../src/options.ts';
import { readBootstrap } from '../../../src/xds/bootstrap.ts';

const PLAIN = { server_uri: 'cp:1', channel_creds: [{ type: 'insecure' }] };
const TLS = { server_uri: 'cp:2', channel_creds: [{ type: 'tls' }] };

function bootstrap(servers: readonly object[] = [PLAIN], rest: object = {}): Bootstrap {
  return readBootstrap(JSON.stringify({ xds_servers: servers, ...rest }), 'test');
}

function problemOf(run: () => unknown): MeshError {
  try {
    run();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const apply = (option: ControlPlaneOptions, given = bootstrap(), env: Record<string, string> = {}): Bootstrap =>
  withControlPlane(given, option, env);

describe('what it does', () => {
  test('metadata from texts, files and the environment, in lower case, for every server; nothing for none', () => {
    const given = bootstrap([PLAIN, TLS]);
    expect(withControlPlane(given, undefined, {})).toBe(given);
    const found = apply(
      {
        metadata: {
          'X-Consul-Token': { env: 'TOKEN' },
          authorization: { file: '/run/dp-token' },
          'x-a': 'text',
          'x-b': { file: '/b', prefix: 'Bearer ' },
        },
        keepalive: { interval: 30_000 },
      },
      given,
      { TOKEN: 'secret' },
    );
    for (const server of found.servers) {
      expect(server.metadata).toEqual([
        { key: 'x-consul-token', parts: ['secret'] },
        { key: 'authorization', parts: [{ file: '/run/dp-token' }] },
        { key: 'x-a', parts: ['text'] },
        { key: 'x-b', parts: ['Bearer ', { file: '/b' }] },
      ]);
      expect(server.keepalive).toEqual({ intervalMs: 30_000 });
    }
  });

  test('a token file beside what the bootstrap has; authorities with servers of their own are left alone', () => {
    const given = bootstrap([{ ...TLS, call_creds: [{ type: 'jwt_token_file', config: { jwt_token_file: '/one' } }] }], {
      authorities: { inherits: {}, own: { xds_servers: [{ ...TLS, server_uri: 'other:1' }] } },
    });
    const found = apply({ tokenFile: '/two', keepalive: { timeout: 5 } }, given);
    const both = [
      { type: 'jwt_token_file', path: '/one' },
      { type: 'jwt_token_file', path: '/two' },
    ];
    expect(found.servers[0]).toMatchObject({ callCredentials: both, keepalive: { timeoutMs: 5 } });
    expect(found.authorities['inherits']?.servers[0]?.callCredentials).toEqual(both);
    // One and the same: both share a stream.
    expect(found.authorities['inherits']?.servers[0]).toBe(found.servers[0]);
    expect(found.authorities['own']?.servers[0]?.callCredentials).toBeUndefined();
  });
});

const INSECURE =
  /the server cp:1 has call credentials \(jwt_token_file\) on an insecure channel, where anybody could read them. Use channel_creds/;
const TWICE = /the server cp:2 has "authorization" both as a token and as metadata/;

test.each<[string, ControlPlaneOptions, readonly object[], RegExp]>([
  ['a token in the clear', { tokenFile: '/t' }, [TLS, PLAIN], INSECURE],
  ['two authorizations', { tokenFile: '/t', metadata: { Authorization: 'x' } }, [TLS], TWICE],
  [
    'a variable that is not set',
    { metadata: { 'x-t': { env: 'NOT_SET' } } },
    [PLAIN],
    /metadata\["x-t"\]: the environment variable NOT_SET is not set/,
  ],
  ['a variable with two lines', { metadata: { 'x-t': { env: 'LINES' } } }, [PLAIN], /the environment variable LINES holds characters/],
])('refused: %s', (_name, option, servers, message) => {
  const problem = problemOf(() => apply(option, bootstrap(servers), { LINES: 'secret\nline' }));
  expect(problem.code).toBe('ERR_MESH_OPTION');
  expect(problem.message).toMatch(message);
  expect(problem.message).not.toContain('secret');
});

const M = 'the option controlPlane.metadata';

test.each<[string, unknown, string]>([
  ['no object', 5, 'the option controlPlane must be an object'],
  [
    'a key that does not exist',
    { tokenfile: '/t' },
    'the option controlPlane: the key "tokenfile" does not exist. Did you mean "tokenFile"?',
  ],
  ['a token file that is no path', { tokenFile: '' }, 'the option controlPlane.tokenFile must be a path'],
  ['metadata that is a list', { metadata: [] }, `${M} must be an object of keys and values`],
  ['a key that no header can have', { metadata: { 'x y': 'a' } }, `${M}["x y"] is no metadata key`],
  ['a key of gRPC', { metadata: { 'grpc-timeout': 'a' } }, `${M}["grpc-timeout"] is reserved by gRPC`],
  ['a key of HTTP', { metadata: { Host: 'a' } }, `${M}["Host"] is reserved by gRPC`],
  ['a binary key', { metadata: { 'x-bin': 'a' } }, `${M}["x-bin"] is a binary key, which is not supported`],
  ['the same key twice', { metadata: { 'x-a': 'a', 'X-A': 'b' } }, `${M}["X-A"] is there twice`],
  ['a number', { metadata: { 'x-a': 5 } }, `${M}["x-a"] must be a text or an object`],
  ['a text no header can carry', { metadata: { 'x-a': 'secret\n' } }, `${M}["x-a"] holds characters that metadata cannot carry`],
  ['neither file nor env', { metadata: { 'x-a': {} } }, `${M}["x-a"] must have either "file" or "env"`],
  ['both', { metadata: { 'x-a': { file: '/a', env: 'A' } } }, `${M}["x-a"] must have either "file" or "env"`],
  ['another key', { metadata: { 'x-a': { path: '/a' } } }, `${M}["x-a"]: the key "path" does not exist`],
  ['an empty file', { metadata: { 'x-a': { file: '' } } }, `${M}["x-a"].file must be a text that is not empty`],
  ['an environment variable that is no name', { metadata: { 'x-a': { env: 1 } } }, `${M}["x-a"].env must be a text`],
  ['a prefix that is no text', { metadata: { 'x-a': { file: '/a', prefix: 1 } } }, `${M}["x-a"].prefix must be a text of ASCII`],
  ['keep-alive that is a number', { keepalive: 5 }, 'the option controlPlane.keepalive must be an object'],
  ['keep-alive with a key too many', { keepalive: { time: 1 } }, 'the option controlPlane.keepalive: the key "time" does not exist'],
  [
    'pings too often',
    { keepalive: { interval: 500 } },
    'the option controlPlane.keepalive.interval must be a number of milliseconds, at least 1000',
  ],
  [
    'an endless wait',
    { keepalive: { timeout: Infinity } },
    'the option controlPlane.keepalive.timeout must be a number of milliseconds, at least 1',
  ],
])('checked before anything is opened: %s', (_name, controlPlane, message) => {
  const problem = problemOf(() => checkOptions({ controlPlane }));
  expect(problem.code).toBe('ERR_MESH_OPTION');
  expect(problem.message).toContain(message);
  expect(problem.message).not.toContain('secret');
});
