/** go-control-plane that wants mutual TLS and a token: who is let in by which bootstrap, and what a refused client says about it. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import type { ControlPlane, Identity } from './harness.ts';
import { freePort, identityFiles, peers, scratch, snapshotText, startBackend, startControlPlane, startMesh, until } from './harness.ts';

const TOKEN = 's3cret-of-the-control-plane';
const clock = { wallTime: () => Date.now() };
const ca = createTestCa({ trustDomain: 'mesh.test', clock });
const CLIENT = 'spiffe://mesh.test/ns/default/sa/client';
const OTHER = 'spiffe://mesh.test/ns/default/sa/other';

interface Scene {
  readonly plane: ControlPlane;
  /** As the certificate names it. */
  readonly address: string;
}

async function scene(flags: readonly string[] = ['--token', TOKEN]): Promise<Scene> {
  const server = identityFiles(ca, 'spiffe://mesh.test/ns/default/sa/control-plane');
  const ports = { 18081: await startBackend('v1'), 18082: await startBackend('v2'), 15080: await freePort() };
  const tls = ['--tls-cert', server.cert, '--tls-key', server.key, '--client-ca', server.ca];
  const plane = await startControlPlane(snapshotText('a-http-sidecar', ports), { flags: [...tls, ...flags] });
  return { plane, address: plane.address.replace('127.0.0.1', 'localhost') };
}

function grpcBootstrap({ address }: Scene, { ca: root, cert, key }: Identity, more: object = {}): object {
  const config = { ca_certificate_file: root, certificate_file: cert, private_key_file: key, refresh_interval: '1s' };
  return {
    xds_servers: [{ server_uri: address, channel_creds: [{ type: 'tls', config }], server_features: ['xds_v3'], ...more }],
    node: { id: 'app', cluster: 'inmesh-interop' },
  };
}

/** What the script for Envoy itself writes. */
function envoyBootstrap({ plane }: Scene, { ca: root, cert, key }: Identity, mode: 'sotw' | 'delta'): object {
  const script = fileURLToPath(new URL('envoy-bootstrap.mjs', import.meta.url));
  const files = ['--ca', root, '--cert', cert, '--key', key, '--sni', 'localhost'];
  const args = [script, '--mode', mode, '--cp', plane.address, '--node', 'app', '--token', TOKEN, ...files];
  return JSON.parse(spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout) as object;
}

const meshOf = (bootstrap: object, options: MeshOptions = {}): Promise<Mesh> =>
  startMesh({ bootstrap, include: ['web.local'], ...options });

async function served(mesh: Mesh): Promise<string> {
  const response = await mesh.fetch('http://web.local/things');
  return response.status === 200 ? ((await response.json()) as { name: string }).name : `${response.status}: ${await response.text()}`;
}

const problemOf = (mesh: Mesh): Promise<string> => until('there is a problem', () => mesh.describe().source?.problem);

describe.skipIf(peers.go === undefined)('go-control-plane with mutual TLS and a token', () => {
  test.each(['sotw', 'delta'] as const)("Envoy's bootstrap, %s: let in with certificate and token", async (mode) => {
    const made = await scene();
    const mesh = await meshOf(envoyBootstrap(made, identityFiles(ca, CLIENT), mode));
    expect(await served(mesh)).toMatch(/^v[12]$/);
    const log = await made.plane.log('app');
    expect(log.find(({ event }) => event === 'request')).toMatchObject({ mode });
    expect(new Set(log.flatMap(({ peer_id: id }) => (id === undefined ? [] : [id])))).toEqual(new Set([CLIENT]));
    expect(JSON.stringify(mesh.describe())).not.toContain(TOKEN);
  });

  test('the gRPC bootstrap with tls, and the token by the option controlPlane; after a rotation the next stream has the new certificate', async () => {
    const made = await scene();
    const [identity, next] = [identityFiles(ca, CLIENT), identityFiles(ca, OTHER)];
    const file = join(scratch(), 'token');
    writeFileSync(file, `${TOKEN}\n`);
    const metadata = { authorization: { file, prefix: 'Bearer ' } };
    const mesh = await meshOf(grpcBootstrap(made, identity), { controlPlane: { metadata } });
    expect(await served(mesh)).toMatch(/^v[12]$/);
    copyFileSync(next.cert, identity.cert);
    copyFileSync(next.key, identity.key);
    await made.plane.drop();
    const seen = async (): Promise<string[]> => (await made.plane.log('app')).flatMap(({ peer_id: id }) => (id === undefined ? [] : [id]));
    await until('the new certificate is seen', async () => (await seen()).at(-1) === OTHER);
    expect((await seen())[0]).toBe(CLIENT);
    expect(await served(mesh)).toMatch(/^v[12]$/);
  });

  test('without a token, and with a wrong one: UNAUTHENTICATED with what was sent; no certificate: no handshake', async () => {
    const made = await scene();
    const identity = identityFiles(ca, CLIENT);
    const none = await meshOf(grpcBootstrap(made, identity));
    expect(await problemOf(none)).toMatch(/^localhost:\d+: UNAUTHENTICATED: .*\(sent: a client certificate\)$/);
    const wrong = await meshOf(grpcBootstrap(made, identity), { controlPlane: { metadata: { authorization: 'Bearer wrong-token' } } });
    const problem = await problemOf(wrong);
    expect(problem).toMatch(/UNAUTHENTICATED: .*\(sent: a client certificate, authorization \(as configured\)\)$/);
    expect(problem).not.toContain('wrong-token');
    expect((await made.plane.log()).filter(({ event }) => event === 'request')).toEqual([]);

    const bare = {
      xds_servers: [{ server_uri: made.address, channel_creds: [{ type: 'tls', config: { ca_certificate_file: identity.ca } }] }],
    };
    expect(await problemOf(await meshOf(bare))).toMatch(/UNAVAILABLE/);
    const plain = { xds_servers: [{ server_uri: made.address, channel_creds: [{ type: 'insecure' }] }] };
    expect(await problemOf(await meshOf(plain))).toMatch(/UNAVAILABLE/);
  });

  test("a JWT file, istiod's way (gRFC A97)", async () => {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const token = `${part({ alg: 'none' })}.${part({ exp: Math.floor(Date.now() / 1000) + 3600 })}.c2ln`;
    const file = join(scratch(), 'jwt');
    writeFileSync(file, token);
    const made = await scene(['--token', token]);
    const call_creds = [{ type: 'jwt_token_file', config: { jwt_token_file: file } }];
    expect(await served(await meshOf(grpcBootstrap(made, identityFiles(ca, CLIENT), { call_creds })))).toMatch(/^v[12]$/);
  });
});
