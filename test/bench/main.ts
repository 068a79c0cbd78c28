/** `npm run --silent bench -- NAME [--json] [--quick]`: runs one bench (or `all`) and prints its rows; with `--json` the last line is one object. */
import { parseArgs } from 'node:util';
import type { BenchOptions, BenchRow } from './report.ts';

type Bench = (options: BenchOptions) => Promise<BenchRow[]>;

const BENCHES: Readonly<Record<string, () => Promise<readonly Bench[]>>> = {
  hop: async () => [(await import('./hop.ts')).run, (await import('./hop-grpc.ts')).run],
  'hop-server': async () => [(await import('./hop-server.ts')).run],
  import: async () => [(await import('./import.ts')).run],
  update: async () => [(await import('./update.ts')).run],
  scale: async () => [(await import('./scale.ts')).run],
  route: async () => [(await import('./route.ts')).run],
};

const number = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(4));

function table(name: string, rows: readonly BenchRow[]): string {
  const lines = rows.map((row) => {
    const bound =
      row.target === undefined
        ? 'reported'
        : `target ${row.better === 'lower' ? '<=' : '>='} ${row.target}${row.aim === undefined ? '' : `, aim ${row.aim}`}`;
    const verdict = row.target === undefined ? '' : row.holds === true ? 'holds' : row.holds === false ? 'MISSED' : 'not resolved';
    return `  ${row.name.padEnd(34)} ${number(row.value).padStart(8)} [${number(row.low)} .. ${number(row.high)}]  A/A ${number(row.control[0])}-${number(row.control[1])}  ${bound}  ${verdict}\n    ${row.metric}`;
  });
  return `${name} (node ${process.version})\n${lines.join('\n')}\n`;
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean' }, quick: { type: 'boolean' } } });
const [name] = positionals;
const chosen = name === 'all' ? Object.keys(BENCHES) : name !== undefined && name in BENCHES ? [name] : [];
if (chosen.length === 0) {
  process.stderr.write(`usage: npm run bench -- NAME [--json] [--quick]\nNAME is one of ${Object.keys(BENCHES).join(', ')}, all\n`);
  process.exit(2);
}
for (const bench of chosen) {
  const rows: BenchRow[] = [];
  const options: BenchOptions = { quick: values.quick ?? false, progress: (text) => void process.stderr.write(`${text}\n`) };
  for (const run of (await BENCHES[bench]?.()) ?? []) rows.push(...(await run(options)));
  process.stdout.write(values.json === true ? `${JSON.stringify({ bench, node: process.version, rows })}\n` : table(bench, rows));
}
process.exit(0);
