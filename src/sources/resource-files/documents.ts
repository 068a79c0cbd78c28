/**
 * Files of Envoy resources as they are found in the field (Envoy's filesystem subscription, bootstraps, `/config_dump`, lists and maps of resources):
 * text to single resources with their place. Which fields a resource may have is not looked at here.
 */
import { parseAllDocuments } from 'yaml';
import { TYPE_URLS } from '../../config/resource.ts';

export interface FoundResource {
  readonly json: Readonly<Record<string, unknown>>;
  /** Undefined: nothing says what it is. */
  readonly typeUrl: string | undefined;
  /** Where in the file, e.g. `[2].resources[0]`; empty for the whole document. */
  readonly place: string;
}

export interface FoundBootstrap {
  readonly format: 'grpc' | 'envoy';
  readonly json: Readonly<Record<string, unknown>>;
}

export type Documents =
  | {
      readonly ok: true;
      readonly resources: readonly FoundResource[];
      readonly bootstraps: readonly FoundBootstrap[];
    }
  | { readonly ok: false; readonly problem: string };

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Keys of maps from type to list, also of `static_resources`. */
const BY_KEY: Readonly<Record<string, string>> = {
  listeners: TYPE_URLS.listener,
  routes: TYPE_URLS.routes,
  route_configs: TYPE_URLS.routes,
  routeConfigs: TYPE_URLS.routes,
  scoped_routes: TYPE_URLS['scoped-routes'],
  scopedRoutes: TYPE_URLS['scoped-routes'],
  clusters: TYPE_URLS.cluster,
  endpoints: TYPE_URLS.endpoints,
  secrets: TYPE_URLS.secret,
  runtimes: TYPE_URLS.runtime,
  extension_configs: TYPE_URLS['extension-config'],
  extensionConfigs: TYPE_URLS['extension-config'],
};

/** Where the resources of a `/config_dump` stand: by the dump's type, paths of keys. */
const DUMPS: Readonly<Record<string, readonly (readonly [path: readonly string[], typeUrl: string])[]>> = {
  'envoy.admin.v3.ListenersConfigDump': [
    [['static_listeners', 'listener'], TYPE_URLS.listener],
    [['dynamic_listeners', 'active_state', 'listener'], TYPE_URLS.listener],
    [['dynamic_listeners', 'warming_state', 'listener'], TYPE_URLS.listener],
    [['dynamic_listeners', 'draining_state', 'listener'], TYPE_URLS.listener],
  ],
  'envoy.admin.v3.ClustersConfigDump': [
    [['static_clusters', 'cluster'], TYPE_URLS.cluster],
    [['dynamic_active_clusters', 'cluster'], TYPE_URLS.cluster],
    [['dynamic_warming_clusters', 'cluster'], TYPE_URLS.cluster],
  ],
  'envoy.admin.v3.RoutesConfigDump': [
    [['static_route_configs', 'route_config'], TYPE_URLS.routes],
    [['dynamic_route_configs', 'route_config'], TYPE_URLS.routes],
  ],
  'envoy.admin.v3.ScopedRoutesConfigDump': [
    [['inline_scoped_route_configs', 'scoped_route_configs'], TYPE_URLS['scoped-routes']],
    [['dynamic_scoped_route_configs', 'scoped_route_configs'], TYPE_URLS['scoped-routes']],
  ],
  'envoy.admin.v3.EndpointsConfigDump': [
    [['static_endpoint_configs', 'endpoint_config'], TYPE_URLS.endpoints],
    [['dynamic_endpoint_configs', 'endpoint_config'], TYPE_URLS.endpoints],
  ],
  'envoy.admin.v3.SecretsConfigDump': [
    [['static_secrets', 'secret'], TYPE_URLS.secret],
    [['dynamic_active_secrets', 'secret'], TYPE_URLS.secret],
    [['dynamic_warming_secrets', 'secret'], TYPE_URLS.secret],
  ],
  'envoy.admin.v3.EcdsConfigDump': [[['ecds_filters', 'ecds_filter'], TYPE_URLS['extension-config']]],
};

const camel = (name: string): string => name.replace(/_(\w)/g, (_all, letter: string) => letter.toUpperCase());

/** Reads a file; `typeUrl` is the type of resources that do not say theirs. */
export function readDocuments(text: string, typeUrl?: string): Documents {
  const documents = parseAllDocuments(text, { merge: true, uniqueKeys: false });
  const resources: FoundResource[] = [];
  const bootstraps: FoundBootstrap[] = [];
  for (const [index, document] of documents.entries()) {
    const [error] = document.errors;
    if (error !== undefined) {
      const place = error.linePos?.[0];
      const [reason = ''] = error.message.split(/ at line | *\n/);
      return { ok: false, problem: `${place === undefined ? '' : `line ${place.line}, column ${place.col}: `}not YAML or JSON: ${reason}` };
    }
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 10_000 });
    } catch (problem) {
      return { ok: false, problem: `not YAML or JSON: ${problem instanceof Error ? problem.message : String(problem)}` };
    }
    const walk = new Walk(typeUrl, resources, bootstraps);
    walk.document(value, documents.length > 1 ? `document ${index + 1}` : '');
  }
  return { ok: true, resources, bootstraps };
}

class Walk {
  readonly #typeUrl: string | undefined;
  readonly #found: FoundResource[];
  readonly #bootstraps: FoundBootstrap[];

  constructor(typeUrl: string | undefined, found: FoundResource[], bootstraps: FoundBootstrap[]) {
    this.#typeUrl = typeUrl;
    this.#found = found;
    this.#bootstraps = bootstraps;
  }

  document(value: unknown, place: string): void {
    if (Array.isArray(value)) {
      this.#list(value, place, this.#typeUrl);
      return;
    }
    // An empty document says nothing.
    if (!isObject(value)) {
      if (value !== null && value !== undefined) this.#found.push({ json: {}, typeUrl: undefined, place });
      return;
    }
    if (typeof value['@type'] === 'string' && !value['@type'].includes('envoy.admin.')) this.#resource(value, place, undefined);
    else if (Array.isArray(value['configs'])) this.#dumps(value['configs'], dotted(place, 'configs'));
    else if (typeof value['@type'] === 'string') this.#dump(value, place);
    else if (Array.isArray(value['resources']))
      this.#list(value['resources'], dotted(place, 'resources'), stringOf(value['type_url'] ?? value['typeUrl']) ?? this.#typeUrl);
    else if (value['xds_servers'] !== undefined) this.#bootstraps.push({ format: 'grpc', json: value });
    else if (isBootstrap(value)) {
      // Without dynamic_resources it is for static resources only, and inmesh would not be started with it.
      if (value['dynamic_resources'] !== undefined || value['dynamicResources'] !== undefined)
        this.#bootstraps.push({ format: 'envoy', json: value });
      this.#bootstrap(value, place);
    } else if (this.#typeUrl === undefined && Object.keys(value).some((key) => Object.hasOwn(BY_KEY, key) && Array.isArray(value[key])))
      this.#map(value, place);
    else this.#resource(value, place, this.#typeUrl);
  }

  #resource(json: Json, place: string, typeUrl: string | undefined): void {
    // A resource in the wrapper of the delta and TTL protocols, which need not say that it is one.
    const { resource } = json;
    if (isObject(resource) && (typeof resource['@type'] === 'string' || stringOf(json['@type'])?.endsWith('.Resource') === true)) {
      this.#resource(resource, dotted(place, 'resource'), typeUrl);
      return;
    }
    this.#found.push({ json, typeUrl: stringOf(json['@type']) ?? typeUrl, place });
  }

  #list(values: readonly unknown[], place: string, typeUrl: string | undefined): void {
    for (const [index, value] of values.entries()) {
      if (isObject(value)) this.#resource(value, `${place}[${index}]`, typeUrl);
      else this.#found.push({ json: {}, typeUrl: undefined, place: `${place}[${index}]` });
    }
  }

  #map(value: Json, place: string): void {
    for (const [key, typeUrl] of Object.entries(BY_KEY)) {
      const list = value[key];
      if (Array.isArray(list)) this.#list(list, dotted(place, key), typeUrl);
    }
  }

  #bootstrap(value: Json, place: string): void {
    const key = value['static_resources'] === undefined ? 'staticResources' : 'static_resources';
    const resources = value[key];
    if (!isObject(resources)) return;
    const { listeners } = resources;
    // Envoy gives listeners of a bootstrap that have no name one of its own.
    const named = Array.isArray(listeners) && {
      listeners: listeners.map((listener: unknown, index) =>
        isObject(listener) && (listener['name'] ?? '') === ''
          ? { ...listener, name: dotted(place, `${key}.listeners[${index}]`) }
          : listener,
      ),
    };
    this.#map({ ...resources, ...named }, dotted(place, key));
  }

  #dumps(dumps: readonly unknown[], place: string): void {
    for (const [index, dump] of dumps.entries()) if (isObject(dump)) this.#dump(dump, `${place}[${index}]`);
  }

  #dump(dump: Json, place: string): void {
    const typeName = (stringOf(dump['@type']) ?? '').replace(/^.*\//, '');
    if (typeName === 'envoy.admin.v3.BootstrapConfigDump' && isObject(dump['bootstrap']))
      this.#bootstrap(dump['bootstrap'], dotted(place, 'bootstrap'));
    for (const [path, typeUrl] of DUMPS[typeName] ?? []) this.#follow(dump, path, place, typeUrl);
  }

  #follow(value: unknown, path: readonly string[], place: string, typeUrl: string): void {
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) this.#follow(item, path, `${place}[${index}]`, typeUrl);
      return;
    }
    if (!isObject(value)) return;
    const [key, ...rest] = path;
    if (key === undefined) this.#resource(value, place, typeUrl);
    else this.#follow(value[key] ?? value[camel(key)], rest, dotted(place, key), typeUrl);
  }
}

function isBootstrap(value: Json): boolean {
  return ['static_resources', 'staticResources', 'dynamic_resources', 'dynamicResources'].some((key) => value[key] !== undefined);
}

const stringOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

function dotted(place: string, key: string): string {
  return place === '' ? key : `${place}.${key}`;
}
