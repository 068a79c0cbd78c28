/** `inmesh xds check`: resource files, bootstraps and config dumps through the decoders of the xDS client, for the CI of people who write control planes. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { MeshError } from '../../core/errors.ts';
import { suggest } from '../../core/nearest.ts';
import { TYPE_URLS } from '../../config/resource.ts';
import type { CheckedResource } from '../../sources/resource-files/check.ts';
import type { Command, Terminal } from '../command.ts';
import { UsageProblem } from '../command.ts';

interface Rejection {
  readonly file: string;
  readonly type: string;
  readonly name: string;
  readonly field: string;
  readonly reason: string;
}

interface Report {
  readonly files: number;
  resources: number;
  accepted: number;
  /** Files and resources, each once however many reasons it has. */
  refused: number;
  readonly rejected: Rejection[];
  readonly unsupported: Map<string, number>;
}

/** Short names of types: `Cluster`, `ClusterLoadAssignment`. */
const TYPES = new Map(Object.values(TYPE_URLS).map((url) => [shortType(url), url]));

export const xdsCheck: Command = {
  name: 'xds check',
  summary: 'Checks files of Envoy resources, bootstraps and config dumps as the xDS client would.',
  usage: 'FILE... [--unsupported] [--json] [--type TYPE]',
  options: [
    ['--unsupported', 'also the fields that are set and have no effect here'],
    ['--json', 'one JSON object instead of lines'],
    ['--quiet', 'only what is rejected, and the summary'],
    ['--type TYPE', 'type of resources that do not say theirs, e.g. Cluster or Listener'],
  ],
  example: 'npx inmesh xds check clusters.yaml envoy.yaml config_dump.json --unsupported',
  async run(args, terminal) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { unsupported: { type: 'boolean' }, json: { type: 'boolean' }, quiet: { type: 'boolean' }, type: { type: 'string' } },
    });
    if (positionals.length === 0) throw new UsageProblem('no file is named');
    const typeUrl = typeOf(values.type);
    const report: Report = { files: positionals.length, resources: 0, accepted: 0, refused: 0, rejected: [], unsupported: new Map() };
    const lines = values.json !== true && values.quiet !== true;
    for (const file of positionals) await checkFile(file, typeUrl, report, (line) => void (lines && terminal.out(line)));
    if (values.json === true) terminal.out(`${JSON.stringify(asJson(report), undefined, 2)}\n`);
    else summarize(report, values.unsupported === true, terminal);
    return report.rejected.length === 0 ? 0 : 1;
  },
};

function typeOf(given: string | undefined): string | undefined {
  if (given === undefined) return undefined;
  const found = TYPES.get(shortType(given));
  if (found === undefined)
    throw new UsageProblem(`--type ${given} is no resource type. ${suggest(shortType(given), [...TYPES.keys()], 'Known')}`);
  return found;
}

async function checkFile(file: string, typeUrl: string | undefined, report: Report, say: (line: string) => void): Promise<void> {
  const [{ readDocuments }, { checkResource }, { checkBootstrap }] = await Promise.all([
    import('../../sources/resource-files/documents.ts'),
    import('../../sources/resource-files/check.ts'),
    import('../../sources/resource-files/bootstraps.ts'),
  ]);
  const refuse = (rejection: Omit<Rejection, 'file'>): void => {
    report.rejected.push({ file, ...rejection });
    const what = [rejection.type, rejection.name].filter((part) => part !== '').join(' ');
    say(`${file}: rejected ${what === '' ? 'file' : what}: ${rejection.field === '' ? '' : `${rejection.field}: `}${rejection.reason}\n`);
  };
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    report.refused++;
    refuse({ type: '', name: '', field: '', reason: `cannot be read: ${error instanceof Error ? error.message : String(error)}` });
    return;
  }
  const documents = readDocuments(text, typeUrl);
  if (!documents.ok) {
    report.refused++;
    refuse({ type: '', name: '', field: '', reason: documents.problem });
    return;
  }
  const providers = new Set<string>();
  for (const bootstrap of documents.bootstraps) {
    report.resources++;
    try {
      const checked = checkBootstrap(bootstrap, file);
      for (const name of checked.providers ?? []) providers.add(name);
      for (const field of checked.unsupported) note(report, `bootstrap ${field}`);
      report.accepted++;
      say(`${file}: accepted bootstrap\n`);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      report.refused++;
      refuse({ type: 'bootstrap', name: '', field: '', reason: error.message });
    }
  }
  for (const resource of documents.resources) {
    const checked = checkResource(resource, documents.bootstraps.some(({ format }) => format === 'grpc') ? providers : undefined);
    report.resources++;
    count(checked, report);
    const { name, typeUrl: type, place } = checked;
    if (checked.problems.length === 0) {
      report.accepted++;
      say(`${file}: accepted ${shortType(type)} ${name}\n`);
    } else report.refused++;
    const shown = name === '' ? place : name;
    for (const { field, reason } of checked.problems) refuse({ type: shortType(type), name: shown, field, reason });
  }
}

function count(checked: CheckedResource, report: Report): void {
  for (const field of checked.unsupported) note(report, `${shortType(checked.typeUrl)} ${field}`);
}

function note({ unsupported }: Report, id: string): void {
  unsupported.set(id, (unsupported.get(id) ?? 0) + 1);
}

function summarize(report: Report, withUnsupported: boolean, terminal: Terminal): void {
  const fields = [...report.unsupported].toSorted(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  if (withUnsupported) for (const [field, times] of fields) terminal.out(`without effect: ${field} (${times})\n`);
  const { files, resources, accepted, refused } = report;
  terminal.out(
    `${files} ${files === 1 ? 'file' : 'files'}, ${resources} ${resources === 1 ? 'resource' : 'resources'}: ${accepted} accepted, ${refused} rejected, ${fields.length} fields without effect\n`,
  );
}

function asJson({ files, resources, accepted, rejected, unsupported }: Report): object {
  return { files, resources, accepted, rejected, unsupported: Array.from(unsupported, ([field, times]) => ({ field, count: times })) };
}

function shortType(url: string): string {
  return url.slice(Math.max(url.lastIndexOf('.'), url.lastIndexOf('/')) + 1);
}
