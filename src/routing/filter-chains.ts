/**
 * Connection → filter chain (Envoy T-9, gRFC A36): criterion after criterion in fixed order, each keeping only the chains that match it
 * best, without going back. A criterion that a chain does not set matches everything and ranks lowest, `transport_protocol` included.
 */
import type { FilterChainConfig, FilterChainMatchConfig, ListenerConfig } from '../config/listener.ts';
import type { ConnectionFacts } from '../core/engine.ts';
import type { Cidr } from '../matching/cidr.ts';
import { compileCidr, isLoopback, parseAddress } from '../matching/cidr.ts';

/** How well a chain matches one criterion: below 0 not at all, 0 because it does not set it, higher is more specific. */
type Rank = (chain: CompiledChain, facts: Facts) => number;

const NO_MATCH = -1;
const UNSET = 0;

interface CompiledChain {
  readonly config: FilterChainConfig;
  readonly match: FilterChainMatchConfig;
  readonly destination: readonly Cidr[];
  readonly directSource: readonly Cidr[];
  readonly source: readonly Cidr[];
}

interface Facts extends ConnectionFacts {
  readonly local: readonly number[] | undefined;
  readonly remote: readonly number[] | undefined;
  readonly sourceType: 'same-ip-or-loopback' | 'external';
}

function rankCidr(ranges: readonly Cidr[], address: readonly number[] | undefined): number {
  if (ranges.length === 0) return UNSET;
  let best = NO_MATCH;
  // A range of length 0 is still more specific than none.
  if (address !== undefined) for (const range of ranges) if (range.contains(address)) best = Math.max(best, range.length + 1);
  return best;
}

function rankServerName(names: readonly string[], asked: string | undefined): number {
  if (names.length === 0) return UNSET;
  if (asked === undefined || asked === '') return NO_MATCH;
  const name = asked.toLowerCase();
  let best = NO_MATCH;
  for (const pattern of names) {
    const wanted = pattern.toLowerCase();
    if (wanted === name) return Number.POSITIVE_INFINITY;
    // `*.example.com` stands for one label or more; the longest wins.
    if (wanted.startsWith('*.') && name.endsWith(wanted.slice(1)) && name.length > wanted.length - 1) best = Math.max(best, wanted.length);
  }
  return best;
}

function rankExact<T>(wanted: T | undefined, actual: T): number {
  if (wanted === undefined) return UNSET;
  return wanted === actual ? 1 : NO_MATCH;
}

/** The client's order of protocols decides. */
function rankProtocols(wanted: readonly string[], offered: readonly string[]): number {
  if (wanted.length === 0) return UNSET;
  const place = offered.findIndex((protocol) => wanted.includes(protocol));
  return place < 0 ? NO_MATCH : offered.length - place;
}

const CRITERIA: readonly Rank[] = [
  ({ match }, facts) => rankExact(match.destinationPort, facts.localPort),
  ({ destination }, facts) => rankCidr(destination, facts.local),
  ({ match }, facts) => rankServerName(match.serverNames, facts.serverName),
  ({ match }, facts) => rankExact(match.transportProtocol === '' ? undefined : match.transportProtocol, facts.transportProtocol),
  ({ match }, facts) => rankProtocols(match.applicationProtocols, facts.applicationProtocols),
  ({ directSource }, facts) => rankCidr(directSource, facts.remote),
  ({ match }, facts) => rankExact(match.sourceType === 'any' ? undefined : match.sourceType, facts.sourceType),
  ({ source }, facts) => rankCidr(source, facts.remote),
  ({ match }, facts) => (match.sourcePorts.length === 0 ? UNSET : match.sourcePorts.includes(facts.remotePort) ? 1 : NO_MATCH),
];

function sameBytes(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function factsOf(connection: ConnectionFacts): Facts {
  const local = parseAddress(connection.localAddress);
  const remote = parseAddress(connection.remoteAddress);
  const near = remote !== undefined && (isLoopback(remote) || (local !== undefined && sameBytes(local, remote)));
  return { ...connection, local, remote, sourceType: near ? 'same-ip-or-loopback' : 'external' };
}

export class FilterChainMatcher {
  readonly #chains: readonly CompiledChain[];
  readonly #fallback: FilterChainConfig | undefined;

  /** Throws `ConfigProblem` for an address range that decoding should have rejected. */
  constructor(listener: ListenerConfig) {
    this.#fallback = listener.defaultFilterChain;
    this.#chains = listener.filterChains.map((config) => ({
      config,
      match: config.match,
      destination: config.match.prefixRanges.map(compileCidr),
      directSource: config.match.directSourcePrefixRanges.map(compileCidr),
      source: config.match.sourcePrefixRanges.map(compileCidr),
    }));
  }

  /** The chain for a connection; the default chain when none matches; undefined when there is none: close without a byte. */
  match(connection: ConnectionFacts): FilterChainConfig | undefined {
    const facts = factsOf(connection);
    let left = this.#chains;
    for (const rank of CRITERIA) {
      let best = UNSET;
      let kept: CompiledChain[] = [];
      for (const chain of left) {
        const ranked = rank(chain, facts);
        if (ranked > best) {
          best = ranked;
          kept = [chain];
        } else if (ranked === best) kept.push(chain);
      }
      left = kept;
    }
    return left[0]?.config ?? this.#fallback;
  }
}
