/** Two filter chains that ask for the same connections (gRPC rule 14, grpc.md §6.2: lists are expanded, low address bits masked). */
import type { FilterChainConfig, FilterChainMatchConfig } from '../../config/listener.ts';
import type { CidrConfig } from '../../config/matchers.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { parseAddress } from '../../matching/cidr.ts';

/** More than all chains of any real listener have; a bound on the time and the memory that a hostile one can take. */
const MAX_COMBINATIONS = 100_000;

function rangeKeys(ranges: readonly CidrConfig[]): readonly string[] {
  return ranges.map(({ address, prefixLength }) => {
    const bytes = parseAddress(address) ?? [];
    const mapped = bytes.length === 4 && address.includes(':'); // ::ffff:a.b.c.d
    const bits = Math.max(0, prefixLength - (mapped ? 96 : 0));
    const masked = bytes.map((byte, i) => byte & (0xff00 >> Math.max(0, Math.min(8, bits - i * 8))));
    return `${masked.join('.')}/${bits}`;
  });
}

function axes(match: FilterChainMatchConfig): readonly (readonly (string | number)[])[] {
  return [
    [match.destinationPort ?? 0],
    rangeKeys(match.prefixRanges),
    match.serverNames,
    [match.transportProtocol],
    match.applicationProtocols,
    rangeKeys(match.directSourcePrefixRanges),
    [match.sourceType],
    rangeKeys(match.sourcePrefixRanges),
    match.sourcePorts,
  ];
}

type Axes = ReturnType<typeof axes>;

const countOf = (all: Axes): number => all.reduce((product, axis) => product * Math.max(1, axis.length), 1);

function combinations(all: Axes): readonly string[] {
  let found: readonly string[] = [''];
  for (const axis of all) {
    if (axis.length === 0) found = found.map((key) => `${key}|`);
    else found = found.flatMap((key) => axis.map((value) => `${key}|${value}`));
  }
  return found;
}

export function checkDuplicateChains(chains: readonly FilterChainConfig[]): void {
  const seen = new Map<string, number>();
  let count = 0;
  for (const [i, chain] of chains.entries()) {
    const all = axes(chain.match);
    // Before they are made: two long lists would not fit into memory.
    count += countOf(all);
    if (count > MAX_COMBINATIONS)
      throw new ConfigProblem('', `the lists of filter_chain_match make more than ${MAX_COMBINATIONS} combinations`);
    for (const key of new Set(combinations(all))) {
      const other = seen.get(key);
      if (other !== undefined)
        throw new ConfigProblem(`filter_chains[${i}].filter_chain_match`, `matches the same connections as filter_chains[${other}]`);
      seen.set(key, i);
    }
  }
}
