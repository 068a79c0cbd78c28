/** Runs the tables of this folder through the real parts. */
import { describe, expect, test } from 'vitest';
import type { RedirectActionConfig, RouteMatchConfig } from '../../../src/config/routes.ts';
import { NO_HEADER_MUTATION } from '../../../src/config/routes.ts';
import { OutboundCall } from '../../../src/core/call.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { LocalReply } from '../../../src/core/reply.ts';
import type { Transport } from '../../../src/core/transport.ts';
import { answer } from '../../../src/routing/answer.ts';
import { mutateHeaders } from '../../../src/routing/mutate-headers.ts';
import { rewrite } from '../../../src/routing/rewrite.ts';
import type { RouteContext } from '../../../src/routing/route-table.ts';
import { RouteTable } from '../../../src/routing/route-table.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { forward, headerValue, mutation, requestHead, route, routeConfig, virtualHost, where } from '../../unit/routing/builders.ts';
import mutations from './mutations.json' with { type: 'json' };
import paths from './paths.json' with { type: 'json' };
import redirects from './redirects.json' with { type: 'json' };
import rewrites from './rewrites.json' with { type: 'json' };
import virtualHosts from './virtual-hosts.json' with { type: 'json' };

const random = new ScriptedRandom(0);
const transport: Transport = {
  name: 'none',
  connect: () => {
    throw new Error('not connected here');
  },
};

interface PathSpec {
  readonly prefix?: string;
  readonly exact?: string;
  readonly 'separated-prefix'?: string;
  readonly regex?: string;
  readonly caseSensitive?: boolean;
}

function pathOf(spec: PathSpec): RouteMatchConfig['path'] {
  if (spec.regex !== undefined) return { kind: 'regex', value: spec.regex };
  const kind = (['prefix', 'exact', 'separated-prefix'] as const).find((key) => spec[key] !== undefined) ?? 'prefix';
  return { kind, value: spec[kind] ?? '', caseSensitive: spec.caseSensitive ?? true };
}

describe('virtual hosts', () => {
  for (const { name, hosts, asks, ignorePort } of virtualHosts.tables as unknown as {
    name: string;
    hosts: Record<string, string[]>;
    asks: Record<string, string | null>;
    ignorePort?: boolean;
  }[]) {
    const config = routeConfig({
      ignorePortInHostMatching: ignorePort ?? false,
      virtualHosts: Object.entries(hosts).map(([host, domains]) => virtualHost({ name: host, domains, routes: [route()] })),
    });
    const table = new RouteTable(config, (found) => found.virtualHost.name);
    test.each(Object.entries(asks))(`${name}: %j`, (authority, expected) => {
      const call = { head: requestHead({ authority }), matchedLength: -1 };
      expect(table.match(call, random) ?? null).toBe(expected);
      // The second answer may come from memory.
      expect(table.match(call, random) ?? null).toBe(expected);
    });
  }
});

describe('path specifiers', () => {
  for (const row of paths.rows as unknown as (PathSpec & {
    grpc?: boolean;
    headers?: Record<string, string>;
    yes: string[];
    no: string[];
  })[]) {
    const entry = route({ match: { path: pathOf(row), grpc: row.grpc ?? false } });
    const table = new RouteTable(routeConfig({ virtualHosts: [virtualHost({ routes: [entry] })] }), () => true);
    test(JSON.stringify(row), () => {
      const matches = (path: string): boolean =>
        table.match({ head: requestHead({ path }, row.headers), matchedLength: -1 }, random) ?? false;
      expect(row.yes.filter((path) => !matches(path))).toEqual([]);
      expect(row.no.filter(matches)).toEqual([]);
    });
  }
});

interface RedirectRow {
  readonly action: {
    scheme?: string;
    httpsRedirect?: boolean;
    host?: string;
    port?: number;
    stripQuery?: boolean;
    path?: { full?: string; prefix?: string; regex?: string; substitution?: string };
  };
  readonly prefix?: string;
  readonly from: string;
  readonly proto?: string;
  readonly to: string;
}

function redirectOf({ action }: RedirectRow): RedirectActionConfig {
  const { path } = action;
  let target: RedirectActionConfig['path'];
  if (path?.full !== undefined) target = { kind: 'full', value: path.full };
  else if (path?.prefix !== undefined) target = { kind: 'prefix', value: path.prefix };
  else if (path?.regex !== undefined) target = { kind: 'regex', pattern: path.regex, substitution: path.substitution ?? '' };
  return {
    kind: 'redirect',
    status: 302,
    scheme: action.scheme,
    httpsRedirect: action.httpsRedirect ?? false,
    host: action.host,
    port: action.port,
    path: target,
    stripQuery: action.stripQuery ?? false,
  };
}

describe('redirects', () => {
  test.each((redirects.rows as unknown as RedirectRow[]).map((row) => [`${row.from} -> ${row.to}`, row] as const))(
    '%s',
    async (_name, row) => {
      const url = /^(\w+):\/\/([^/]+)(.*)$/.exec(row.from);
      const entry = route({ match: { path: { kind: 'prefix', value: row.prefix ?? '/', caseSensitive: true } }, action: redirectOf(row) });
      const head = requestHead(
        { scheme: url?.[1] ?? '', authority: url?.[2] ?? '', path: url?.[3] ?? '' },
        row.proto === undefined ? {} : { 'x-forwarded-proto': row.proto },
      );
      const call = new OutboundCall(head, { replayable: true }, transport);
      const table = new RouteTable(routeConfig({ virtualHosts: [virtualHost({ routes: [entry] })] }), answer);
      const reply = await table.match(call, random)?.handle(call);
      expect(reply?.status).toBe(302);
      expect(reply?.headers.get('location')).toBe(row.to);
      expect(reply?.failure).toBeUndefined();
    },
  );
});

interface RewriteRow {
  readonly match: PathSpec;
  readonly action: {
    prefix?: string;
    regex?: [string, string];
    host?: string;
    hostHeader?: string;
    hostRegex?: [string, string];
    weightedHost?: string;
    appendXForwardedHost?: boolean;
  };
  readonly headers?: Record<string, string>;
  readonly path?: [string, string];
  readonly host?: [string, string];
  readonly extra?: Record<string, string | null>;
}

function contextOf({ match, action }: RewriteRow): { entry: ReturnType<typeof route>; weighted: RouteContext['weighted'] } {
  const { prefix, regex, host, hostHeader, hostRegex, weightedHost } = action;
  const entry = route({
    match: { path: pathOf(match) },
    action: forward({
      pathRewrite:
        prefix !== undefined
          ? { kind: 'prefix', value: prefix }
          : regex === undefined
            ? undefined
            : { kind: 'regex', pattern: regex[0], substitution: regex[1] },
      hostRewrite:
        host !== undefined
          ? { kind: 'literal', value: host }
          : hostHeader !== undefined
            ? { kind: 'header', name: hostHeader }
            : hostRegex === undefined
              ? undefined
              : { kind: 'path-regex', pattern: hostRegex[0], substitution: hostRegex[1] },
      appendXForwardedHost: action.appendXForwardedHost ?? false,
    }),
  });
  return {
    entry,
    weighted:
      weightedHost === undefined
        ? undefined
        : { name: 'c', weight: 1, headers: NO_HEADER_MUTATION, filterOverrides: {}, hostRewriteLiteral: weightedHost },
  };
}

describe('rewrites', () => {
  test.each((rewrites.rows as unknown as RewriteRow[]).map((row) => [JSON.stringify(row), row] as const))('%s', (_name, row) => {
    const { entry, weighted } = contextOf(row);
    const call = new OutboundCall(
      requestHead({ path: row.path?.[0] ?? '/', authority: row.host?.[0] ?? 'shop.test' }, row.headers),
      { replayable: true },
      transport,
    );
    const table = new RouteTable(routeConfig({ virtualHosts: [virtualHost({ routes: [entry] })] }), () => true);
    expect(table.match(call, random)).toBe(true);
    const layer = rewrite(where(entry, { weighted }));
    expect(layer?.step?.enter(call)).toBeUndefined();
    expect(call.head.path).toBe(row.path?.[1] ?? '/');
    expect(call.head.authority).toBe(row.host?.[1] ?? 'shop.test');
    for (const [name, value] of Object.entries(row.extra ?? {})) expect(call.head.headers.get(name) ?? null, name).toBe(value);
  });
});

type Change =
  | { add?: [string, string, ('append' | 'add-if-absent' | 'overwrite' | 'overwrite-if-exists')?, boolean?][]; remove?: string[] }
  | undefined;

interface MutationRow {
  readonly name: string;
  readonly weighted?: Change;
  readonly route?: Change;
  readonly virtualHost?: Change;
  readonly routeConfig?: Change;
  readonly mostSpecificWins?: boolean;
  readonly before: [string, string][];
  readonly after: [string, string][];
}

describe('header mutation', () => {
  const rows = mutations.rows as unknown as MutationRow[];
  const layerOf = (row: MutationRow, side: 'request' | 'response') => {
    const level = (change: Change) => {
      const add = (change?.add ?? []).map(([name, value, action, keepEmpty]) => headerValue(name, value, action, keepEmpty));
      return mutation(
        side === 'request'
          ? { requestAdd: add, requestRemove: change?.remove ?? [] }
          : { responseAdd: add, responseRemove: change?.remove ?? [] },
      );
    };
    const entry = route({ headers: level(row.route) });
    const host = virtualHost({ routes: [entry], headers: level(row.virtualHost) });
    const config = routeConfig({
      virtualHosts: [host],
      headers: level(row.routeConfig),
      mostSpecificHeaderMutationsWins: row.mostSpecificWins ?? false,
    });
    const weighted =
      row.weighted === undefined
        ? undefined
        : { name: 'c', weight: 1, headers: level(row.weighted), filterOverrides: {}, hostRewriteLiteral: undefined };
    return mutateHeaders({ routeConfig: config, virtualHost: host, route: entry, weighted, clusterName: 'c' });
  };

  test.each(rows.map((row) => [row.name, row] as const))('request: %s', (_name, row) => {
    const head = { ...requestHead(), headers: new HeaderList(row.before) };
    const call = new OutboundCall(head, { replayable: true }, transport);
    layerOf(row, 'request')?.step?.enter(call);
    expect([...call.head.headers.entries()]).toEqual(row.after);
  });

  test.each(rows.map((row) => [row.name, row] as const))('reply: %s', (_name, row) => {
    const call = new OutboundCall(requestHead(), { replayable: true }, transport);
    const reply = new LocalReply(200, new HeaderList(row.before), '');
    const layer = layerOf(row, 'response');
    layer?.step?.enter(call);
    layer?.step?.leave?.(call, reply);
    expect([...reply.headers.entries()]).toEqual(row.after);
    expect([...call.head.headers.entries()]).toEqual([]);
  });

  test('no mutation, no layer', () => {
    expect(mutateHeaders(where(route()))).toBeUndefined();
    expect(rewrite(where(route()))).toBeUndefined();
  });
});
