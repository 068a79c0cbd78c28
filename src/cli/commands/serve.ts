/** `inmesh serve`: the development control plane in the foreground. Says what it serves, every reload, and every refusal by a client. */
import { parseArgs } from 'node:util';
import type { ControlPlane, ControlPlaneOptions } from '../../control-plane/control-plane.ts';
import { MeshError } from '../../core/errors.ts';
import { parseDuration } from '../../sources/mesh-yaml/scalars.ts';
import type { Command, Terminal } from '../command.ts';
import { UsageProblem } from '../command.ts';
import { MisbehaveFile } from '../misbehave-file.ts';
import { describeContent, describeLoad, describeNack, describeUpdate } from '../serve-text.ts';

const DEFAULT_PORT = 18_000;
const CERTIFICATES = ['provider', 'inline', 'sds'] as const;
const TLS = ['server', 'mutual'] as const;
const DIALECTS = ['inmesh', 'istio'] as const;

const OPTIONS = {
  port: { type: 'string' },
  host: { type: 'string' },
  identity: { type: 'string', multiple: true },
  certificates: { type: 'string' },
  view: { type: 'string', multiple: true },
  tls: { type: 'string' },
  token: { type: 'string' },
  'token-header': { type: 'string' },
  lrs: { type: 'boolean' },
  'lrs-interval': { type: 'string' },
  misbehave: { type: 'string' },
  dialect: { type: 'string' },
  'registry-only': { type: 'boolean' },
  agent: { type: 'boolean' },
} as const;

export const serve: Command = {
  name: 'serve',
  summary: 'Serves a mesh.yaml over xDS on this machine, with certificates from a test CA; again on every save.',
  usage: '[mesh.yaml | snapshot.yaml] [OPTIONS]',
  options: [
    ['--port N', `port of the xDS server; 0 for any free one (default ${DEFAULT_PORT})`],
    ['--host ADDRESS', 'address that it listens on (default 127.0.0.1)'],
    [
      '--identity NAME',
      'write a bootstrap with a certificate for spiffe://TRUST-DOMAIN/NAME; may be repeated (default: app, and the services that want mTLS)',
    ],
    ['--certificates KIND', 'how clients get theirs: provider (files that the bootstrap names, default), inline, or sds'],
    ['--view NODE=FILE', 'serve another file to nodes of that id (* for any text) or cluster:NAME; may be repeated'],
    ['--tls KIND', 'TLS with the test CA: server, or mutual (clients need a certificate)'],
    ['--token TEXT', 'refuse calls without it'],
    ['--token-header KEY', 'metadata key of the token (default authorization, as a bearer token)'],
    ['--lrs', 'say what clients report of their load'],
    ['--lrs-interval TIME', 'how often they report (default 10s)'],
    ['--misbehave FILE', 'do wrong what the file says; read again on every save (docs/reference/serve.md)'],
    ['--dialect NAME', 'names and shapes of resources: inmesh (default), or istio, as istiod sends them'],
    ['--registry-only', 'istio: hosts that no service has are blocked, instead of passed through'],
    ['--agent', 'istio: one aggregated stream for each node, as its agent has it'],
  ],
  example: 'npx inmesh serve mesh.yaml\nGRPC_XDS_BOOTSTRAP=/tmp/inmesh-.../bootstrap-app.json node --import inmesh/register app.js',
  async run(args, terminal) {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });
    if (positionals.length > 1) throw new UsageProblem(`one file is served, not ${positionals.length}: ${positionals.join(', ')}`);
    const file = positionals[0] ?? 'mesh.yaml';
    const given = optionsOf(values);
    // Before anything is on disk: the keys of the test CA must not stay there.
    const interrupted = terminal.untilInterrupted();
    const { ControlPlane } = await import('../../control-plane/control-plane.ts');
    let plane: ControlPlane;
    let script: MisbehaveFile | undefined;
    try {
      script = values.misbehave === undefined ? undefined : await MisbehaveFile.read(values.misbehave, terminal);
      plane = await ControlPlane.start({
        file,
        ...given,
        ...(script === undefined ? {} : { misbehave: script.steps }),
        onUpdate: (update) => terminal.out(describeUpdate(update.origin ?? file, update)),
        onNack: (nack) => terminal.error(describeNack(nack)),
        onProblem: (error, path) => terminal.error(`${path} cannot be read (${error.message}); still serving the last good one\n`),
        ...(values.lrs === true ? { onLoadReport: (report) => terminal.out(describeLoad(report)) } : {}),
      });
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      terminal.error(`${error.message}\n`);
      return 1;
    }
    try {
      script?.follow(plane);
      announce(plane, file, values, terminal);
      await interrupted;
    } finally {
      script?.close();
      await plane.close();
    }
    terminal.out('stopped\n');
    return 0;
  },
};

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

function optionsOf(values: Values): Partial<ControlPlaneOptions> {
  const certificates = oneOf('certificates', values.certificates, CERTIFICATES);
  const tls = oneOf('tls', values.tls, TLS);
  const dialect = oneOf('dialect', values.dialect, DIALECTS);
  for (const name of ['registry-only', 'agent'] as const)
    if (values[name] === true && dialect !== 'istio') throw new UsageProblem(`--${name} needs --dialect istio`);
  const intervalMs = values['lrs-interval'] === undefined ? undefined : parseDuration(values['lrs-interval']);
  if (values['lrs-interval'] !== undefined && (intervalMs === undefined || intervalMs === 0))
    throw new UsageProblem(`--lrs-interval ${values['lrs-interval']} is not a duration such as 500ms, 2s or 1m`);
  if (values['token-header'] !== undefined && values.token === undefined) throw new UsageProblem('--token-header needs --token');
  return {
    port: portOf(values.port),
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(certificates === undefined ? {} : { certificates }),
    ...(values.view === undefined ? {} : { views: viewsOf(values.view) }),
    ...(tls === undefined ? {} : { tls }),
    ...(values.token === undefined ? {} : { token: values.token }),
    ...(values['token-header'] === undefined ? {} : { tokenHeader: values['token-header'] }),
    ...(dialect === undefined ? {} : { dialect }),
    ...(dialect === 'istio' ? { istio: istioOf(values) } : {}),
    ...(intervalMs === undefined ? {} : { loadReporting: { intervalMs } }),
  };
}

function istioOf(values: Values): NonNullable<ControlPlaneOptions['istio']> {
  return { outboundTrafficPolicy: values['registry-only'] === true ? 'REGISTRY_ONLY' : 'ALLOW_ANY', agent: values.agent === true };
}

function portOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_PORT;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new UsageProblem(`--port ${text} is not a port from 0 to 65535`);
  return port;
}

function oneOf<V extends string>(option: string, value: string | undefined, allowed: readonly V[]): V | undefined {
  if (value === undefined) return undefined;
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw new UsageProblem(`--${option} ${value} is not one of ${allowed.join(', ')}`);
  return found;
}

function viewsOf(given: readonly string[]): Record<string, { readonly file: string }> {
  const views: Record<string, { readonly file: string }> = {};
  for (const text of given) {
    const at = text.indexOf('=');
    if (at < 1 || at === text.length - 1) throw new UsageProblem(`--view ${text} is not NODE=FILE`);
    views[text.slice(0, at)] = { file: text.slice(at + 1) };
  }
  return views;
}

function announce(plane: ControlPlane, file: string, values: Values, terminal: Terminal): void {
  const services = [...(plane.current?.file.services ?? [])];
  const strict = services.filter(([, service]) => service.mtls === 'strict').map(([name]) => name);
  const identities = values.identity ?? ['app', ...strict];
  terminal.out(`inmesh control plane, for development only\n`);
  terminal.out(`  file   ${file}: ${describeContent(plane)}\n`);
  for (const view of values.view ?? []) terminal.out(`  view   ${view}\n`);
  terminal.out(`  xDS    ${plane.address}${values.tls === undefined ? '' : `, TLS (${values.tls})`}\n`);
  if (values.token !== undefined) terminal.out(`  token  expected in "${values['token-header'] ?? 'authorization'}"\n`);
  terminal.out(`  trust  spiffe://${plane.certificates.trustDomain}, test CA of this process\n`);
  for (const name of identities) {
    terminal.out(`  ${name}: GRPC_XDS_BOOTSTRAP=${plane.bootstrapFile(name, name)}\n`);
    if (values.dialect === 'istio')
      terminal.out(`  ${name}, as a sidecar: INMESH_SUBSCRIBE=routes INMESH_CONFIG=${plane.bootstrapFile(name, name, 'sidecar')}\n`);
  }
  terminal.out('Save the file to change the mesh; Ctrl+C ends it.\n');
}
