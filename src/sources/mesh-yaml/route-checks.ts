/** Checks of the routes of one service: targets exist, weights sum up, patterns can be compiled, keys fit together. */
import { ConfigProblem } from '../../config/resource.ts';
import { compileRegex } from '../../matching/regex.ts';
import { suggest } from './nearest.ts';
import type { Reader } from './reader.ts';
import { isAuthority } from './scalars.ts';
import type { DestinationSpec, Labels, MatchSpec, PathSpec, RetriesSpec, RouteSpec, ServiceSpec, TextMatchSpec } from './types.ts';

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const PSEUDO_HEADERS = new Set([':authority', ':method', ':path', ':scheme']);
/** RouteConfiguration.max_direct_response_body_size_bytes. */
const MAX_BODY = 4096;

export class RouteChecks {
  readonly #reader: Reader;
  readonly #services: ReadonlyMap<string, ServiceSpec>;

  constructor(reader: Reader, services: ReadonlyMap<string, ServiceSpec>) {
    this.#reader = reader;
    this.#services = services;
  }

  check(name: string, service: ServiceSpec): void {
    const path = `services.${name}`;
    this.#retries(service.retries, `${path}.retries`);
    service.routes?.forEach((route, index) => this.#route(name, route, `${path}.routes[${index}]`));
  }

  static path(reader: Reader, pattern: string, path: string): void {
    const body = pattern.endsWith('/**') ? pattern.slice(0, -3) : pattern;
    if (body.includes('*'))
      reader.at(path, `"${pattern}" has a * where none may stand`, 'Use /x for one path, /x/** for all below, or { regex: ... }.');
    else if (/[?#]/.test(body))
      reader.at(path, `"${pattern}" has a query or fragment`, 'Match the path only; use the key query for parameters.');
    else if (body.endsWith('/') && pattern.endsWith('/**'))
      reader.at(path, `"${pattern}" has two slashes before **`, `Write ${body.replace(/\/+$/, '')}/**.`);
  }

  static headers(reader: Reader, headers: ReadonlyMap<string, string | TextMatchSpec> | undefined, path: string): void {
    for (const [name, match] of headers ?? []) {
      if (!HEADER_NAME.test(name) && !PSEUDO_HEADERS.has(name))
        reader.at(`${path}.${name}`, `"${name}" is not a header name`, 'Header names have no spaces or colons.');
      if (typeof match !== 'string' && match.regex !== undefined) checkRegex(reader, match.regex, `${path}.${name}.regex`);
    }
  }

  #route(owner: string, route: RouteSpec, path: string): void {
    const actions = (['to', 'split', 'redirect', 'respond'] as const).filter((key) => route[key] !== undefined);
    if (actions.length > 1) {
      this.#reader.at(
        `${path}.${actions[1]}`,
        `a route does one thing, here are ${actions.join(' and ')}`,
        'Keep one of them, or make two routes.',
      );
    }
    const answers = route.redirect !== undefined || route.respond !== undefined;
    if (answers) {
      for (const key of ['timeout', 'retries', 'rewrite'] as const) {
        if (route[key] !== undefined)
          this.#reader.at(`${path}.${key}`, `${key} has no effect on a route that answers by itself`, 'Take it away.');
      }
    }
    if (route.match !== undefined) this.#match(route.match, `${path}.match`);
    if (route.to !== undefined) this.#destination(owner, route.to, `${path}.to`);
    if (route.split !== undefined) this.#split(owner, route.split, `${path}.split`);
    this.#retries(route.retries, `${path}.retries`);
    this.#rewrite(route, path);
    const body = route.respond?.body ?? '';
    if (Buffer.byteLength(body) > MAX_BODY)
      this.#reader.at(`${path}.respond.body`, `the body has more than ${MAX_BODY} bytes`, 'Make it shorter, or serve it from an endpoint.');
    this.#headers(route, path);
  }

  #match(match: MatchSpec, path: string): void {
    if (typeof match.path === 'string') RouteChecks.path(this.#reader, match.path, `${path}.path`);
    else if (match.path !== undefined) this.#pathMap(match.path, `${path}.path`);
    RouteChecks.headers(this.#reader, match.headers, `${path}.headers`);
    for (const [name, query] of match.query ?? []) {
      if (typeof query === 'string') continue;
      if (query.not !== undefined)
        this.#reader.at(
          `${path}.query.${name}.not`,
          'not is for headers only',
          'Match the parameter that is there, or use present: false.',
        );
      if (query.regex !== undefined) checkRegex(this.#reader, query.regex, `${path}.query.${name}.regex`);
    }
  }

  #pathMap(match: PathSpec, path: string): void {
    if (match.regex !== undefined) checkRegex(this.#reader, match.regex, `${path}.regex`);
    for (const key of ['exact', 'prefix'] as const) {
      if (/[?#]/.test(match[key] ?? ''))
        this.#reader.at(
          `${path}.${key}`,
          `"${match[key]}" has a query or fragment`,
          'Match the path only; use the key query for parameters.',
        );
      if (match[key]?.includes('*') === true)
        this.#reader.at(
          `${path}.${key}`,
          `"${match[key]}" is taken literally here, and has a *`,
          'Write path: /x/** instead of a map, or use regex.',
        );
    }
  }

  #split(owner: string, split: NonNullable<RouteSpec['split']>, path: string): void {
    let total = 0;
    const seen = new Set<string>();
    split.forEach((share, index) => {
      total += share.weight;
      this.#destination(owner, share, `${path}[${index}]`);
      const key = JSON.stringify([share.service ?? owner, [...(share.labels ?? [])].sort()]);
      if (seen.has(key))
        this.#reader.at(`${path}[${index}]`, 'this destination stands in the split twice', 'Add the weights up in one entry.');
      seen.add(key);
    });
    if (total === 0) this.#reader.at(path, 'all weights are 0', 'Give at least one destination a weight above 0.');
    // Envoy R-30: the sum is a uint32.
    if (total > 0xffff_ffff) this.#reader.at(path, `the weights sum up to ${total}`, 'Their sum may be at most 4294967295.');
  }

  #destination(owner: string, to: DestinationSpec, path: string): void {
    const name = to.service ?? owner;
    const service = this.#services.get(name);
    if (service === undefined) {
      this.#reader.at(`${path}.service`, `unknown service "${name}"`, suggest(name, [...this.#services.keys()], 'Services of this file'));
      return;
    }
    if (to.labels === undefined) return;
    if (to.labels.size === 0) this.#reader.at(`${path}.labels`, 'no label is given', 'Add a label, or take labels away for all endpoints.');
    for (const [label, value] of to.labels) if (!this.#label(name, service, label, value, `${path}.labels.${label}`)) return;
    if (!service.endpoints.some((endpoint) => hasLabels(endpoint.labels, to.labels ?? new Map()))) {
      const wanted = [...to.labels].map(([label, value]) => `${label}=${value}`).join(', ');
      this.#reader.at(`${path}.labels`, `no endpoint of "${name}" has all of ${wanted}`, 'Give an endpoint these labels.');
    }
  }

  #label(name: string, service: ServiceSpec, label: string, value: string, path: string): boolean {
    const labels = new Set(service.endpoints.flatMap((endpoint) => [...endpoint.labels.keys()]));
    if (!labels.has(label)) {
      this.#reader.at(
        path,
        `no endpoint of "${name}" has a label "${label}"`,
        suggest(
          label,
          [...labels],
          labels.size === 0 ? 'Give endpoints labels: { address: "127.0.0.1:9080", labels: { version: v1 } }.' : 'Their labels',
        ),
      );
      return false;
    }
    const values = new Set(service.endpoints.flatMap((endpoint) => endpoint.labels.get(label) ?? []));
    if (values.has(value)) return true;
    this.#reader.at(path, `no endpoint of "${name}" has ${label}=${value}`, suggest(value, [...values], `Values of ${label}`));
    return false;
  }

  #retries(retries: RetriesSpec | undefined, path: string): void {
    const backoff = retries?.backoff;
    if (backoff?.max !== undefined && backoff.max < (backoff.base ?? 25)) {
      this.#reader.at(`${path}.backoff.max`, 'max is shorter than base', 'max must be at least base, which is 25ms unless set.');
    }
  }

  #rewrite(route: RouteSpec, path: string): void {
    const { rewrite, redirect } = route;
    if (rewrite?.path !== undefined && rewrite.regex !== undefined)
      this.#reader.at(`${path}.rewrite.regex`, 'path and regex both rewrite the path', 'Keep one of them.');
    if (rewrite?.regex !== undefined) checkRegex(this.#reader, rewrite.regex.pattern, `${path}.rewrite.regex.pattern`);
    if (rewrite?.host !== undefined && !isAuthority(rewrite.host))
      this.#reader.at(`${path}.rewrite.host`, `"${rewrite.host}" is not a host`, 'Write a name, perhaps with a port.');
    if (redirect === undefined) return;
    if (redirect.path !== undefined && redirect.prefix !== undefined)
      this.#reader.at(`${path}.redirect.prefix`, 'path and prefix both change the path', 'Keep one of them.');
    if (redirect.host !== undefined && !isAuthority(redirect.host))
      this.#reader.at(`${path}.redirect.host`, `"${redirect.host}" is not a host`, 'Write a name without a scheme.');
    const changes = (['scheme', 'host', 'port', 'path', 'prefix'] as const).some((key) => redirect[key] !== undefined);
    if (!changes) this.#reader.at(`${path}.redirect`, 'the redirect leads back to the same URL', 'Add scheme, host, port, path or prefix.');
  }

  #headers(route: RouteSpec, path: string): void {
    for (const side of ['request', 'response'] as const) {
      for (const kind of ['set', 'add'] as const) {
        for (const [name, value] of route.headers?.[side]?.[kind] ?? []) {
          const where = `${path}.headers.${side}.${kind}.${name}`;
          if (!HEADER_NAME.test(name)) this.#reader.at(where, `"${name}" is not a header name`, 'Header names have no spaces or colons.');
          else if (name === 'host') this.#reader.at(where, 'the host header cannot be changed here', 'Use rewrite: { host: ... }.');
          if (/[\r\n\0]/.test(value)) this.#reader.at(where, 'the value has a line break', 'Header values are one line.');
        }
      }
    }
  }
}

export function hasLabels(labels: Labels, wanted: Labels): boolean {
  for (const [name, value] of wanted) if (labels.get(name) !== value) return false;
  return true;
}

function checkRegex(reader: Reader, pattern: string, path: string): void {
  try {
    compileRegex(pattern);
  } catch (error) {
    const reason = error instanceof ConfigProblem ? error.reason : String(error);
    const lookaround = /\(\?<?[=!]|\\[1-9]/.test(pattern);
    reader.at(
      path,
      reason,
      lookaround ? 'RE2 has no look-around and no back-references.' : 'Escape characters such as ( [ { with a backslash.',
    );
  }
}
