/**
 * Keeps one token and knows when to get another, by the rules of gRFCs A83 and A97: on demand only, before it expires, with back-off
 * after a failure. Where tokens come from is left to the source; nothing here ever shows one.
 */
import type { Clock } from '../../core/clock.ts';
import type { Random } from '../../core/random.ts';
import { GrpcStatus } from '../../core/status.ts';

/** Taken off the expiry, for clocks that differ and for the way to the server. */
const EXPIRY_MARGIN_MS = 30_000;
/** A token with less than this left is replaced while it is still used. */
const REFRESH_MS = 60_000;

/** gRPC's connection back-off, which A97 asks for. */
const BACKOFF_MS = 1_000;
const BACKOFF_FACTOR = 1.6;
const BACKOFF_JITTER = 0.2;
const BACKOFF_MAX_MS = 120_000;

export interface Token {
  readonly value: string;
  /** Wall time in milliseconds. */
  readonly expiresAt: number;
}

export interface TokenSource {
  /** Where tokens come from, for people, e.g. `the token file /var/run/token`. Never a token. */
  readonly name: string;
  /** Rejects with a `CredentialProblem`. */
  fetch(signal: AbortSignal): Promise<Token>;
}

/** Why there is no token; the stream that needed one ends with `code`. The message holds no secret. */
export class CredentialProblem extends Error {
  override readonly name = 'CredentialProblem';
  readonly code: number;
  constructor(message: string, code: number = GrpcStatus.UNAVAILABLE) {
    super(message);
    this.code = code;
  }
}

export class TokenCache {
  readonly #source: TokenSource;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #stop = new AbortController();
  #token: Token | undefined;
  #pending: Promise<Token> | undefined;
  #failure: CredentialProblem | undefined;
  #failures = 0;
  #retryAt = 0;

  constructor(source: TokenSource, clock: Clock, random: Random) {
    this.#source = source;
    this.#clock = clock;
    this.#random = random;
  }

  get name(): string {
    return this.#source.name;
  }

  /** Rejects with the failure of the last try while the next one is not due. */
  async get(): Promise<string> {
    const left = this.#token === undefined ? 0 : this.#token.expiresAt - EXPIRY_MARGIN_MS - this.#clock.wallTime();
    if (this.#token !== undefined && left > 0) {
      if (left < REFRESH_MS && !this.#mustWait()) this.#refresh().catch(() => undefined);
      return this.#token.value;
    }
    if (this.#failure !== undefined && this.#mustWait()) throw this.#failure;
    return (await this.#refresh()).value;
  }

  close(): void {
    this.#stop.abort();
  }

  #mustWait(): boolean {
    return this.#clock.now() < this.#retryAt;
  }

  #refresh(): Promise<Token> {
    this.#pending ??= this.#fetch().finally(() => (this.#pending = undefined));
    return this.#pending;
  }

  async #fetch(): Promise<Token> {
    try {
      const token = await this.#source.fetch(this.#stop.signal);
      if (token.expiresAt <= this.#clock.wallTime())
        throw new CredentialProblem(`${this.#source.name} gave a token that has expired`, GrpcStatus.UNAUTHENTICATED);
      this.#token = token;
      this.#failure = undefined;
      this.#failures = 0;
      this.#retryAt = 0;
      return token;
    } catch (error) {
      const failure = error instanceof CredentialProblem ? error : new CredentialProblem(`${this.#source.name}: fault in inmesh`);
      const pause = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * BACKOFF_FACTOR ** this.#failures++);
      this.#retryAt = this.#clock.now() + pause * (1 + BACKOFF_JITTER * (2 * this.#random.next() - 1));
      this.#failure = failure;
      throw failure;
    }
  }
}
