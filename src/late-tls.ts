/** TLS contexts made on first need: what watches certificate files is loaded only by processes whose configuration asks for TLS. */
import type { CertificateProviderConfig } from './config/bootstrap.ts';
import type { ConfigSourceConfig } from './config/config-source.ts';
import type { ResourceState } from './config/resource.ts';
import type { SecretConfig } from './config/secret.ts';
import type { DownstreamTlsConfig, UpstreamTlsConfig } from './config/tls.ts';
import type { Clock } from './core/clock.ts';
import type { Logger } from './core/log.ts';
import type { ClientSecurity, ServerSecurity } from './core/tls.ts';
import { load } from './lazy.ts';
import type { TlsSupply } from './mesh.ts';

export interface LateTlsOptions {
  readonly providers: Readonly<Record<string, CertificateProviderConfig>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** State of a Secret; absent where there is no SDS. */
  readonly secret?: (name: string, source: ConfigSourceConfig | undefined) => ResourceState<SecretConfig>;
}

export class LateTls implements TlsSupply {
  readonly #options: LateTlsOptions;
  #contexts: TlsSupply | undefined;

  constructor(options: LateTlsOptions) {
    this.#options = options;
  }

  client(config: UpstreamTlsConfig): ClientSecurity {
    return this.#made().client(config);
  }

  server(config: DownstreamTlsConfig): ServerSecurity {
    return this.#made().server(config);
  }

  refresh(): void {
    this.#contexts?.refresh?.();
  }

  async close(): Promise<void> {
    await this.#contexts?.close();
  }

  #made(): TlsSupply {
    const { TlsContexts } = load('./security/tls-context');
    return (this.#contexts ??= new TlsContexts(this.#options));
  }
}
