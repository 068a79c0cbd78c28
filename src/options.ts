/**
 * Options of `createMesh`: what they are, and the check that comes before anything is opened. JavaScript callers and slips of the finger
 * get an error that names the option; what the values mean is the business of `start.ts`.
 */
import type { BreakerConfig } from './config/cluster.ts';
import { DEFAULT_BREAKER } from './config/cluster.ts';
import type { Attempt } from './core/call.ts';
import type { Clock } from './core/clock.ts';
import { MeshError } from './core/errors.ts';
import type { FilterFactory, LbPolicyFactory } from './core/extension.ts';
import type { Layer } from './core/handler.ts';
import type { Logger } from './core/log.ts';
import { suggest } from './core/nearest.ts';
import type { Observer } from './core/observer.ts';
import type { Random } from './core/random.ts';
import { patternProblem } from './matching/host-patterns.ts';
import type { ControlPlaneOptions } from './control-plane-option.ts';
import { checkControlPlane } from './control-plane-option.ts';
import { PROTOCOLS } from './protocol.ts';
import type { ProtocolOption } from './protocol.ts';
import { checkRuntime } from './runtime-layers.ts';
import type { RuntimeOption } from './runtime-layers.ts';
import type { SubscribeStyle } from './subscription.ts';
import { checkRouteNames, checkStyles } from './subscription.ts';

/** Options of `createMesh`. All are optional; a string stands for `{ config: string }`. */
export interface MeshOptions {
  /** Path of a `mesh.yaml`, or of a bootstrap, gRPC's (JSON) or Envoy's (JSON or YAML). Wins over the environment. */
  readonly config?: string;
  /** A bootstrap, gRPC's or Envoy's, as an object. Wins over `config`. */
  readonly bootstrap?: object;
  /**
   * Hosts that belong to the mesh: `reviews`, `reviews:9080`, `*.svc.cluster.local`, `*`. Default: `INMESH_INCLUDE` (comma-separated), then
   * the key `include` of `mesh.yaml`, then the hosts of `mesh.yaml`. `xds:///` targets always belong.
   */
  readonly include?: readonly string[];
  /** Milliseconds that a call to an included host may wait for the first configuration; default 15 000. */
  readonly startTimeout?: number;
  /** What HTTP callers see of a failure: a real `Response` with the status a sidecar would give (default), or a thrown `MeshError`. */
  readonly onFailure?: 'response' | 'throw';
  /** The way to the control plane, beside what the bootstrap says of it: metadata, a token, keep-alive. Not used by a `mesh.yaml`. */
  readonly controlPlane?: ControlPlaneOptions;
  /**
   * How to subscribe to the control plane (docs/hosts.md), a style or several: `names` (default), `wildcard` or `routes`, and `on-demand`
   * alone or beside one of them. Default: `INMESH_SUBSCRIBE`.
   */
  readonly subscribe?: SubscribeStyle | readonly SubscribeStyle[];
  /**
   * With `routes`: names of the route configurations to ask for, best first; `%port%` (80 where the authority has none), `%host%`, and `%s`
   * for the authority. Default: `INMESH_ROUTE_NAMES`, then `['%port%']`.
   */
  readonly routeNames?: readonly string[];
  /**
   * How to speak to the control planes of a gRPC bootstrap: state of the world (`sotw`, default) or incremental (`delta`), over one stream or,
   * with `-per-type`, one for each type. Default: `INMESH_PROTOCOL`.
   */
  readonly protocol?: ProtocolOption;
  /**
   * Path of a file that keeps the last good configuration, for a start while the control plane is down; never holds private keys. Only with
   * a bootstrap. Default: `INMESH_LAST_GOOD`, else none is kept.
   */
  readonly lastGood?: string;
  /**
   * Layers of the runtime, later ones win: names of layers to ask the control plane for (RTDS), and values by key. Routes whose
   * `runtime_fraction` names a key go by them. Default: the layers of an Envoy bootstrap, else none.
   */
  readonly runtime?: RuntimeOption;
  /** True: the same as `subscribe: 'wildcard'`; default false. */
  readonly wildcard?: boolean;
  /** Read `mesh.yaml` again when it changes; default true. */
  readonly watch?: boolean;
  /** opossum breakers by cluster name, beside those of `mesh.yaml`; what is left out has the defaults of `breaker` there. */
  readonly breakers?: Readonly<Record<string, Partial<BreakerConfig>>>;
  /** HTTP filters of your own, beside those of inmesh; see `inmesh/extend`. */
  readonly filters?: readonly FilterFactory<unknown>[];
  /** LB policies of your own, found by their type URL in a cluster's `load_balancing_policy`. */
  readonly lbPolicies?: readonly LbPolicyFactory<unknown>[];
  /** Layers around every attempt, after its endpoint is chosen; outermost first. */
  readonly attemptLayers?: readonly Layer<Attempt>[];
  /** Told of the start and the end of every call and attempt. */
  readonly observers?: readonly Observer[];
  /** Where messages go; default: warnings and errors to standard error. Nothing is logged per request. */
  readonly logger?: Logger;
  /** For tests: time. */
  readonly clock?: Clock;
  /** For tests: chance. */
  readonly random?: Random;
}

type Check = (value: unknown, name: string) => void;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** As it would be written; long ones are cut. */
function shown(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function wrong(name: string, must: string, value: unknown, cure: string): MeshError {
  return new MeshError('ERR_MESH_OPTION', `${name} must be ${must}, not ${shown(value)}`, { cure });
}

function unknownKey(what: string, key: string, known: readonly string[]): MeshError {
  return new MeshError('ERR_MESH_OPTION', `${what} "${key}" does not exist`, { cure: suggest(key, known, 'Known') });
}

const path: Check = (value, name) => {
  if (typeof value !== 'string' || value === '')
    throw wrong(name, 'a path', value, 'Give the path of a mesh.yaml, or of a bootstrap (.json)');
};

const filePath: Check = (value, name) => {
  if (typeof value !== 'string' || value === '') throw wrong(name, 'a path', value, 'Give the path of a file that this process may write');
};

const bool: Check = (value, name) => {
  if (typeof value !== 'boolean') throw wrong(name, 'true or false', value, 'Leave it out for its default');
};

const millis: Check = (value, name) => {
  if (typeof value !== 'number' || !(value >= 0)) throw wrong(name, 'a number of milliseconds', value, 'Give 0 or more, e.g. 15000');
};

const oneOf =
  (...allowed: readonly string[]): Check =>
  (value, name) => {
    const list = allowed.map((item) => `'${item}'`).join(' or ');
    if (!allowed.includes(value as string)) throw wrong(name, list, value, `The default is '${allowed[0] ?? ''}'`);
  };

const object: Check = (value, name) => {
  if (!isObject(value)) throw wrong(name, 'an object', value, 'See docs/reference/options.md');
};

const list: Check = (value, name) => {
  if (!Array.isArray(value)) throw wrong(name, 'an array', value, 'Put a single one in brackets: [it]');
  value.forEach((item, index) => object(item, `${name}[${index}]`));
};

/** An object of the application's own: only that the methods are there can be known. */
const having =
  (...methods: readonly string[]): Check =>
  (value, name) => {
    const missing = methods.filter((method) => typeof (value as Readonly<Record<string, unknown>> | null)?.[method] !== 'function');
    if (missing.length > 0) throw wrong(name, `an object with the methods ${methods.join(', ')}`, value, `Missing: ${missing.join(', ')}`);
  };

const patterns: Check = (value, name) => {
  const cure = `Write it like ['reviews', '*.svc.cluster.local']`;
  if (!Array.isArray(value)) throw wrong(name, 'an array of host patterns', value, cure);
  value.forEach((pattern: unknown, index) => {
    if (typeof pattern !== 'string') throw wrong(`${name}[${index}]`, 'a host pattern', pattern, cure);
    checkPattern(pattern, `${name}[${index}]`);
  });
};

const breakers: Check = (value, name) => {
  object(value, name);
  const known = Object.keys(DEFAULT_BREAKER);
  for (const [cluster, breaker] of Object.entries(value as object)) {
    const where = `${name}[${JSON.stringify(cluster)}]`;
    object(breaker, where);
    for (const [key, number] of Object.entries(breaker as object)) {
      if (!known.includes(key)) throw unknownKey(`${where}: the key`, key, known);
      if (typeof number !== 'number' || !(number >= 0) || number === Infinity)
        throw wrong(`${where}.${key}`, 'a number of 0 or more', number, `The default is ${DEFAULT_BREAKER[key as keyof BreakerConfig]}`);
    }
  }
};

const CHECKS: Readonly<Record<keyof MeshOptions, Check>> = {
  config: path,
  bootstrap: object,
  include: patterns,
  startTimeout: millis,
  onFailure: oneOf('response', 'throw'),
  controlPlane: checkControlPlane,
  subscribe: checkStyles,
  routeNames: checkRouteNames,
  protocol: oneOf(...PROTOCOLS),
  lastGood: filePath,
  runtime: checkRuntime,
  wildcard: bool,
  watch: bool,
  breakers,
  filters: list,
  lbPolicies: list,
  attemptLayers: list,
  observers: list,
  logger: having('debug', 'info', 'warn', 'error'),
  clock: having('now', 'wallTime', 'set', 'clear'),
  random: having('next'),
};

function checkPattern(pattern: string, where: string): void {
  const problem = patternProblem(pattern);
  if (problem !== undefined)
    throw new MeshError('ERR_MESH_OPTION', `${where} "${pattern}" ${problem}`, {
      cure: 'Write a host with or without a port, e.g. reviews:9080, or a pattern such as *.svc.cluster.local',
    });
}

/** `options` as `MeshOptions`; a key with the value undefined counts as absent. Throws `ERR_MESH_OPTION`, which names the option and a cure. */
export function checkOptions(options: unknown): MeshOptions {
  if (typeof options === 'string') {
    path(options, 'the argument of createMesh');
    return { config: options };
  }
  if (!isObject(options))
    throw wrong('the argument of createMesh', 'a path or an object of options', options, 'Leave it out to use the environment');
  const known = Object.keys(CHECKS) as (keyof MeshOptions)[];
  for (const [key, value] of Object.entries(options)) {
    const name = known.find((candidate) => candidate === key);
    if (name === undefined) throw unknownKey('the option', key, known);
    if (value !== undefined) CHECKS[name](value, `the option ${name}`);
  }
  return options;
}

/** The patterns of `INMESH_INCLUDE`, a list with commas; undefined when it is not set. Throws `ERR_MESH_OPTION`. */
export function includeFromEnvironment(text: string | undefined): readonly string[] | undefined {
  if (text === undefined || text === '') return undefined;
  const found = text.split(',').map((pattern) => pattern.trim());
  // A comma too many is nobody's wrong host.
  const given = found.filter((pattern) => pattern !== '');
  for (const pattern of given) checkPattern(pattern, 'INMESH_INCLUDE:');
  return given;
}
