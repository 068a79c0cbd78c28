/** Envoy resources as JSON, with the fields that a test is about; `meshFile` puts them under `resources:` of a `mesh.yaml` (JSON is YAML). */

type Json = Readonly<Record<string, unknown>>;

const TYPE = 'type.googleapis.com/';
export const ROUTER: Json = { name: 'router', typed_config: { '@type': `${TYPE}envoy.extensions.filters.http.router.v3.Router` } };
export const RBAC = `${TYPE}envoy.extensions.filters.http.rbac.v3.RBAC`;
export const RBAC_PER_ROUTE = `${TYPE}envoy.extensions.filters.http.rbac.v3.RBACPerRoute`;

export function hcm(change: Json): Json {
  return {
    '@type': `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'x',
    http_filters: [ROUTER],
    ...change,
  };
}

/** A client listener; `routes` is a whole RouteConfiguration or the name of one. */
export function listener(name: string, routes: Json | string, change: Json = {}): Json {
  const source =
    typeof routes === 'string'
      ? { rds: { route_config_name: routes, config_source: { ads: {}, resource_api_version: 'V3' } } }
      : { route_config: routes };
  return { '@type': `${TYPE}envoy.config.listener.v3.Listener`, name, api_listener: { api_listener: hcm({ ...source, ...change }) } };
}

/** A server listener on 127.0.0.1 as the development control plane names them. */
export function serverListener(
  port: number,
  change: { readonly hcm?: Json; readonly chain?: Json; readonly routes?: readonly Json[] } = {},
): Json {
  const routes = change.routes ?? [{ match: { prefix: '/' }, non_forwarding_action: {} }];
  const manager = hcm({ route_config: routeConfig('in', routes), ...change.hcm });
  return {
    '@type': `${TYPE}envoy.config.listener.v3.Listener`,
    name: `inbound/127.0.0.1:${port}`,
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: manager }], ...change.chain }],
  };
}

export function routeConfig(name: string, routes: readonly Json[], change: Json = {}): Json {
  return { name, virtual_hosts: [{ name: 'all', domains: ['*'], routes, ...change }] };
}

export function routeResource(name: string, routes: readonly Json[]): Json {
  return { '@type': `${TYPE}envoy.config.route.v3.RouteConfiguration`, ...routeConfig(name, routes) };
}

export function cluster(name: string, change: Json = {}): Json {
  return {
    '@type': `${TYPE}envoy.config.cluster.v3.Cluster`,
    name,
    type: 'EDS',
    eds_cluster_config: { eds_config: { ads: {}, resource_api_version: 'V3' } },
    lb_policy: 'ROUND_ROBIN',
    connect_timeout: '1s',
    ...change,
  };
}

export const HTTP2: Json = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

export function endpoints(name: string, ...ports: readonly number[]): Json {
  const lb = ports.map((port) => ({ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }));
  return {
    '@type': `${TYPE}envoy.config.endpoint.v3.ClusterLoadAssignment`,
    cluster_name: name,
    endpoints: [{ locality: { zone: 'z' }, load_balancing_weight: 1, lb_endpoints: lb }],
  };
}

export const to = (name: string, match: Json = { prefix: '/' }, change: Json = {}): Json => ({
  match,
  route: { cluster: name, ...change },
});

export function meshFile(resources: readonly Json[], rest = ''): string {
  return `version: 1\n${rest}resources: ${JSON.stringify(resources)}\n`;
}
