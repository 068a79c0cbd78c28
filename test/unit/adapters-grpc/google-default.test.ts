/** Google's application-default credentials against servers on loopback that behave as Google's do. */
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ComputeEngineTokens, googleDefaultTokens } from '../../../src/adapters/grpc/google-default.ts';
import type { Environment } from '../../../src/core/environment.ts';
import { FakeClock } from '../../../src/testing/index.ts';

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

async function http(answer: Answer): Promise<string> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => answer(request, response, body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function file(content: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-google-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'key.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const clock = new FakeClock();
const { signal } = new AbortController();
const tokens = (environment: Environment) => googleDefaultTokens({ clock, environment });
const keyFile = (content: unknown) => tokens({ GOOGLE_APPLICATION_CREDENTIALS: file(content) });
const json = (response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void =>
  void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));

const FLAVOR = { 'metadata-flavor': 'Google' };

describe('the metadata server', () => {
  test('asked as Google says, with the life of the token from its answer', async () => {
    const seen: unknown[] = [];
    const host = await http(({ url, method, headers }, response) => {
      seen.push([method, url, headers['metadata-flavor']]);
      json(response, 200, { access_token: 'ya29.abc', expires_in: 3599, token_type: 'Bearer' }, FLAVOR);
    });
    const source = tokens({ GCE_METADATA_HOST: host, HOME: '/nowhere' });
    expect(source.name).toBe(`the metadata server ${host}`);
    expect(await source.fetch(signal)).toEqual({ value: 'ya29.abc', expiresAt: clock.wallTime() + 3_599_000 });
    expect(seen).toEqual([['GET', '/computeMetadata/v1/instance/service-accounts/default/token', 'Google']]);
  });

  test.each([
    ['no header Metadata-Flavor: it is somebody else', 200, { access_token: 'x', expires_in: 1 }, {}, /is none: its answer has no header/],
    ['no service account', 404, {}, FLAVOR, /knows no service account for this machine/],
    ['trouble of its own', 503, {}, FLAVOR, /answered 503$/],
    ['no token in it', 200, { expires_in: 5 }, FLAVOR, /without an access_token/],
    ['a token that no header can carry', 200, { access_token: 'a\nb', expires_in: 5 }, FLAVOR, /without an access_token/],
    ['no life', 200, { access_token: 'secret-token' }, FLAVOR, /without a usable expires_in/],
  ])('%s', async (_name, status, body, headers, message) => {
    const host = await http((_request, response) => json(response, status, body, headers));
    const error = await new ComputeEngineTokens({ clock, environment: { GCE_METADATA_HOST: host } }).fetch(signal).catch((e: unknown) => e);
    expect(String(error)).toMatch(message);
    expect(error).toMatchObject({ code: 14 });
    expect(String(error)).not.toContain('secret-token');
  });

  test('nobody there, an endless answer, no answer at all, closed while asking', async () => {
    const dead = await http(() => undefined);
    const ask = (host: string, stop: AbortSignal = signal) =>
      new ComputeEngineTokens({ clock, environment: { GCE_METADATA_HOST: host } }).fetch(stop);
    await expect(ask('127.0.0.1:1')).rejects.toThrow(/cannot be asked: .*ECONNREFUSED/);
    const long = await http((_request, response) => void response.writeHead(200, FLAVOR).end('x'.repeat(200_000)));
    await expect(ask(long)).rejects.toThrow(/the answer is too long/);
    const silent = ask(dead).catch((error: unknown) => error);
    await clock.advance(10_000);
    expect(String(await silent)).toMatch(/no answer within 10 s/);
    const stop = new AbortController();
    const stopped = ask(dead, stop.signal).catch((error: unknown) => error);
    stop.abort();
    expect(String(await stopped)).toMatch(/cannot be asked/);
    expect(clock.pending).toBe(0);
  });
});

describe('a service account', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const account = (change: object = {}) => ({
    type: 'service_account',
    client_email: 'me@project.iam.gserviceaccount.com',
    private_key_id: 'k1',
    private_key: privateKey,
    ...change,
  });

  test('signs an assertion that its public key verifies and trades it at token_uri', async () => {
    let form = new URLSearchParams();
    let type = '';
    const host = await http((request, response, body) => {
      form = new URLSearchParams(body);
      type = `${request.method} ${request.url} ${request.headers['content-type']}`;
      json(response, 200, { access_token: 'ya29.sa', expires_in: 3600 });
    });
    const uri = `http://${host}/token`;
    expect(await keyFile(account({ token_uri: uri })).fetch(signal)).toEqual({ value: 'ya29.sa', expiresAt: clock.wallTime() + 3_600_000 });
    expect(type).toBe('POST /token application/x-www-form-urlencoded');
    expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
    const [header = '', claims = '', signature = ''] = (form.get('assertion') ?? '').split('.');
    const read = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString());
    expect(read(header)).toEqual({ alg: 'RS256', typ: 'JWT', kid: 'k1' });
    const iat = Math.floor(clock.wallTime() / 1000);
    expect(read(claims)).toEqual({
      iss: 'me@project.iam.gserviceaccount.com',
      scope: 'https://www.googleapis.com/auth/cloud-platform',
      aud: uri,
      iat,
      exp: iat + 3600,
    });
    const good = verify('RSA-SHA256', Buffer.from(`${header}.${claims}`), createPublicKey(publicKey), Buffer.from(signature, 'base64url'));
    expect(good).toBe(true);
  });

  test('a refusal names the code of OAuth and nothing else', async () => {
    const host = await http((_request, response) =>
      json(response, 400, { error: 'invalid_grant', error_description: `bad assertion ${privateKey}` }),
    );
    const error = await keyFile(account({ token_uri: `http://${host}/` }))
      .fetch(signal)
      .catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 16 });
    expect(String(error)).toMatch(/the token endpoint 127\.0\.0\.1:\d+ answered 400 "invalid_grant"$/);
  });

  test.each<[string, object, RegExp]>([
    ['no key', { private_key: undefined }, /has no text in "private_key"/],
    ['a broken key', { private_key: 'secret-pem' }, /holds no RSA private key that can be read/],
    ['no address', { client_email: '' }, /has no text in "client_email"/],
    ['a token_uri in the clear', { token_uri: 'http://example.com/token' }, /"token_uri" that is no https URL/],
    ['a token_uri that is none', { token_uri: 5 }, /"token_uri" that is no https URL/],
  ])('%s', async (_name, change, message) => {
    const error = await keyFile(account(change))
      .fetch(signal)
      .catch((e: unknown) => e);
    expect(String(error)).toMatch(message);
    expect(String(error)).not.toContain('secret-pem');
  });
});

test("a user's refresh token", async () => {
  let form = '';
  const host = await http((_request, response, body) => {
    form = body;
    json(response, 200, { access_token: 'ya29.user', expires_in: 10 });
  });
  const user = { type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'r', token_uri: `http://${host}/` };
  expect((await keyFile(user).fetch(signal)).value).toBe('ya29.user');
  expect(form).toBe('grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r');
  await expect(keyFile({ ...user, refresh_token: undefined }).fetch(signal)).rejects.toThrow(/has no text in "refresh_token"/);
});

describe('which source', () => {
  test.each<[string, unknown, RegExp]>([
    ['another type', { type: 'external_account' }, /has type "external_account"; supported are service_account and authorized_user/],
    ['no type', {}, /has no text in "type"/],
    ['no JSON', 'secret', /is no JSON object$/],
    ['a list', [], /is no JSON object$/],
  ])('%s', async (_name, content, message) => {
    const error = await keyFile(content)
      .fetch(signal)
      .catch((e: unknown) => e);
    expect(String(error)).toMatch(message);
  });

  test('a file that is named and not there is an error: nothing else is tried', async () => {
    const host = await http((_request, response) => json(response, 200, { access_token: 'x', expires_in: 100 }, FLAVOR));
    const source = tokens({ GOOGLE_APPLICATION_CREDENTIALS: '/nowhere/key.json', GCE_METADATA_HOST: host });
    await expect(source.fetch(signal)).rejects.toThrow('the Google key file /nowhere/key.json cannot be read: ENOENT');
  });

  test("gcloud's own file, before the metadata server", () => {
    const home = mkdtempSync(join(tmpdir(), 'inmesh-home-'));
    onTestFinished(() => rmSync(home, { recursive: true }));
    expect(tokens({ HOME: home }).name).toBe('the metadata server 169.254.169.254');
    const folder = join(home, '.config', 'gcloud');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'application_default_credentials.json'), '{}');
    expect(tokens({ HOME: home }).name).toBe(`the Google key file ${join(folder, 'application_default_credentials.json')}`);
    expect(tokens({ CLOUDSDK_CONFIG: folder }).name).toMatch(/the Google key file/);
  });
});
