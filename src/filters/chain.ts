/** From the connection manager's filter list and the overrides of a route to layers, in xDS order (gRFC A39, Envoy R-110). */
import type { HttpFilterConfig } from '../config/listener.ts';
import type { FilterOverrides } from '../config/routes.ts';
import type { Call } from '../core/call.ts';
import type { Deps, FilterFactory } from '../core/extension.ts';
import type { Layer } from '../core/handler.ts';

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
      const factory = this.#byType.get(filter.typeUrl);
      if (factory === undefined || filter.terminal || !factory.directions.includes(direction)) continue;
      const override = overrides.find((level) => Object.hasOwn(level, filter.name))?.[filter.name];
      if (override === undefined ? filter.disabled : override.disabled) continue;
      const layer = this.#layer(factory, override?.config ?? filter.config);
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
