/**
 * What a stream to a control plane says about who opens it: call credentials (gRFC A97, `google_default`) and metadata of the user's own
 * (`x-consul-token`, Kuma's token). Collected anew for every stream. Values are secrets: only keys and sources are ever told.
 */
import type { CallCredentialsConfig, MetadataEntryConfig } from '../../config/bootstrap.ts';
import type { Clock } from '../../core/clock.ts';
import type { Environment } from '../../core/environment.ts';
import type { Random } from '../../core/random.ts';
import { GrpcStatus } from '../../core/status.ts';
import { ComputeEngineTokens, googleDefaultTokens } from './google-default.ts';
import { CredentialProblem, TokenCache } from './token-cache.ts';
import type { TokenSource } from './token-cache.ts';
import { JwtTokenFile, readSecretFile } from './token-file.ts';

export interface IdentityOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly environment: Environment;
}

export interface IdentityConfig {
  /** Whether the channel is encrypted; without that no token is sent. */
  readonly secure: boolean;
  readonly google: boolean;
  readonly callCredentials: readonly CallCredentialsConfig[];
  readonly metadata: readonly MetadataEntryConfig[];
}

/** The metadata of one stream. */
export interface Collected {
  readonly entries: readonly (readonly [key: string, value: string])[];
  /** Takes every value that was sent out of a text that came from elsewhere. */
  redact(text: string): string;
}

export class CallIdentity {
  /** What is sent, for people: keys and where their values come from. */
  readonly sent: string;
  readonly #config: IdentityConfig;
  readonly #tokens: readonly TokenCache[];

  constructor(config: IdentityConfig, options: IdentityOptions) {
    this.#config = config;
    const sources = config.callCredentials.map((credentials) => sourceOf(credentials, options));
    if (config.google) sources.push(googleDefaultTokens(options));
    this.#tokens = sources.map((source) => new TokenCache(source, options.clock, options.random));
    this.sent = [
      ...this.#tokens.map(({ name }) => `authorization (from ${name})`),
      ...config.metadata.map((entry) => `${entry.key} (${origin(entry)})`),
    ].join(', ');
  }

  /** Rejects with a `CredentialProblem`. */
  async collect(): Promise<Collected> {
    // Checked where the configuration is read; a second time here, since a token that was sent in the clear cannot be taken back.
    if (this.#tokens.length > 0 && !this.#config.secure)
      throw new CredentialProblem('tokens are not sent over an insecure channel', GrpcStatus.UNAUTHENTICATED);
    const metadata = await Promise.all(this.#config.metadata.map(async (entry) => [entry.key, await valueOf(entry)] as const));
    const tokens = await Promise.all(this.#tokens.map((cache) => cache.get()));
    // Whole values, and the token behind "Bearer " by itself. What is shorter is no secret, and would tear any text apart.
    const values = [...metadata.map(([, value]) => value), ...tokens];
    const secrets = values.flatMap((value) => [value, ...value.split(' ').slice(1)]).filter((secret) => secret.length >= 4);
    return {
      entries: [...metadata, ...tokens.map((token) => ['authorization', `Bearer ${token}`] as const)],
      redact: (text) => secrets.reduce((shown, secret) => shown.replaceAll(secret, '[redacted]'), text),
    };
  }

  close(): void {
    for (const cache of this.#tokens) cache.close();
  }
}

function sourceOf(credentials: CallCredentialsConfig, options: IdentityOptions): TokenSource {
  switch (credentials.type) {
    case 'jwt_token_file':
      return new JwtTokenFile(credentials.path);
    case 'access_token':
      return { name: 'the bootstrap', fetch: async () => ({ value: credentials.token, expiresAt: Number.POSITIVE_INFINITY }) };
    case 'google_compute_engine':
      return new ComputeEngineTokens(options);
  }
}

function origin({ parts }: MetadataEntryConfig): string {
  const files = parts.flatMap((part) => (typeof part === 'string' ? [] : [part.file]));
  return files.length === 0 ? 'as configured' : `from ${files.join(', ')}`;
}

async function valueOf({ parts }: MetadataEntryConfig): Promise<string> {
  const texts = await Promise.all(parts.map(async (part) => (typeof part === 'string' ? part : readSecretFile(part.file))));
  return texts.join('');
}
