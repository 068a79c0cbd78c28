/** The resources of one source, with who answers for them: the aggregated streams of all authorities, or one config source of its own. */
import type { ConfigSourceConfig } from '../config/config-source.ts';
import type { ResourceKey } from '../config/resource.ts';
import type { Authority } from './authority.ts';
import type { XdsCache } from './cache.ts';

export class Space {
  readonly cache: XdsCache;
  /** Undefined: the aggregated streams. */
  readonly source: ConfigSourceConfig | undefined;
  /** By name; `Spaces` knows the one of old-style names. */
  readonly authorities = new Map<string, Authority>();

  constructor(cache: XdsCache, source: ConfigSourceConfig | undefined) {
    this.cache = cache;
    this.source = source;
  }

  /** As others know them: with the source, where it is not the aggregated streams. */
  keys(keys: readonly ResourceKey[]): readonly ResourceKey[] {
    const { source } = this;
    return source === undefined ? keys : keys.map(({ kind, name }) => ({ kind, name, source }));
  }
}
