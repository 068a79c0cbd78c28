/**
 * Starts Envoy Gateway in its standalone mode on files of a folder, inside of a network namespace since it listens on all addresses, and
 * makes its xDS port reachable on loopback. Its own bootstrap is what it would have started Envoy with.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { parse } from 'yaml';
import type { Running } from '../harness.ts';
import { pause, peers, scratch, startProcess, until } from '../harness.ts';

/** Of its xDS server; a constant in its source. */
const XDS_PORT = 18_000;
/** Any version: the program of that name only writes down how it was called. */
const ENVOY_FOLDER = 'data/envoy-versions/1.39.0/bin';

export interface EnvoyGateway {
  /** What Envoy is started with, for the mesh: node and all, its xDS server on a loopback port here. */
  readonly bootstrap: Readonly<Record<string, unknown>>;
  /** Replaces the resources that it watches. */
  put(resources: readonly object[]): void;
  /** Replaces them by a text, which need not be YAML. */
  putText(text: string): void;
  kill(): Promise<void>;
  /** Again, with the same identity and the resources of now. */
  restart(): Promise<void>;
  /** What it has written so far. */
  output(): string;
}

interface Folder {
  readonly root: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** `env`, since a peer has no environment of its own in the harness. */
const command = ({ environment }: Folder, ...args: readonly string[]): readonly string[] => [
  'env',
  ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
  peers.envoyGateway ?? '',
  ...args,
];

async function prepare(): Promise<Folder> {
  const root = scratch();
  const folder = { root, environment: { HOME: root } };
  for (const name of ['config', 'cfg', 'state', 'run', ENVOY_FOLDER]) mkdirSync(join(root, name), { recursive: true });
  const stub = join(root, ENVOY_FOLDER, 'envoy');
  writeFileSync(
    stub,
    `#!/bin/sh\nfor a in "$@"; do printf '%s\\0' "$a"; done > ${root}/args.new\nmv ${root}/args.new ${root}/args\nexec sleep infinity\n`,
  );
  chmodSync(stub, 0o755);
  const [program = '', ...args] = command(folder, 'certgen', '--local', '--config-home', join(root, 'config'));
  const certgen = startProcess(program, args);
  if ((await certgen.exited) !== 0) throw new Error(`certgen: ${certgen.output()}`);
  writeFileSync(
    join(root, 'eg.yaml'),
    JSON.stringify({
      apiVersion: 'gateway.envoyproxy.io/v1alpha1',
      kind: 'EnvoyGateway',
      gateway: { controllerName: 'gateway.envoyproxy.io/gatewayclass-controller' },
      provider: {
        type: 'Custom',
        custom: {
          resource: { type: 'File', file: { paths: [join(root, 'cfg')] } },
          infrastructure: {
            type: 'Host',
            host: {
              configHome: join(root, 'config'),
              dataHome: join(root, 'data'),
              stateHome: join(root, 'state'),
              runtimeDir: join(root, 'run'),
            },
          },
        },
      },
      logging: { level: { default: 'info' } },
      extensionApis: { enableBackend: true, enableEnvoyPatchPolicy: true },
    }),
  );
  return folder;
}

async function start(folder: Folder, socket: string): Promise<Running> {
  rmSync(socket, { force: true });
  const inside = fileURLToPath(new URL('inside.mjs', import.meta.url));
  const server = command(folder, 'server', '--config-path', join(folder.root, 'eg.yaml'));
  const running = startProcess('unshare', ['-rn', process.execPath, inside, socket, String(XDS_PORT), ...server]);
  await until(
    'Envoy Gateway has started its Envoy',
    () => {
      if (running.child.exitCode !== null) throw new Error(`Envoy Gateway ended: ${running.output()}`);
      return existsSync(socket) && existsSync(join(folder.root, 'args'));
    },
    20_000,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${running.output()}`);
  });
  return running;
}

/** The bootstrap among the arguments of Envoy, with what other arguments say of the node. */
function bootstrapOf(folder: Folder, port: number): Readonly<Record<string, unknown>> {
  const args = readFileSync(join(folder.root, 'args'), 'utf8').split('\0');
  const value = (name: string): string => args[args.indexOf(name) + 1] ?? '';
  const document = parse(value('--config-yaml')) as Record<string, unknown>;
  const text = JSON.stringify({
    ...document,
    node: { ...(document['node'] as object), id: value('--service-node'), cluster: value('--service-cluster') },
  });
  return JSON.parse(
    text.replaceAll(`"address":"0.0.0.0","port_value":${XDS_PORT}`, `"address":"127.0.0.1","port_value":${port}`),
  ) as Readonly<Record<string, unknown>>;
}

export async function startEnvoyGateway(resources: readonly object[]): Promise<EnvoyGateway> {
  const folder = await prepare();
  const socket = join(folder.root, 'xds.sock');
  const putText = (text: string): void => {
    writeFileSync(join(folder.root, 'resources.new'), text);
    renameSync(join(folder.root, 'resources.new'), join(folder.root, 'cfg', 'resources.yaml'));
  };
  // JSON, since a `yes` is true in the YAML that it reads.
  const put = (list: readonly object[]): void => putText(list.map((resource) => JSON.stringify(resource)).join('\n---\n'));
  put(resources);
  let running = await start(folder, socket);
  const relay = createServer((near) => {
    const far = connect(socket);
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void relay.close());
  // A resource that it cannot stand ends it shortly after it has begun to listen.
  await pause(500);
  return {
    bootstrap: bootstrapOf(folder, (relay.address() as AddressInfo).port),
    put,
    putText,
    kill: () => running.kill(),
    restart: async () => {
      running = await start(folder, socket);
    },
    output: () => running.output(),
  };
}
