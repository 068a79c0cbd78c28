/** From the connection manager's filter list and the overrides of a route to layers, in xDS order (gRFC A39, Envoy R-110). */
import type { HttpFilterConfig } from '../config/listener.ts';
import type { FilterOverrides } from '../config/routes.ts';
import type { Call } from '../core/call.ts';
import type { Deps, FilterFactory } from '../core/extension.ts';
import { failure, FAILURES } from '../core/failure.ts';
import type { Layer } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import { failureReply } from '../core/reply.ts';

export class FilterChain {
  readonly #byType = new Map<string, FilterFactory<unknown>>();
  readonly #deps: Deps;
  /** One layer per parsed config object, so that a filter's own state (a token bucket) outlives a recompiled route. */
  readonly #layers = new WeakMap<object, Layer<Call> | { readonly none: true }>();

  constructor(factories: readonly FilterFactory<unknown>[], deps: Deps) {
    for (const factory of factories) for (const typeUrl of factory.typeUrls) this.#byType.set(typeUrl, factory);
    this.#deps = deps;
  }

  /** `overrides`: most specific first (weighted cluster, route, virtual host); the first that names a filter wins whole. */
  layers(filters: readonly HttpFilterConfig[], overrides: readonly FilterOverrides[], direction: Call['direction']): Layer<Call>[] {
    const layers: Layer<Call>[] = [];
    for (const filter of filters) {
      const override = overrides.find((level) => Object.hasOwn(level, filter.name))?.[filter.name];
      const disabled = override === undefined ? filter.disabled : override.disabled;
      const reason = missingReason(filter);
      if (reason !== undefined) {
        // A route's own configuration does not stand in for the filter's (Envoy X-92).
        if (!disabled || filter.terminal) layers.push(missing(filter.name, reason));
        continue;
      }
      const factory = this.#byType.get(filter.typeUrl);
      if (factory === undefined || filter.terminal || !factory.directions.includes(direction) || disabled) continue;
      const fits = override?.typeUrl === undefined || factory.typeUrls.includes(override.typeUrl);
      const config = (fits ? override?.config : undefined) ?? filter.config;
      if (filter.metadataWriter !== undefined && factory.readsMetadata?.(config) === true) {
        layers.push(
          missing(filter.name, `filter "${filter.name}" decides by metadata, which "${filter.metadataWriter}" does not write here`),
        );
        continue;
      }
      const layer = this.#layer(factory, config);
      if (layer !== undefined) layers.push(layer);
    }
    return layers;
  }

  #layer(factory: FilterFactory<unknown>, config: unknown): Layer<Call> | undefined {
    if (typeof config !== 'object' || config === null) return factory.layer(config, this.#deps);
    const known = this.#layers.get(config);
    if (known !== undefined) return 'none' in known ? undefined : known;
    const layer = factory.layer(config, this.#deps);
    this.#layers.set(config, layer ?? { none: true });
    return layer;
  }
}

/** A discovered filter that nothing was filled in for is missing as well, whoever forgot it. */
function missingReason({ name, discovery, typeUrl, missing: reason }: HttpFilterConfig): string | undefined {
  return reason ?? (discovery !== undefined && typeUrl === '' ? `filter "${name}": its configuration is not there` : undefined);
}

/** In place of a filter whose configuration is not there (Envoy X-92), or cannot be obeyed: nothing passes. */
function missing(name: string, reason: string): Layer<Call> {
  return stepLayer(`${name} (missing)`, { enter: () => failureReply(failure(FAILURES.filterConfigMissing, reason)) });
}
