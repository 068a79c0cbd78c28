/**
 * From the sources that a TLS configuration names (provider instance, inline PEM, files) to the secrets they fill. Owns the file watchers:
 * one per provider instance and one per set of files, made on first use. A source that cannot be served is a refusal in words.
 */
import type { CertificateProviderConfig } from '../config/bootstrap.ts';
import type { IdentitySourceConfig, SanMatcherConfig, TlsSourceConfig } from '../config/tls.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Closable } from '../core/scope.ts';
import { FileWatcher } from './file-watcher.ts';
import { parseIdentity, parseTrustAnchors } from './material.ts';
import type { Identity, TrustAnchors } from './material.ts';
import { SdsSecrets } from './sds.ts';
import { federate } from './spiffe.ts';
import type { SecretLookup } from './sds.ts';
import { Secret } from './secret-store.ts';

export interface TlsSourcesOptions {
  /** The bootstrap's `certificate_providers`. */
  readonly providers: Readonly<Record<string, CertificateProviderConfig>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** State of a Secret by name and source; absent where there is no SDS. */
  readonly secret?: SecretLookup;
}

/** Milliseconds between two readings of files that a resource names, where no event tells of a change; as for providers. */
const FILE_REFRESH_MS = 600_000;

const NO_SDS = 'secrets over SDS need an xDS control plane, or static secrets of a bootstrap';

/** Says why a source cannot be used; a string, so that it cannot be mistaken for a secret. */
export type Refusal = string;

export class TlsSources implements Closable {
  readonly #options: TlsSourcesOptions;
  readonly #watchers = new Map<string, FileWatcher>();
  readonly #federated = new Map<string, Secret<TrustAnchors>>();
  #secrets: SdsSecrets | undefined;
  #closed = false;

  constructor(options: TlsSourcesOptions) {
    this.#options = options;
  }

  identity(source: IdentitySourceConfig): Secret<Identity> | Refusal {
    if (source.kind === 'provider') return this.#provider(source.instance)?.identity ?? unknownProvider(source.instance);
    if (source.kind === 'sds') return this.#sds()?.identity(source) ?? NO_SDS;
    const { certificateChain: chain, privateKey: key } = source;
    if (chain.kind === 'inline' && key.kind === 'inline') return Secret.of(parseIdentity(Buffer.from(chain.pem), Buffer.from(key.pem)));
    if (chain.kind === 'file' && key.kind === 'file')
      return this.#files(chain.path, key.path, undefined, [chain.watchedDirectory, key.watchedDirectory]).identity;
    return `a certificate chain (${chain.kind}) with a private key (${key.kind}) is not supported: both must be inline, or both files`;
  }

  roots(source: TlsSourceConfig): Secret<TrustAnchors> | 'system' | { readonly refusal: Refusal } {
    switch (source.kind) {
      case 'provider':
        return this.#provider(source.instance)?.roots ?? { refusal: unknownProvider(source.instance) };
      case 'inline':
        return Secret.of(parseTrustAnchors(Buffer.from(source.pem)));
      case 'file':
        return this.#files(undefined, undefined, source.path, [source.watchedDirectory]).roots;
      case 'system':
        return 'system';
      case 'spiffe':
        return this.#spiffe(source.domains);
      case 'sds':
        return this.#sds()?.validation(source).roots ?? { refusal: NO_SDS };
    }
  }

  /** SAN matchers that come with the trust anchors and may change with them; undefined where there are none of that kind. */
  sanMatchers(source: TlsSourceConfig | undefined): (() => readonly SanMatcherConfig[]) | undefined {
    if (source?.kind !== 'sds') return undefined;
    const validation = this.#sds()?.validation(source);
    return validation === undefined ? undefined : () => validation.matchers;
  }

  /** Secrets may have changed: looks at those in use. */
  refresh(): void {
    this.#secrets?.refresh();
  }

  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers.values()) watcher.close();
  }

  /** One cell over the bundles of all domains: whole, or not at all. */
  #spiffe(domains: Extract<TlsSourceConfig, { kind: 'spiffe' }>['domains']): Secret<TrustAnchors> | { readonly refusal: Refusal } {
    const bundles = new Map<string, Secret<TrustAnchors>>();
    for (const { name, bundle } of domains) {
      const anchors = this.roots(bundle);
      if (anchors === 'system' || 'refusal' in anchors)
        return { refusal: `trust domain "${name}": ${anchors === 'system' ? 'needs a bundle of its own' : anchors.refusal}` };
      bundles.set(name, anchors);
    }
    if (domains.every(({ bundle }) => bundle.kind === 'inline')) return federate(bundles);
    // Files are followed for good, so the cell that follows them is made once.
    const key = JSON.stringify(domains);
    const known = this.#federated.get(key) ?? federate(bundles);
    this.#federated.set(key, known);
    return known;
  }

  #sds(): SdsSecrets | undefined {
    const { secret } = this.#options;
    if (secret === undefined) return undefined;
    return (this.#secrets ??= new SdsSecrets(secret, this));
  }

  #provider(instance: string): FileWatcher | undefined {
    if (!Object.hasOwn(this.#options.providers, instance)) return undefined;
    const config = this.#options.providers[instance];
    if (config === undefined) return undefined;
    return this.#own(
      `provider ${instance}`,
      () => new FileWatcher(config, { ...this.#watching(), name: `certificate provider "${instance}"` }),
    );
  }

  #files(
    certificateFile: string | undefined,
    privateKeyFile: string | undefined,
    caCertificateFile: string | undefined,
    directories: readonly (string | undefined)[],
  ): FileWatcher {
    const config = { certificateFile, privateKeyFile, caCertificateFile, refreshIntervalMs: FILE_REFRESH_MS };
    const watchedDirectories = directories.filter((path) => path !== undefined);
    const name = `certificate file ${certificateFile ?? caCertificateFile ?? ''}`;
    return this.#own(
      JSON.stringify([config, watchedDirectories]),
      () => new FileWatcher(config, { ...this.#watching(), name, watchedDirectories }),
    );
  }

  #watching(): { readonly clock: Clock; readonly log: Logger } {
    return { clock: this.#options.clock, log: this.#options.log };
  }

  #own(key: string, make: () => FileWatcher): FileWatcher {
    const known = this.#watchers.get(key);
    if (known !== undefined) return known;
    const watcher = make();
    this.#watchers.set(key, watcher);
    if (this.#closed) watcher.close();
    return watcher;
  }
}

function unknownProvider(instance: string): Refusal {
  return `certificate provider "${instance}" is not in the bootstrap's certificate_providers`;
}
