/**
 * Secrets over SDS as cells that TLS contexts follow (Envoy X-93, T-7): a new secret is used for new connections, a refused or vanished one
 * leaves the last good in place (gRFC A88). Fetching them is the configuration source's business.
 */
import type { ConfigSourceConfig } from '../config/config-source.ts';
import type { ResourceState } from '../config/resource.ts';
import type { SecretConfig } from '../config/secret.ts';
import type { IdentitySourceConfig, SanMatcherConfig, TlsSourceConfig } from '../config/tls.ts';
import type { Identity, TrustAnchors } from './material.ts';
import { Secret } from './secret-store.ts';

export type SecretLookup = (name: string, source: ConfigSourceConfig | undefined) => ResourceState<SecretConfig>;

/** Where the material that a secret names is read (`tls-sources.ts`): it may be inline or in files. */
export interface MaterialSources {
  identity(source: IdentitySourceConfig): Secret<Identity> | string;
  roots(source: TlsSourceConfig): Secret<TrustAnchors> | 'system' | { readonly refusal: string };
}

interface Reference {
  readonly name: string;
  readonly source?: ConfigSourceConfig;
}

/** Follows one secret for one purpose. */
class Follower<T> {
  readonly cell: Secret<T>;
  readonly #reference: Reference;
  readonly #lookup: SecretLookup;
  readonly #open: (config: SecretConfig) => Secret<T> | string;
  #seen: SecretConfig | undefined;
  #stop: (() => void) | undefined;

  constructor(reference: Reference, lookup: SecretLookup, open: (config: SecretConfig) => Secret<T> | string) {
    this.#reference = reference;
    this.#lookup = lookup;
    this.#open = open;
    this.cell = new Secret<T>(`secret "${reference.name}" is still awaited`);
    this.refresh();
  }

  refresh(): void {
    const { name, source } = this.#reference;
    const state = this.#lookup(name, source);
    if (state.status === 'present') {
      if (state.value !== this.#seen) this.#follow(state.value);
      return;
    }
    if (state.status === 'waiting') return;
    // The cache keeps what may be kept: what it says has failed has no value any more.
    this.#unfollow();
    this.cell.clear(`secret "${name}": ${state.reason}`);
  }

  #follow(config: SecretConfig): void {
    const opened = this.#open(config);
    if (typeof opened === 'string') {
      this.#seen = config;
      this.cell.offer({ ok: false, problem: `secret "${config.name}": ${opened}` });
      return;
    }
    this.#unfollow();
    this.#seen = config;
    const pass = (): void => {
      const { value, problem } = opened;
      this.cell.offer(value === undefined ? { ok: false, problem: `secret "${config.name}": ${problem}` } : { ok: true, value });
    };
    this.#stop = opened.onChange(pass);
    pass();
  }

  #unfollow(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#seen = undefined;
  }
}

/** A validation context that comes as a secret: trust anchors, and SAN matchers beside those of the configuration. */
export interface SdsValidation {
  readonly roots: Secret<TrustAnchors>;
  readonly matchers: readonly SanMatcherConfig[];
}

const NO_MATCHERS: readonly SanMatcherConfig[] = Object.freeze([]);

/** Envoy T-1: the secret's fields replace the default's one by one; a validator of its own is a field that stands above trust anchors. */
function mergedRoots(own: TlsSourceConfig | undefined, fallback: TlsSourceConfig | undefined): TlsSourceConfig | undefined {
  return fallback?.kind === 'spiffe' && own?.kind !== 'spiffe' ? fallback : (own ?? fallback);
}

class Validation implements SdsValidation {
  matchers: readonly SanMatcherConfig[] = NO_MATCHERS;
  readonly #follower: Follower<TrustAnchors>;

  constructor(reference: Extract<TlsSourceConfig, { kind: 'sds' }>, lookup: SecretLookup, sources: MaterialSources) {
    this.#follower = new Follower(reference, lookup, (config) => {
      if (config.kind !== 'validation') return `is ${describe(config)}, not a validation context`;
      const anchors = mergedRoots(config.roots, reference.fallback);
      if (anchors === undefined) return 'has no trust anchors, so nothing could be verified';
      const roots = sources.roots(anchors);
      if (roots === 'system') return 'the system trust anchors cannot be combined with a secret';
      if ('refusal' in roots) return roots.refusal;
      this.matchers = config.sanMatchers;
      return roots;
    });
  }

  get roots(): Secret<TrustAnchors> {
    return this.#follower.cell;
  }

  refresh(): void {
    this.#follower.refresh();
  }
}

export class SdsSecrets {
  readonly #lookup: SecretLookup;
  readonly #sources: MaterialSources;
  readonly #identities = new Map<string, Follower<Identity>>();
  readonly #validations = new Map<string, Validation>();

  constructor(lookup: SecretLookup, sources: MaterialSources) {
    this.#lookup = lookup;
    this.#sources = sources;
  }

  identity(reference: Reference): Secret<Identity> {
    const id = idOf(reference);
    let follower = this.#identities.get(id);
    if (follower === undefined) {
      follower = new Follower(reference, this.#lookup, (config) =>
        config.kind === 'certificate' ? this.#sources.identity(config.identity) : `is ${describe(config)}, not a certificate`,
      );
      this.#identities.set(id, follower);
    }
    return follower.cell;
  }

  validation(reference: Extract<TlsSourceConfig, { kind: 'sds' }>): SdsValidation {
    const id = `${idOf(reference)}\n${JSON.stringify(reference.fallback)}`;
    let validation = this.#validations.get(id);
    if (validation === undefined) {
      validation = new Validation(reference, this.#lookup, this.#sources);
      this.#validations.set(id, validation);
    }
    return validation;
  }

  /** Looks at every secret in use. */
  refresh(): void {
    for (const follower of this.#identities.values()) follower.refresh();
    for (const validation of this.#validations.values()) validation.refresh();
  }
}

function idOf({ name, source }: Reference): string {
  return `${name}\n${source?.id ?? ''}`;
}

function describe(config: SecretConfig): string {
  if (config.kind === 'other') return config.what;
  return config.kind === 'certificate' ? 'a certificate' : 'a validation context';
}
