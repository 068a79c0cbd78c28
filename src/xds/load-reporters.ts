/** The load reporters of a client, one for each control plane that sent a cluster with `lrs_server`. */
import type { ServerDescription } from '../config/resource.ts';
import type { LoadShare } from '../core/load.ts';
import type { FeedConfig } from './feed.ts';
import { LoadReporter } from './load-reporter.ts';
import type { LoadReporterOptions } from './load-reporter.ts';

export class LoadReporters {
  readonly #options: Omit<LoadReporterOptions, 'uri' | 'transport'>;
  readonly #reporters = new Map<string, LoadReporter>();

  constructor(options: Omit<LoadReporterOptions, 'uri' | 'transport'>) {
    this.#options = options;
  }

  /** Undefined where the server has no such service: files and REST. */
  open(feed: FeedConfig | undefined, cluster: string, service: string): LoadShare | undefined {
    if (feed?.grpc !== true) return undefined;
    let reporter = this.#reporters.get(feed.id);
    if (reporter === undefined) {
      reporter = new LoadReporter({ ...this.#options, uri: feed.traits.uri, transport: feed.transport });
      this.#reporters.set(feed.id, reporter);
    }
    return reporter.open(cluster, service);
  }

  describe(): readonly ServerDescription[] {
    return Array.from(this.#reporters.values(), (reporter) => reporter.describe());
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#reporters.values(), (reporter) => reporter.close()));
  }
}
