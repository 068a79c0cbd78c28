/**
 * Bench `route`: CPU time of one match in tables of 5 000 routes, by kind of route and its place. Every block matches strings that
 * nobody has hashed before, in random order with its own A/A twin, over several launches (performance.md §7.2).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { RouteEntryConfig } from '../../src/config/routes.ts';
import type { RequestHead } from '../../src/core/call.ts';
import { HeaderList } from '../../src/core/headers.ts';
import { RouteTable } from '../../src/routing/route-table.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { exactHeader, route, routeConfig, virtualHost } from '../unit/routing/builders.ts';
import type { BenchOptions, BenchRow } from './report.ts';
import { benchRow, estimate, median, ratioOfSums, rounded, shuffled } from './report.ts';

const ROUTES = 5000;
const TARGET_NS = 1000;
const AIM_NS = 150;
const TARGET_SPREAD = 5;
const AIM_SPREAD = 2;

interface Kind {
  readonly name: string;
  readonly route: (index: number) => RouteEntryConfig;
  readonly path: (index: number) => string;
  readonly header?: (index: number) => string;
  /** Matches in one block. */
  readonly block: number;
  /** No target: only reported. */
  readonly reported?: boolean;
}

const KINDS: readonly Kind[] = [
  {
    name: 'exact',
    block: 4000,
    route: (i) => route({ name: `r${i}`, match: { path: { kind: 'exact', value: `/svc-${i}/list`, caseSensitive: true } } }),
    path: (i) => `/svc-${i}/list?page=2`,
  },
  {
    name: 'prefix',
    block: 4000,
    route: (i) => route({ name: `r${i}`, match: { path: { kind: 'prefix', value: `/svc-${i}/`, caseSensitive: true } } }),
    path: (i) => `/svc-${i}/items/42?page=2`,
  },
  {
    name: 'header',
    block: 4000,
    route: (i) => route({ name: `r${i}`, match: { headers: [exactHeader('x-tenant', `tenant-${i}`)] } }),
    path: () => '/items/42?page=2',
    header: (i) => `tenant-${i}`,
  },
  {
    name: 'literal regex',
    block: 4000,
    route: (i) => route({ name: `r${i}`, match: { path: { kind: 'regex', value: `/svc-${i}/[^/]+/items/[0-9]+` } } }),
    path: (i) => `/svc-${i}/users/items/42?page=2`,
  },
  {
    name: 'regex without literal',
    block: 8,
    reported: true,
    route: (i) => route({ name: `r${i}`, match: { path: { kind: 'regex', value: `.*/svc-${i}/[^/]*/items/.*` } } }),
    path: (i) => `/a/svc-${i}/users/items/42?page=2`,
  },
];

const PLACES = [
  ['best', 0],
  ['median', ROUTES / 2 - 1],
  ['worst', ROUTES - 1],
] as const;

/** Nanoseconds per match: variant → one figure per round. */
type Samples = Record<string, number[]>;

/** A copy that shares neither the hash nor the place in the string table with its source. */
const fresh = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');

class Variant {
  readonly id: string;
  readonly #kind: Kind;
  readonly #index: number;
  readonly #table: RouteTable<string>;
  readonly #random = new SeededRandom(1);

  constructor(id: string, kind: Kind, index: number, table: RouteTable<string>) {
    this.id = id;
    this.#kind = kind;
    this.#index = index;
    this.#table = table;
  }

  #head(): RequestHead {
    const headers: [string, string][] = [
      ['accept', '*/*'],
      ['user-agent', 'bench'],
      ['x-request-source', 'test'],
    ];
    if (this.#kind.header !== undefined) headers.push(['x-tenant', fresh(this.#kind.header(this.#index))]);
    return {
      protocol: 'http',
      method: 'GET',
      scheme: 'http',
      authority: fresh('shop.test'),
      path: fresh(this.#kind.path(this.#index)),
      headers: new HeaderList(headers),
    };
  }

  measure(): number {
    const calls = Array.from({ length: this.#kind.block }, () => ({ head: this.#head(), matchedLength: -1 }));
    const expected = `r${this.#index}`;
    const table = this.#table;
    let right = 0;
    // Of the process: the counter of a thread moves in steps of milliseconds here.
    const before = process.cpuUsage();
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i];
      if (call !== undefined && table.match(call, this.#random) === expected) right++;
    }
    const used = process.cpuUsage(before);
    if (right !== calls.length) throw new Error(`${this.id}: ${calls.length - right} matches went wrong`);
    return ((used.user + used.system) * 1000) / calls.length;
  }
}

/** One launch: all variants and their twins in every round, in an order of its own. */
function sample(rounds: number, seed: number): Samples {
  const variants = KINDS.flatMap((kind) => {
    const routes = Array.from({ length: ROUTES }, (_, index) => kind.route(index));
    const table = new RouteTable(
      routeConfig({ virtualHosts: [virtualHost({ domains: ['shop.test'], routes })] }),
      (where) => where.route.name,
    );
    return PLACES.flatMap(([place, index]) =>
      [`${kind.name}, ${place}`, `${kind.name}, ${place} (again)`].map((id) => new Variant(id, kind, index, table)),
    );
  });
  const random = new SeededRandom(seed);
  const samples: Samples = Object.fromEntries(variants.map(({ id }) => [id, []]));
  const warmUp = Math.ceil(rounds / 4);
  for (let round = -warmUp; round < rounds; round++) {
    for (const variant of shuffled(variants, random)) {
      const figure = variant.measure();
      if (round >= 0) samples[variant.id]?.push(figure);
    }
  }
  return samples;
}

async function launch(rounds: number, seed: number): Promise<Samples> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), '--sample', String(rounds), String(seed)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`a launch of the route bench ended with ${String(code)}`);
  return JSON.parse(output) as Samples;
}

/** One figure per launch and round, and the same of its twin. */
function rowOf(kind: Kind, place: string, all: Samples): BenchRow {
  const name = `${kind.name}, ${place}`;
  const figures = all[name] ?? [];
  const twin = all[`${name} (again)`] ?? [];
  const pairs = figures.map((a, index) => ({ a, b: twin[index] ?? a }));
  const spec = {
    name: `${ROUTES} routes, ${name}`,
    metric: 'ns CPU per match',
    ...(kind.reported === true ? {} : { target: TARGET_NS, aim: AIM_NS }),
  };
  return benchRow(spec, estimate(figures, median), estimate(pairs, ratioOfSums));
}

function spreadOf(kind: Kind, all: Samples): BenchRow {
  const best = all[`${kind.name}, best`] ?? [];
  const worst = all[`${kind.name}, worst`] ?? [];
  const again = all[`${kind.name}, best (again)`] ?? [];
  const pairs = best.map((a, index) => ({ a, b: worst[index] ?? a }));
  const control = best.map((a, index) => ({ a, b: again[index] ?? a }));
  const spec = {
    name: `${ROUTES} routes, ${kind.name}`,
    metric: 'worst place / best place',
    ...(kind.reported === true ? {} : { target: TARGET_SPREAD, aim: AIM_SPREAD }),
  };
  return benchRow(spec, estimate(pairs, ratioOfSums), estimate(control, ratioOfSums));
}

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  const launches = quick ? 3 : 5;
  const rounds = quick ? 60 : 240;
  progress(`route: ${launches} launches of ${rounds} rounds${quick ? ' (full: 5 of 240)' : ''}`);
  const all: Samples = {};
  for (let number = 1; number <= launches; number++) {
    for (const [id, figures] of Object.entries(await launch(rounds, number))) all[id] = [...(all[id] ?? []), ...figures];
    progress(`route: launch ${number} of ${launches} done`);
  }
  return KINDS.flatMap((kind) => [...PLACES.map(([place]) => rowOf(kind, place, all)), spreadOf(kind, all)]).map(rounded);
}

if (process.argv[2] === '--sample') process.stdout.write(JSON.stringify(sample(Number(process.argv[3]), Number(process.argv[4]))));
