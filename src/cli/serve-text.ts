/** What `inmesh serve` says: of its start, of reloads, refusals and load reports. */
import type { ControlPlane, Update } from '../control-plane/control-plane.ts';
import type { LoadReport } from '../control-plane/load-reports.ts';
import type { Nack } from '../control-plane/stream.ts';
import type { FileProblem } from '../sources/mesh-yaml/problem.ts';
import { printProblem } from '../sources/mesh-yaml/problem.ts';
import { summarizeChanges } from '../sources/mesh-yaml/load.ts';

export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

export function describeContent({ current, loaded }: ControlPlane): string {
  if (current === undefined) {
    const nodes = loaded.nodes.size === 0 ? '' : `; ${count(loaded.nodes.size, 'node')} with resources of their own`;
    return `${count(loaded.common.raw.length, 'resource')}${nodes}`;
  }
  const { services, inbound } = current.file;
  const hosts = [...services.values()].flatMap((service) => service.hosts);
  return `${count(services.size, 'service')} (${hosts.join(', ')}), ${count(inbound.length, 'inbound port')}`;
}

export function describeUpdate(file: string, update: Update): string {
  if (update.ok) {
    const others = update.others === undefined || update.others === 0 ? [] : [`${count(update.others, 'resource')} of other types`];
    const changes = update.changed.length === 0 && others.length > 0 ? [] : [summarizeChanges(update.changed)];
    return `reloaded ${file} in ${update.ms.toFixed(1)} ms: ${[...changes, ...others].join(', ')}\n`;
  }
  return `${file} is invalid; still serving the last good one\n${printProblems(update.text, update.errors)}`;
}

export function printProblems(text: string, problems: readonly FileProblem[]): string {
  return problems.map((problem) => printProblem(text, problem)).join('\n');
}

export function describeNack(nack: Nack): string {
  const type = nack.typeUrl.slice(nack.typeUrl.lastIndexOf('.') + 1);
  return `NACK from ${nodeName(nack.nodeId)}: ${type} version ${nack.version} refused: ${nack.message}\n`;
}

/** One line. */
export function describeLoad({ nodeId, clusters }: LoadReport): string {
  const parts = clusters.map(({ cluster, localities, dropped, intervalMs }) => {
    const sum = (key: 'issued' | 'successful' | 'errors' | 'inProgress'): number =>
      localities.reduce((total, locality) => total + locality[key], 0);
    const lost = dropped === 0 ? '' : `, ${dropped} dropped`;
    const calls = `${sum('issued')} calls, ${sum('successful')} ok, ${sum('errors')} failed, ${sum('inProgress')} in flight${lost}`;
    return `${cluster} ${calls} in ${(intervalMs / 1000).toFixed(1)} s`;
  });
  return `load from ${nodeName(nodeId)}: ${parts.length === 0 ? 'nothing' : parts.join('; ')}\n`;
}

function nodeName(nodeId: string): string {
  return nodeId === '' ? 'a client without a node id' : nodeId;
}
