/** The resources that the fuzzed control plane has, as texts that tests can compare: what is valid, what is broken, and their bytes. */
import type { ResourceKind } from '../../../src/config/resource.ts';
import type { AnyMessage } from '../../../src/core/extension.ts';
import { jsonToAny } from '../../../src/proto/any.ts';
import { cluster, listener, routeResource, to } from '../../support/mesh-raw.ts';

export const KINDS = ['listener', 'routes', 'cluster', 'endpoints'] as const;
export type FuzzedKind = (typeof KINDS)[number];

export const NAMES: Readonly<Record<FuzzedKind, readonly string[]>> = {
  listener: ['l0', 'l1'],
  routes: ['r0', 'r1'],
  cluster: ['c0', 'c1', 'c2'],
  endpoints: ['c0', 'c1', 'c2'],
};

/** `ok:DETAIL` is valid; `bad:DETAIL` is rejected by the decoder. */
export type Text = `ok:${string}` | `bad:${string}`;

const known = new Map<string, AnyMessage>();

export function bytesOf(kind: FuzzedKind, name: string, text: Text): AnyMessage {
  const id = `${kind} ${name} ${text}`;
  let any = known.get(id);
  if (any === undefined) known.set(id, (any = jsonToAny(made(kind, name, text))));
  return any;
}

function made(kind: FuzzedKind, name: string, text: Text): unknown {
  const good = text.startsWith('ok:');
  const detail = text.slice(text.indexOf(':') + 1);
  switch (kind) {
    case 'listener':
      return listener(name, detail, good ? {} : { http_filters: [] });
    case 'routes': {
      const [first = '', ...others] = detail.split(',');
      const routes = [...others.map((other) => to(other, { prefix: `/${other}` })), to(first)];
      return routeResource(name, good ? routes : [...routes, { match: { safe_regex: { regex: '[' } }, route: { cluster: first } }]);
    }
    case 'cluster':
      return cluster(name, { connect_timeout: `${detail}s`, ...(good ? {} : { eds_cluster_config: {} }) });
    case 'endpoints':
      return {
        '@type': 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
        cluster_name: name,
        endpoints: [
          {
            locality: { zone: 'z' },
            load_balancing_weight: 1,
            lb_endpoints: [
              {
                endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: Number(detail) } } },
                ...(good ? {} : { load_balancing_weight: 0 }),
              },
            ],
          },
        ],
      };
  }
}

/** What a decoded value says, in the words of its text. */
export function textOf(kind: ResourceKind, value: unknown): string {
  const config = value as Record<string, never>;
  switch (kind) {
    case 'listener':
      return String((config['api'] as unknown as { routeConfigName: string }).routeConfigName);
    case 'routes': {
      const [host] = config['virtualHosts'] as unknown as readonly { routes: readonly { action: { cluster: { name: string } } }[] }[];
      const names = host?.routes.map(({ action }) => action.cluster.name) ?? [];
      return [names.at(-1), ...names.slice(0, -1)].join(',');
    }
    case 'cluster':
      return String(Number(config['connectTimeoutMs']) / 1000);
    default: {
      const [place] = config['localities'] as unknown as readonly { endpoints: readonly { port: number }[] }[];
      return String(place?.endpoints[0]?.port);
    }
  }
}
