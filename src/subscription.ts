/**
 * How a mesh subscribes to its control plane: where listeners come from, and whether clusters are asked for before they are called. From
 * the options and the environment to one decision; docs/hosts.md says what each style means. Who acts on it: `start.ts`, `roots.ts`.
 */
import { MeshError } from './core/errors.ts';
import { suggest } from './core/nearest.ts';

/**
 * `names`: client listeners by the name of the host (gRPC). `wildcard`: all listeners and clusters (Envoy's sidecar view). `routes`: route
 * configurations by name, no listeners (how plain HTTP clients use istiod's sidecar feed). `on-demand`, alone or with one of those:
 * clusters are asked for when a call first chooses them, not when a route names them.
 */
export type SubscribeStyle = 'names' | 'wildcard' | 'routes' | 'on-demand';

export interface Subscription {
  readonly listeners: Exclude<SubscribeStyle, 'on-demand'>;
  readonly clustersOnDemand: boolean;
  /** Templates of the names of route configurations, best first; used with `routes` only. */
  readonly routeNames: readonly string[];
}

/** What decides, as it was given. */
export interface SubscriptionOptions {
  readonly subscribe?: SubscribeStyle | readonly SubscribeStyle[];
  readonly wildcard?: boolean;
  readonly routeNames?: readonly string[];
}

const STYLES: readonly string[] = ['names', 'wildcard', 'routes', 'on-demand'] satisfies readonly SubscribeStyle[];
/** As istiod names the route configurations of its outbound listeners. */
const ROUTE_NAMES: readonly string[] = ['%port%'];

const isStyle = (text: string): text is SubscribeStyle => STYLES.includes(text);

function wrong(message: string, cure: string): MeshError {
  return new MeshError('ERR_MESH_OPTION', message, { cure });
}

/** Throws `ERR_MESH_OPTION`. `where` begins the message: `the option subscribe`, `INMESH_SUBSCRIBE:`. */
export function checkStyles(given: unknown, where: string): readonly SubscribeStyle[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  const styles = list.map((item) => {
    if (typeof item === 'string' && isStyle(item)) return item;
    const shown = typeof item === 'string' ? `"${item}"` : typeof item;
    throw wrong(`${where} has no style ${shown}`, suggest(typeof item === 'string' ? item : '', STYLES, 'Known'));
  });
  const exclusive = [...new Set(styles)].filter((style) => style !== 'on-demand');
  if (styles.length === 0) throw wrong(`${where} names no style`, `Known: ${STYLES.join(', ')}.`);
  if (exclusive.length > 1)
    throw wrong(
      `${where} names ${exclusive.map((style) => `'${style}'`).join(' and ')}`,
      "Only 'on-demand' goes together with another style: one of 'names', 'wildcard', 'routes'",
    );
  return styles;
}

/** Throws `ERR_MESH_OPTION`. */
export function checkRouteNames(given: unknown, where: string): readonly string[] {
  const cure = `Write it like ['%port%'], or ['%s', '%port%'] for names with the host in them`;
  if (!Array.isArray(given) || given.length === 0) throw wrong(`${where} must be a list of templates`, cure);
  return given.map((template: unknown) => {
    if (typeof template !== 'string' || template === '') throw wrong(`${where} must hold names that are not empty`, cure);
    const stray = /%\w*%?/.exec(template.replaceAll(/%(?:port%|host%|s|[\dA-Fa-f]{2})/g, ''));
    if (stray !== null) throw wrong(`${where} "${template}" has ${stray[0]}`, 'Only %port%, %host% and %s stand for something');
    return template;
  });
}

function listed(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const items = text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
  return items.length === 0 ? undefined : items;
}

/** Options win over the environment (`INMESH_SUBSCRIBE`, `INMESH_ROUTE_NAMES`, lists with commas). Throws `ERR_MESH_OPTION`. */
export function subscriptionOf(options: SubscriptionOptions, env: Readonly<Record<string, string | undefined>>): Subscription {
  const fromEnvironment = options.subscribe === undefined && options.wildcard === undefined ? listed(env['INMESH_SUBSCRIBE']) : undefined;
  const styles =
    fromEnvironment === undefined
      ? options.subscribe === undefined
        ? []
        : checkStyles(options.subscribe, 'the option subscribe')
      : checkStyles(fromEnvironment, 'INMESH_SUBSCRIBE:');
  const named = styles.find((style) => style !== 'on-demand');
  if (options.wildcard === true && named !== undefined && named !== 'wildcard')
    throw wrong(`the option wildcard is true, and subscribe says '${named}'`, 'Leave wildcard out: subscribe says it all');
  if (options.wildcard === false && named === 'wildcard')
    throw wrong(`the option wildcard is false, and subscribe says 'wildcard'`, 'Leave wildcard out: subscribe says it all');
  const routeNames = options.routeNames ?? listed(env['INMESH_ROUTE_NAMES']);
  const where = options.routeNames === undefined ? 'INMESH_ROUTE_NAMES:' : 'the option routeNames';
  return {
    listeners: named ?? (options.wildcard === true ? 'wildcard' : 'names'),
    clustersOnDemand: styles.includes('on-demand'),
    routeNames: routeNames === undefined ? ROUTE_NAMES : checkRouteNames(routeNames, where),
  };
}
