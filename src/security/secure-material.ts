/**
 * Certificate, trust anchors and TLS parameters of one configuration, with the `SecureContext` made of them. A context costs about 0.2 ms,
 * so there is one per generation of the material. While anything is missing or unusable there is none, and `problem` says why.
 */
import { createSecureContext } from 'node:tls';
import type { SecureContext, SecureContextOptions } from 'node:tls';
import type { CommonTlsConfig } from '../config/tls.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { TlsMaterial } from '../core/tls.ts';
import type { Identity, TrustAnchors } from './material.ts';
import type { Secret } from './secret-store.ts';

export interface SecureMaterialOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly parameters: Pick<CommonTlsConfig, 'minVersion' | 'maxVersion'>;
  /** Undefined: no certificate of our own. */
  readonly identity: Secret<Identity> | undefined;
  /** `system`: Node's default anchors. `none`: the peer's chain is not verified. */
  readonly roots: Secret<TrustAnchors> | 'system' | 'none';
  /** A reason in the configuration itself why there can be no context, ever; empty when there is none. */
  readonly refusal: string;
}

export class SecureMaterial {
  readonly #options: SecureMaterialOptions;
  readonly #identity: Secret<Identity> | undefined;
  readonly #roots: Secret<TrustAnchors> | undefined;
  #builtFor = -1;
  #context: SecureContext | undefined = undefined;
  #material: TlsMaterial | undefined = undefined;
  #domains: ReadonlyMap<string, TrustAnchors> | undefined = undefined;
  #rootsExpireAt = Number.POSITIVE_INFINITY;
  #problem: string;

  constructor(options: SecureMaterialOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.#roots = typeof options.roots === 'string' ? undefined : options.roots;
    this.#problem = options.refusal;
  }

  get generation(): number {
    return (this.#identity?.generation ?? 0) + (this.#roots?.generation ?? 0);
  }

  /** Empty while there is a context. */
  get problem(): string {
    return this.secureContext() === undefined ? this.#problem : '';
  }

  secureContext(): SecureContext | undefined {
    if (this.#options.refusal !== '') return undefined;
    const generation = this.generation;
    if (generation !== this.#builtFor || this.#context === undefined) this.#build(generation);
    if (this.#context === undefined) return undefined;
    if (this.#rootsExpireAt > this.#options.clock.wallTime()) return this.#context;
    this.#problem = 'all trust anchors have expired';
    return undefined;
  }

  material(): TlsMaterial | undefined {
    return this.secureContext() === undefined ? undefined : this.#material;
  }

  /** Of the context: the trust anchors by SPIFFE trust domain, where it has them so. */
  get domains(): ReadonlyMap<string, TrustAnchors> | undefined {
    return this.#domains;
  }

  /** In milliseconds since the epoch, for checks of certificates. */
  wallTime(): number {
    return this.#options.clock.wallTime();
  }

  onRotate(listener: () => void): () => void {
    const forget = [this.#identity?.onChange(listener), this.#roots?.onChange(listener)];
    return () => {
      for (const stop of forget) stop?.();
    };
  }

  #build(generation: number): void {
    const identity = this.#identity?.value;
    const anchors = this.#roots?.value;
    if ((this.#identity !== undefined && identity === undefined) || (this.#roots !== undefined && anchors === undefined)) {
      // Nothing that was taken away is used again.
      this.#context = undefined;
      this.#problem = [this.#identity?.problem, this.#roots?.problem].filter((text) => text !== undefined && text !== '').join('; ');
      return;
    }
    const { parameters, roots, log } = this.#options;
    // Envoy T-3: an intermediate may be an anchor. A server that asks for certificates needs a session id context, or OpenSSL fails every
    // handshake that tries to resume; sessions of older contexts are not taken anyway, since each context has ticket keys of its own.
    const options: SecureContextOptions = { allowPartialTrustChain: true, sessionIdContext: 'inmesh' };
    if (identity !== undefined) Object.assign(options, { cert: identity.certificateChain, key: identity.privateKey });
    if (anchors !== undefined) options.ca = anchors.pem;
    // An empty list keeps Node from loading its default anchors, which nobody asked for.
    else if (roots === 'none') options.ca = [];
    if (parameters.minVersion !== undefined) options.minVersion = parameters.minVersion;
    if (parameters.maxVersion !== undefined) options.maxVersion = parameters.maxVersion;
    this.#builtFor = generation;
    try {
      this.#context = createSecureContext(options);
    } catch (error) {
      // Material that parses and that OpenSSL still refuses (a weak key, say): the context before it, if any, stays.
      this.#problem = `OpenSSL refuses the certificate, key or trust anchors: ${error instanceof Error ? error.message : String(error)}`;
      log.warn(`TLS: ${this.#problem}`, { kept: this.#context !== undefined });
      return;
    }
    this.#domains = anchors?.domains;
    this.#rootsExpireAt = anchors?.notAfter ?? Number.POSITIVE_INFINITY;
    this.#material = { certificateChain: identity?.certificateChain, privateKey: identity?.privateKey, roots: anchors?.pem };
  }
}
