/** Matches of `mesh.yaml` as matcher configs; shared by routes and inbound rules. */
import type { HeaderMatcherConfig, QueryParameterMatcherConfig, StringMatcherConfig } from '../../config/matchers.ts';
import type { RouteMatchConfig } from '../../config/routes.ts';
import type { MatchSpec, TextMatchSpec } from './types.ts';

const TEXT_KINDS = ['exact', 'prefix', 'suffix', 'contains', 'regex'] as const;

export function compileText(spec: string | TextMatchSpec): StringMatcherConfig | undefined {
  if (typeof spec === 'string') return { kind: 'exact', value: spec, ignoreCase: false };
  for (const kind of TEXT_KINDS) {
    const value = spec[kind];
    if (value !== undefined) return { kind, value, ignoreCase: kind !== 'regex' && spec.ignoreCase === true };
  }
  return undefined;
}

export function compileHeaders(headers: MatchSpec['headers']): readonly HeaderMatcherConfig[] {
  return [...(headers ?? [])].map(([name, spec]) => {
    const matcher = compileText(spec);
    const match: HeaderMatcherConfig['match'] =
      matcher === undefined
        ? { kind: 'present', present: typeof spec === 'string' || spec.present !== false }
        : { kind: 'string', matcher };
    return { name, match, invert: typeof spec !== 'string' && spec.not === true, treatMissingAsEmpty: false };
  });
}

export function compileMethods(methods: string | readonly string[] | undefined): readonly HeaderMatcherConfig[] {
  if (methods === undefined) return [];
  const list = typeof methods === 'string' ? [methods] : methods;
  const [first] = list;
  if (first === undefined) return [];
  // Method names are letters and dashes (checked), so that they need no escape.
  const matcher: StringMatcherConfig =
    list.length === 1 ? { kind: 'exact', value: first, ignoreCase: false } : { kind: 'regex', value: list.join('|'), ignoreCase: false };
  return [{ name: ':method', match: { kind: 'string', matcher }, invert: false, treatMissingAsEmpty: false }];
}

function compileQuery(query: MatchSpec['query']): readonly QueryParameterMatcherConfig[] {
  return [...(query ?? [])].map(([name, spec]) => {
    const matcher = compileText(spec);
    return {
      name,
      match:
        matcher === undefined
          ? { kind: 'present', present: typeof spec === 'string' || spec.present !== false }
          : { kind: 'string', matcher },
    };
  });
}

/** `grpc`: paths are `/package.Service/Method`, so `/package.Service/**` is a plain prefix, which gRPC's own xDS clients know too. */
function compilePath(path: MatchSpec['path'], grpc: boolean): RouteMatchConfig['path'] {
  if (path === undefined) return { kind: 'prefix', value: '/', caseSensitive: true };
  if (typeof path !== 'string') {
    if (path.regex !== undefined) return { kind: 'regex', value: path.regex };
    const caseSensitive = path.ignoreCase !== true;
    return path.exact === undefined
      ? { kind: 'prefix', value: path.prefix ?? '/', caseSensitive }
      : { kind: 'exact', value: path.exact, caseSensitive };
  }
  if (!path.endsWith('/**')) return { kind: 'exact', value: path, caseSensitive: true };
  const value = path.slice(0, -3);
  if (value === '') return { kind: 'prefix', value: '/', caseSensitive: true };
  return grpc ? { kind: 'prefix', value: `${value}/`, caseSensitive: true } : { kind: 'separated-prefix', value, caseSensitive: true };
}

export function compileMatch(match: MatchSpec | undefined, grpc: boolean): RouteMatchConfig {
  return {
    path: compilePath(match?.path, grpc),
    headers: [...compileMethods(match?.method), ...compileHeaders(match?.headers)],
    query: compileQuery(match?.query),
    fraction: undefined,
    grpc: false,
  };
}
