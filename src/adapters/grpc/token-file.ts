/** Credentials in files: JWTs (gRFC A97) and plain texts for metadata. Files are replaced by whoever rotates them, so none is kept open. */
import { readFile } from 'node:fs/promises';
import { GrpcStatus } from '../../core/status.ts';
import { CredentialProblem } from './token-cache.ts';
import type { Token, TokenSource } from './token-cache.ts';

/** More is no token, and no server takes such a header. */
const MAX_BYTES = 64 * 1024;

/** Contents without white space at the ends. Rejects with a `CredentialProblem` that names the file. */
export async function readSecretFile(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new CredentialProblem(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`);
  }
  if (bytes.length > MAX_BYTES)
    throw new CredentialProblem(`${path} has ${bytes.length} bytes, more than the ${MAX_BYTES} of a credential`);
  const text = bytes.toString('utf8').trim();
  if (text === '') throw new CredentialProblem(`${path} is empty`);
  if (!/^[ -~]*$/.test(text)) throw new CredentialProblem(`${path} holds characters that metadata cannot carry: only one line of ASCII`);
  return text;
}

/** `call_creds` of type `jwt_token_file`. The token is not verified: that is the server's business. */
export class JwtTokenFile implements TokenSource {
  readonly name: string;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    this.name = `the token file ${path}`;
  }

  async fetch(): Promise<Token> {
    const value = await readSecretFile(this.#path);
    const expiresAt = expiryOf(value);
    if (expiresAt === undefined)
      throw new CredentialProblem(`${this.#path} holds no JWT with an expiry ("exp")`, GrpcStatus.UNAUTHENTICATED);
    return { value, expiresAt };
  }
}

/** Wall time in milliseconds; undefined for what is no JWT, or has no usable `exp`. */
function expiryOf(token: string): number | undefined {
  const [, payload, signature] = token.split('.');
  if (payload === undefined || signature === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    const seconds = typeof claims === 'object' && claims !== null ? (claims as { readonly exp?: unknown }).exp : undefined;
    return typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined;
  } catch {
    return undefined;
  }
}
