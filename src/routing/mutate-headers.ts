/** Header mutation of the four levels of a route (Envoy ), on the way in and on the reply, also on one that the mesh gives. */
import type { HeaderMutationConfig, HeaderValueConfig } from '../config/routes.ts';
import type { Call } from '../core/call.ts';
import type { Layer, Step } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import type { HeaderMap } from '../core/headers.ts';
import type { Format, FormatSubject } from '../matching/format.ts';
import { compileFormat } from '../matching/format.ts';
import type { RouteContext } from './route-table.ts';

interface Mutation {
  readonly name: string;
  readonly format: Format;
  readonly action: HeaderValueConfig['action'];
  readonly keepEmpty: boolean;
}

/** Pseudo headers and Host are changed by rewrites only. */
const isMutable = (name: string): boolean => !name.startsWith(':') && name !== 'host';

/** One level: removals, then all values from the headers as they came, then overwrites, then additions. */
class Level {
  readonly #remove: readonly string[];
  readonly #mutations: readonly Mutation[];
  /** Values of the running evaluation; undefined: nothing to do. */
  readonly #values: (string | undefined)[] = [];

  constructor(add: readonly HeaderValueConfig[], remove: readonly string[]) {
    this.#remove = remove.map((name) => name.toLowerCase()).filter(isMutable);
    this.#mutations = add
      .map(({ name, value, action, keepEmpty }) => ({ name: name.toLowerCase(), format: compileFormat(value), action, keepEmpty }))
      .filter(({ name }) => isMutable(name));
  }

  get empty(): boolean {
    return this.#remove.length === 0 && this.#mutations.length === 0;
  }

  apply(headers: HeaderMap, subject: FormatSubject): void {
    for (const name of this.#remove) headers.remove(name);
    const mutations = this.#mutations;
    for (let i = 0; i < mutations.length; i++) this.#values[i] = valueOf(mutations[i], headers, subject);
    for (let i = 0; i < mutations.length; i++) {
      const value = this.#values[i];
      const mutation = mutations[i];
      if (value !== undefined && mutation !== undefined && isOverwrite(mutation.action)) headers.set(mutation.name, value);
    }
    for (let i = 0; i < mutations.length; i++) {
      const value = this.#values[i];
      const mutation = mutations[i];
      if (value !== undefined && mutation !== undefined && !isOverwrite(mutation.action)) headers.append(mutation.name, value);
    }
  }
}

function isOverwrite(action: HeaderValueConfig['action']): boolean {
  return action === 'overwrite' || action === 'overwrite-if-exists';
}

function valueOf(mutation: Mutation | undefined, headers: HeaderMap, subject: FormatSubject): string | undefined {
  if (mutation === undefined) return undefined;
  const value = mutation.format(subject);
  if (value === '' && !mutation.keepEmpty) return undefined;
  if (mutation.action === 'add-if-absent' && headers.has(mutation.name)) return undefined;
  if (mutation.action === 'overwrite-if-exists' && !headers.has(mutation.name)) return undefined;
  return value;
}

/** The weighted cluster's level always goes first; of the others the outermost goes last and wins, unless the reverse is asked for. */
function levelsOf(where: RouteContext): readonly HeaderMutationConfig[] {
  const outward = [where.route.headers, where.virtualHost.headers, where.routeConfig.headers];
  if (where.routeConfig.mostSpecificHeaderMutationsWins) outward.reverse();
  return where.weighted === undefined ? outward : [where.weighted.headers, ...outward];
}

/** Undefined when no level changes anything. Throws `ConfigProblem` for formats that decoding should have rejected. */
export function mutateHeaders(where: RouteContext): Layer<Call> | undefined {
  const configs = levelsOf(where);
  const request = configs.map((level) => new Level(level.requestAdd, level.requestRemove)).filter((level) => !level.empty);
  const response = configs.map((level) => new Level(level.responseAdd, level.responseRemove)).filter((level) => !level.empty);
  if (request.length === 0 && response.length === 0) return undefined;
  const route = { name: where.route.name, cluster: where.clusterName, virtualHost: where.virtualHost.name };
  const enter: Step<Call>['enter'] = (call) => {
    if (request.length === 0) return undefined;
    const subject: FormatSubject = { call, reply: undefined, route };
    for (const level of request) level.apply(call.head.headers, subject);
    return undefined;
  };
  if (response.length === 0) return stepLayer('mutate-headers', { enter });
  return stepLayer<Call>('mutate-headers', {
    enter,
    leave: (call, reply) => {
      const subject: FormatSubject = { call, reply, route };
      for (const level of response) level.apply(reply.headers, subject);
    },
  });
}
