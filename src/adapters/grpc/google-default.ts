/**
 * Google's application-default credentials as access tokens: a key file (service account, or a user's refresh token), else the metadata
 * server of the machine. Small on purpose: identity federation and impersonation are refused by name. Caching is `token-cache.ts`'s.
 */
import { createPrivateKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import type { Environment } from '../../core/environment.ts';
import { GrpcStatus } from '../../core/status.ts';
import { exchange } from './http-exchange.ts';
import type { HttpReply } from './http-exchange.ts';
import { CredentialProblem } from './token-cache.ts';
import type { Token, TokenSource } from './token-cache.ts';

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const TOKEN_ENDPOINT = 'https://oauth2.googleapis.com/token';
const METADATA_HOST = '169.254.169.254';
const METADATA_PATH = '/computeMetadata/v1/instance/service-accounts/default/token';
/** What Google allows an assertion to live. */
const ASSERTION_SECONDS = 3600;

export interface GoogleOptions {
  readonly clock: Clock;
  readonly environment: Environment;
}

/**
 * Looks in Google's order: the file that GOOGLE_APPLICATION_CREDENTIALS names, the one that `gcloud auth application-default login` writes,
 * the metadata server. Opens nothing before the first token is needed.
 */
export function googleDefaultTokens(options: GoogleOptions): TokenSource {
  const { environment } = options;
  const named = environment['GOOGLE_APPLICATION_CREDENTIALS'];
  if (named !== undefined && named !== '') return new KeyFileTokens(named, options);
  const known = wellKnownFile(environment);
  return known !== undefined && existsSync(known) ? new KeyFileTokens(known, options) : new ComputeEngineTokens(options);
}

function wellKnownFile(environment: Environment): string | undefined {
  const file = 'application_default_credentials.json';
  const configured = environment['CLOUDSDK_CONFIG'];
  if (configured !== undefined && configured !== '') return join(configured, file);
  const appData = environment['APPDATA'];
  if (process.platform === 'win32') return appData === undefined ? undefined : join(appData, 'gcloud', file);
  const home = environment['HOME'];
  return home === undefined || home === '' ? undefined : join(home, '.config', 'gcloud', file);
}

/** The metadata server of Compute Engine, GKE, Cloud Run. */
export class ComputeEngineTokens implements TokenSource {
  readonly name: string;
  readonly #url: string;
  readonly #clock: Clock;

  constructor({ clock, environment }: GoogleOptions) {
    const host = environment['GCE_METADATA_HOST'] || METADATA_HOST;
    this.#clock = clock;
    this.#url = `http://${host}${METADATA_PATH}`;
    this.name = `the metadata server ${host}`;
  }

  async fetch(signal: AbortSignal): Promise<Token> {
    const reply = await exchange({ url: this.#url, headers: { 'metadata-flavor': 'Google' }, from: this.name, signal, clock: this.#clock });
    // Anything may answer at such an address, a captive portal for one: its "token" must not be believed.
    if (reply.headers['metadata-flavor'] !== 'Google')
      throw new CredentialProblem(`${this.name} is none: its answer has no header "Metadata-Flavor: Google" (status ${reply.status})`);
    if (reply.status === 404) throw new CredentialProblem(`${this.name} knows no service account for this machine (404)`);
    return tokenOf(reply, this.name, this.#clock);
  }
}

interface KeyFile {
  readonly [key: string]: unknown;
}

/** A file of type `service_account` or `authorized_user`; read again for each token, since keys are replaced. */
class KeyFileTokens implements TokenSource {
  readonly name: string;
  readonly #path: string;
  readonly #clock: Clock;

  constructor(path: string, { clock }: GoogleOptions) {
    this.#path = path;
    this.#clock = clock;
    this.name = `the Google key file ${path}`;
  }

  async fetch(signal: AbortSignal): Promise<Token> {
    const file = await this.#read();
    const type = this.#text(file, 'type');
    const body = type === 'service_account' ? this.#assertion(file) : type === 'authorized_user' ? this.#refreshToken(file) : undefined;
    if (body === undefined) throw this.#problem(`has type ${JSON.stringify(type)}; supported are service_account and authorized_user`);
    const url = this.#endpoint(file);
    const reply = await exchange({
      url,
      form: body,
      headers: {},
      from: `${this.name}: the token endpoint ${new URL(url).host}`,
      signal,
      clock: this.#clock,
    });
    return tokenOf(reply, `${this.name}: the token endpoint ${new URL(url).host}`, this.#clock);
  }

  #assertion(file: KeyFile): Readonly<Record<string, string>> {
    const seconds = Math.floor(this.#clock.wallTime() / 1000);
    const id = file['private_key_id'];
    const header = { alg: 'RS256', typ: 'JWT', ...(typeof id === 'string' && { kid: id }) };
    const claims = {
      iss: this.#text(file, 'client_email'),
      scope: SCOPE,
      aud: this.#endpoint(file),
      iat: seconds,
      exp: seconds + ASSERTION_SECONDS,
    };
    const text = `${encode(header)}.${encode(claims)}`;
    const signature = sign('RSA-SHA256', Buffer.from(text), this.#key(file)).toString('base64url');
    return { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: `${text}.${signature}` };
  }

  #refreshToken(file: KeyFile): Readonly<Record<string, string>> {
    return {
      grant_type: 'refresh_token',
      client_id: this.#text(file, 'client_id'),
      client_secret: this.#text(file, 'client_secret'),
      refresh_token: this.#text(file, 'refresh_token'),
    };
  }

  #key(file: KeyFile): KeyObject {
    const pem = this.#text(file, 'private_key');
    try {
      const key = createPrivateKey(pem);
      if (key.asymmetricKeyType === 'rsa') return key;
    } catch {
      // OpenSSL's own words may quote what it could not read.
    }
    throw this.#problem('holds no RSA private key that can be read in "private_key"');
  }

  #endpoint(file: KeyFile): string {
    const given = file['token_uri'];
    if (given === undefined) return TOKEN_ENDPOINT;
    const url = typeof given === 'string' ? URL.parse(given) : null;
    if (url === null || (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname))))
      throw this.#problem('has a "token_uri" that is no https URL');
    return url.href;
  }

  #text(file: KeyFile, key: string): string {
    const value = file[key];
    if (typeof value === 'string' && value !== '') return value;
    throw this.#problem(`has no text in ${JSON.stringify(key)}`);
  }

  async #read(): Promise<KeyFile> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (error) {
      throw this.#problem(`cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`);
    }
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as KeyFile;
    } catch {
      // The words of the parser quote the text, which is a key.
    }
    throw this.#problem('is no JSON object');
  }

  #problem(reason: string): CredentialProblem {
    return new CredentialProblem(`${this.name} ${reason}`);
  }
}

function tokenOf(reply: HttpReply, from: string, clock: Clock): Token {
  const value = objectOf(reply.body);
  if (reply.status !== 200) {
    // Only the code of RFC 6749: a description may hold anything.
    const code = value?.['error'];
    const why = typeof code === 'string' && /^[\w.-]{1,60}$/.test(code) ? ` ${JSON.stringify(code)}` : '';
    throw new CredentialProblem(
      `${from} answered ${reply.status}${why}`,
      reply.status === 400 || reply.status === 401 || reply.status === 403 ? GrpcStatus.UNAUTHENTICATED : GrpcStatus.UNAVAILABLE,
    );
  }
  const token = value?.['access_token'];
  const seconds = value?.['expires_in'];
  if (typeof token !== 'string' || !/^[!-~]+$/.test(token)) throw new CredentialProblem(`${from} answered without an access_token`);
  if (typeof seconds !== 'number' || !(seconds > 0)) throw new CredentialProblem(`${from} answered without a usable expires_in`);
  return { value: token, expiresAt: clock.wallTime() + seconds * 1000 };
}

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}
