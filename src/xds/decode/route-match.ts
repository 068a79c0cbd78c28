/** RouteMatch (gRPC rules 18 to 21; Envoy §2.3). Query parameters are applied, which gRPC does not do. */
import type { RouteMatch } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import { ConfigProblem } from '../../config/resource.ts';
import type { RouteMatchConfig } from '../../config/routes.ts';
import { headerMatchers, queryParameterMatcher, regex } from './matchers.ts';
import type { Scope } from './scope.ts';
import { fraction } from './values.ts';

function pathMatch(match: RouteMatch, path: string): RouteMatchConfig['path'] {
  const specifier = match.pathSpecifier;
  const caseSensitive = match.caseSensitive ?? true;
  switch (specifier.case) {
    case 'prefix':
      return { kind: 'prefix', value: specifier.value, caseSensitive };
    case 'path':
      return { kind: 'exact', value: specifier.value, caseSensitive };
    case 'pathSeparatedPrefix':
      if (!/^[^?#]+[^?#/]$/.test(specifier.value)) {
        throw new ConfigProblem(
          `${path}.path_separated_prefix`,
          'must have two characters or more, no "?" or "#", and must not end in "/"',
        );
      }
      return { kind: 'separated-prefix', value: specifier.value, caseSensitive };
    case 'safeRegex':
      return { kind: 'regex', value: regex(specifier.value, `${path}.safe_regex`) };
    case 'pathMatchPolicy':
      throw new ConfigProblem(`${path}.path_match_policy`, 'path match extensions are not supported');
    default:
      throw new ConfigProblem(path, 'no path specifier that is known (prefix, path, path_separated_prefix or safe_regex)');
  }
}

/**
 * Undefined for a route that can never match here: CONNECT is not sent through a mesh inside the process, and without dynamic
 * metadata only inverted matchers hold.
 */
export function routeMatch(match: RouteMatch | undefined, path: string, scope: Scope): RouteMatchConfig | undefined {
  if (match === undefined) throw new ConfigProblem(path, 'a route needs a match');
  if (match.pathSpecifier.case === 'connectMatcher') {
    scope.unsupported(`${path}.connect_matcher`);
    return undefined;
  }
  const config: RouteMatchConfig = {
    path: pathMatch(match, path),
    headers: headerMatchers(match.headers, `${path}.headers`),
    query: match.queryParameters.map((matcher, i) => queryParameterMatcher(matcher, `${path}.query_parameters[${i}]`)),
    fraction:
      match.runtimeFraction === undefined
        ? undefined
        : {
            ...fraction(match.runtimeFraction.defaultValue, `${path}.runtime_fraction.default_value`),
            ...(match.runtimeFraction.runtimeKey !== '' && { runtimeKey: match.runtimeFraction.runtimeKey }),
          },
    grpc: match.grpc !== undefined,
  };
  return match.dynamicMetadata.every((matcher) => matcher.invert) ? config : undefined;
}
