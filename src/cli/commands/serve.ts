/** `inmesh serve`: the development control plane in the foreground. Says what it serves, every reload, and every refusal by a client. */
import { parseArgs } from 'node:util';
import type { ControlPlane, Update } from '../../control-plane/control-plane.ts';
import type { Nack } from '../../control-plane/stream.ts';
import { MeshError } from '../../core/errors.ts';
import type { FileProblem } from '../../sources/mesh-yaml/problem.ts';
import { printProblem } from '../../sources/mesh-yaml/problem.ts';
import { summarizeChanges } from '../../sources/mesh-yaml/load.ts';
import type { Command, Terminal } from '../command.ts';
import { UsageProblem } from '../command.ts';

const DEFAULT_PORT = 18_000;

export const serve: Command = {
  name: 'serve',
  summary: 'Serves a mesh.yaml over xDS on this machine, with certificates from a test CA; again on every save.',
  usage: '[mesh.yaml] [--port 18000] [--identity NAME]...',
  options: [
    ['--port N', `port of the ADS server; 0 for any free one (default ${DEFAULT_PORT})`],
    [
      '--identity NAME',
      'write a bootstrap with a certificate for spiffe://TRUST-DOMAIN/NAME; may be repeated (default: app, and the services that want mTLS)',
    ],
  ],
  example: 'npx inmesh serve mesh.yaml\nGRPC_XDS_BOOTSTRAP=/tmp/inmesh-.../bootstrap-app.json node --import inmesh/register app.js',
  async run(args, terminal) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { port: { type: 'string' }, identity: { type: 'string', multiple: true } },
    });
    if (positionals.length > 1) throw new UsageProblem(`one file is served, not ${positionals.length}: ${positionals.join(', ')}`);
    const file = positionals[0] ?? 'mesh.yaml';
    // Before anything is on disk: the keys of the test CA must not stay there.
    const interrupted = terminal.untilInterrupted();
    const { ControlPlane } = await import('../../control-plane/control-plane.ts');
    let plane: ControlPlane;
    try {
      plane = await ControlPlane.start({
        file,
        port: portOf(values.port),
        onUpdate: (update) => terminal.out(describeUpdate(update.origin ?? file, update)),
        onNack: (nack) => terminal.error(describeNack(nack)),
        onProblem: (error, path) => terminal.error(`${path} cannot be read (${error.message}); still serving the last good one\n`),
      });
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      terminal.error(`${error.message}\n`);
      return 1;
    }
    try {
      announce(plane, file, values.identity, terminal);
      await interrupted;
    } finally {
      await plane.close();
    }
    terminal.out('stopped\n');
    return 0;
  },
};

function portOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_PORT;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new UsageProblem(`--port ${text} is not a port from 0 to 65535`);
  return port;
}

function announce(plane: ControlPlane, file: string, given: readonly string[] | undefined, terminal: Terminal): void {
  const services = [...(plane.current?.file.services ?? [])];
  const strict = services.filter(([, service]) => service.mtls === 'strict').map(([name]) => name);
  const identities = given ?? ['app', ...strict];
  terminal.out(`inmesh control plane, for development only\n`);
  terminal.out(`  file   ${file}: ${describeContent(plane)}\n`);
  terminal.out(`  xDS    ${plane.address}\n`);
  terminal.out(`  trust  spiffe://${plane.certificates.trustDomain}, test CA of this process\n`);
  for (const name of identities) {
    terminal.out(`  ${name}: GRPC_XDS_BOOTSTRAP=${plane.bootstrapFile(name, name)}\n`);
  }
  terminal.out('Save the file to change the mesh; Ctrl+C ends it.\n');
}

function describeContent({ current, loaded }: ControlPlane): string {
  if (current === undefined) {
    const nodes = loaded.nodes.size === 0 ? '' : `; ${count(loaded.nodes.size, 'node')} with resources of their own`;
    return `${count(loaded.common.raw.length, 'resource')}${nodes}`;
  }
  const { services, inbound } = current.file;
  const hosts = [...services.values()].flatMap((service) => service.hosts);
  return `${count(services.size, 'service')} (${hosts.join(', ')}), ${count(inbound.length, 'inbound port')}`;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

export function describeUpdate(file: string, update: Update): string {
  if (update.ok) {
    const others = update.others === undefined || update.others === 0 ? [] : [`${count(update.others, 'resource')} of other types`];
    const changes = update.changed.length === 0 && others.length > 0 ? [] : [summarizeChanges(update.changed)];
    return `reloaded ${file} in ${update.ms.toFixed(1)} ms: ${[...changes, ...others].join(', ')}\n`;
  }
  return `${file} is invalid; still serving the last good one\n${printProblems(update.text, update.errors)}`;
}

function printProblems(text: string, problems: readonly FileProblem[]): string {
  return problems.map((problem) => printProblem(text, problem)).join('\n');
}

export function describeNack(nack: Nack): string {
  const type = nack.typeUrl.slice(nack.typeUrl.lastIndexOf('.') + 1);
  return `NACK from ${nack.nodeId === '' ? 'a client without a node id' : nack.nodeId}: ${type} version ${nack.version} refused: ${nack.message}\n`;
}
