/**
 * TLS of clusters and filter chains from their configuration (UpstreamTlsContext, DownstreamTlsContext; gRFC A29, Envoy T-1 to T-7).
 * A configuration that would verify less than it says gets no context at all: its calls fail, nothing goes in the clear.
 */
import { createHash } from 'node:crypto';
import type { CommonTlsConfig, DownstreamTlsConfig, UpstreamTlsConfig } from '../config/tls.ts';
import type { Closable } from '../core/scope.ts';
import type { ClientSecurity, ServerSecurity } from '../core/tls.ts';
import { ClientTls } from './client-security.ts';
import { SecureMaterial } from './secure-material.ts';
import type { SecureMaterialOptions } from './secure-material.ts';
import { ServerTls } from './server-security.ts';
import { TlsSources } from './tls-sources.ts';
import type { TlsSourcesOptions } from './tls-sources.ts';

type Roots = SecureMaterialOptions['roots'];

interface SecretsOfConfig {
  readonly secrets: SecureMaterial;
  readonly roots: Roots;
}

export class TlsContexts implements Closable {
  readonly #options: TlsSourcesOptions;
  readonly #sources: TlsSources;
  readonly #byObject = new WeakMap<object, ClientSecurity | ServerSecurity>();
  /** By hash of the configuration, since it may hold private keys. Weak, so that what no cluster or chain uses any more can go. */
  readonly #byContent = new Map<string, WeakRef<ClientSecurity | ServerSecurity>>();

  constructor(options: TlsSourcesOptions) {
    this.#options = options;
    this.#sources = new TlsSources(options);
  }

  /** Equal configurations give the same object, so that a cluster that was sent again unchanged keeps its connections. */
  client(config: UpstreamTlsConfig): ClientSecurity {
    return this.#memo('client', config, () => this.#client(config)) as ClientSecurity;
  }

  server(config: DownstreamTlsConfig): ServerSecurity {
    return this.#memo('server', config, () => this.#server(config)) as ServerSecurity;
  }

  /** Secrets may have changed. */
  refresh(): void {
    this.#sources.refresh();
  }

  close(): void {
    this.#sources.close();
  }

  #client(config: UpstreamTlsConfig): ClientSecurity {
    let refusal = '';
    if (config.roots === undefined && config.sanMatchers.length > 0) refusal = 'SAN matchers without trust anchors would verify nothing';
    if (config.roots === undefined && config.autoSniSanValidation)
      refusal = 'auto_sni_san_validation without trust anchors would verify nothing';
    const { secrets, roots } = this.#secrets(config, refusal);
    if (roots === 'none' && refusal === '')
      this.#options.log.warn('TLS without trust anchors: the certificate of the server is not verified', { sni: config.sni });
    return new ClientTls(config, secrets, roots !== 'none', this.#sources.sanMatchers(config.roots));
  }

  #server(config: DownstreamTlsConfig): ServerSecurity {
    let refusal = '';
    if (config.identity === undefined) refusal = 'a TLS server needs a certificate';
    else if (config.roots?.kind === 'system') refusal = 'clients cannot be verified against the roots of the system (gRFC A82)';
    else if (config.roots === undefined && config.requireClientCertificate)
      refusal = 'client certificates are required, but there are no trust anchors';
    else if (config.roots === undefined && config.sanMatchers.length > 0)
      refusal = 'SAN matchers without trust anchors would verify nothing';
    const { secrets, roots } = this.#secrets(config, refusal);
    return new ServerTls(config, secrets, roots !== 'none', this.#sources.sanMatchers(config.roots));
  }

  #secrets(config: CommonTlsConfig, refused: string): SecretsOfConfig {
    let refusal = refused;
    const identity = config.identity === undefined ? undefined : this.#sources.identity(config.identity);
    if (typeof identity === 'string') refusal ||= identity;
    const found = config.roots === undefined ? 'none' : this.#sources.roots(config.roots);
    const refusedRoots = typeof found === 'object' && 'refusal' in found;
    if (refusedRoots) refusal ||= found.refusal;
    const roots: Roots = refusedRoots ? 'system' : found;
    const secrets = this.#material(config, { identity: typeof identity === 'string' ? undefined : identity, roots, refusal });
    return { secrets, roots };
  }

  #material(
    parameters: SecureMaterialOptions['parameters'],
    rest: Pick<SecureMaterialOptions, 'identity' | 'roots' | 'refusal'>,
  ): SecureMaterial {
    const { clock, log } = this.#options;
    return new SecureMaterial({ clock, log, parameters, ...rest });
  }

  #memo(side: string, config: object, make: () => ClientSecurity | ServerSecurity): ClientSecurity | ServerSecurity {
    const same = this.#byObject.get(config);
    if (same !== undefined) return same;
    const key = `${side} ${createHash('sha256').update(JSON.stringify(config)).digest('base64')}`;
    let security = this.#byContent.get(key)?.deref();
    if (security === undefined) {
      for (const [old, reference] of this.#byContent) if (reference.deref() === undefined) this.#byContent.delete(old);
      security = make();
      this.#byContent.set(key, new WeakRef(security));
    }
    this.#byObject.set(config, security);
    return security;
  }
}
