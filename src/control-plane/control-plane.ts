/**
 * The development control plane: serves a `mesh.yaml` over xDS on loopback, with certificates from a test CA, and again on every save.
 * An invalid file keeps the last good one. Not for production.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ResourceKey } from '../config/resource.ts';
import type { Clock } from '../core/clock.ts';
import { MeshError } from '../core/errors.ts';
import { RealClock } from '../core/real-clock.ts';
import { FileWatch } from '../sources/file-watch.ts';
import type { LoadedMeshYaml } from '../sources/mesh-yaml/load.ts';
import { changedResources, loadMeshYaml } from '../sources/mesh-yaml/load.ts';
import type { FileProblem } from '../sources/mesh-yaml/problem.ts';
import { printProblem } from '../sources/mesh-yaml/problem.ts';
import { Certificates } from './certificates.ts';
import type { AdsRequest } from './messages.ts';
import { AdsServer } from './server.ts';
import type { Nack } from './sotw-stream.ts';
import { ResourceStore } from './store.ts';

/** Name under `certificate_providers` of the bootstraps that this control plane writes. */
export const PROVIDER_INSTANCE = 'inmesh';
/** `server_listener_resource_name_template` of these bootstraps. */
export const SERVER_LISTENER_TEMPLATE = 'inbound/%s';

export type Update =
  | {
      readonly ok: true;
      readonly changed: readonly ResourceKey[];
      /** From the first sign of the save to the last byte pushed. */ readonly ms: number;
    }
  | { readonly ok: false; readonly errors: readonly FileProblem[]; readonly text: string };

export interface ControlPlaneOptions {
  /** Path of a `mesh.yaml`, which is watched; or `text`. */
  readonly file?: string;
  readonly text?: string;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Default 0: any. */
  readonly port?: number;
  /** Default true; only for `file`. */
  readonly watch?: boolean;
  /**
   * Where clients find their certificates: as files named by their bootstrap (default), or in the resources themselves, for clients that
   * know no certificate providers; the node id decides which (see `bootstrap`).
   */
  readonly certificates?: 'provider' | 'inline';
  readonly clock?: Clock;
  /** After each save, also one that is invalid. */
  readonly onUpdate?: (update: Update) => void;
  readonly onNack?: (nack: Nack) => void;
  readonly onRequest?: (request: AdsRequest, nodeId: string) => void;
  /** The file cannot be read. */
  readonly onProblem?: (error: Error) => void;
}

export class ControlPlane {
  readonly certificates: Certificates;
  /** Every refused response so far, the newest last; at most 1000. */
  readonly nacks: Nack[] = [];
  readonly #options: ControlPlaneOptions;
  readonly #clock: Clock;
  readonly #origin: string;
  readonly #store = new ResourceStore();
  readonly #server: AdsServer;
  readonly #identities = new Map<string, string>();
  readonly #host: string;
  #port = 0;
  #loaded: LoadedMeshYaml;
  #watch: FileWatch | undefined;

  private constructor(options: ControlPlaneOptions, loaded: LoadedMeshYaml, origin: string, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#origin = origin;
    this.#host = options.host ?? '127.0.0.1';
    this.#loaded = loaded;
    this.certificates = new Certificates(loaded.file.identity.trustDomain, clock);
    this.#store.load(loaded);
    this.#server = new AdsServer(this.#store, {
      onNack: (nack) => {
        if (this.nacks.length >= 1000) this.nacks.shift();
        this.nacks.push(nack);
        options.onNack?.(nack);
      },
      onRequest: (request, nodeId) => options.onRequest?.(request, nodeId),
      inline: (nodeId) => this.#inline(nodeId),
    });
  }

  /** Throws `ERR_MESH_CONFIG` with every problem of the file, or why the port cannot be had. */
  static async start(options: ControlPlaneOptions): Promise<ControlPlane> {
    const clock = options.clock ?? new RealClock();
    const origin = options.file ?? 'mesh.yaml';
    const text = options.text ?? readText(options.file);
    const loaded = loadMeshYaml(text, origin, { certificates: { kind: 'provider', instance: PROVIDER_INSTANCE } });
    if (!loaded.ok) {
      const count = loaded.errors.length === 1 ? 'one error' : `${loaded.errors.length} errors`;
      throw new MeshError(
        'ERR_MESH_CONFIG',
        `${origin} has ${count}:\n${loaded.errors.map((problem) => printProblem(text, problem)).join('\n')}`,
      );
    }
    const plane = new ControlPlane(options, loaded, origin, clock);
    try {
      plane.#port = await plane.#server.listen(plane.#host, options.port ?? 0);
    } catch (error) {
      await plane.close();
      throw new MeshError(
        'ERR_MESH_CONFIG',
        `cannot listen on ${plane.#host}:${options.port ?? 0}: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
    }
    if (options.text === undefined && options.file !== undefined && (options.watch ?? true)) plane.#follow(options.file, text);
    return plane;
  }

  /** `host:port`, a gRPC target. */
  get address(): string {
    return `${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** The file as it is served. */
  get current(): LoadedMeshYaml {
    return this.#loaded;
  }

  /** Node ids of the open streams. */
  get nodes(): readonly string[] {
    return this.#server.nodes;
  }

  /**
   * The bootstrap for a process, in the gRPC format. `identity` (`web`, or a whole SPIFFE id) issues its certificate; without one the
   * process has none and can only use what is not under `mtls: strict`.
   */
  bootstrap(nodeId: string, identity?: string): Readonly<Record<string, unknown>> {
    if (identity !== undefined) this.#identities.set(nodeId, identity);
    const certificates = identity === undefined ? undefined : this.certificates.files(identity);
    return {
      xds_servers: [{ server_uri: this.address, channel_creds: [{ type: 'insecure' }], server_features: ['xds_v3'] }],
      node: { id: nodeId, cluster: 'inmesh' },
      server_listener_resource_name_template: SERVER_LISTENER_TEMPLATE,
      certificate_providers: {
        [PROVIDER_INSTANCE]: {
          plugin_name: 'file_watcher',
          config:
            certificates === undefined
              ? { ca_certificate_file: this.certificates.rootsFile(), refresh_interval: '1s' }
              : {
                  certificate_file: certificates.certificateFile,
                  private_key_file: certificates.privateKeyFile,
                  ca_certificate_file: certificates.caCertificateFile,
                  refresh_interval: '1s',
                },
        },
      },
    };
  }

  /** Writes such a bootstrap into the temporary folder; its path, for `GRPC_XDS_BOOTSTRAP`. */
  bootstrapFile(nodeId: string, identity?: string): string {
    return this.certificates.write(
      `bootstrap-${nodeId.replace(/[^A-Za-z0-9.-]+/g, '_')}.json`,
      `${JSON.stringify(this.bootstrap(nodeId, identity), undefined, 2)}\n`,
    );
  }

  /** Serves another text, or keeps what is there when it is invalid. Everything is pushed when it returns. */
  update(text: string, noticedAt = this.#clock.now()): Update {
    const loaded = loadMeshYaml(text, this.#origin, {
      certificates: { kind: 'provider', instance: PROVIDER_INSTANCE },
      previous: this.#loaded,
    });
    const trust = loaded.ok ? this.#trustProblem(loaded) : undefined;
    const result: Update =
      trust !== undefined
        ? { ok: false, errors: [trust], text }
        : loaded.ok
          ? this.#adopt(loaded, noticedAt)
          : { ok: false, errors: loaded.errors, text };
    this.#options.onUpdate?.(result);
    return result;
  }

  /** For tests: ends every stream; clients come back. */
  dropStreams(): void {
    this.#server.dropStreams();
  }

  /** For tests: answers nothing until `resume`. */
  pause(): void {
    this.#server.pause();
  }

  resume(): void {
    this.#server.resume();
  }

  /** Ends the streams, frees the port, removes the certificates. */
  async close(): Promise<void> {
    this.#watch?.close();
    await this.#server.close();
    this.certificates.close();
  }

  #adopt(loaded: LoadedMeshYaml, noticedAt: number): Update {
    const changed = changedResources(this.#loaded.resources, loaded.resources);
    this.#loaded = loaded;
    if (this.#store.load(loaded)) this.#server.push();
    return { ok: true, changed, ms: this.#clock.now() - noticedAt };
  }

  /** Certificates that are out there cannot follow. */
  #trustProblem(loaded: LoadedMeshYaml): FileProblem | undefined {
    const { trustDomain } = this.certificates;
    if (loaded.file.identity.trustDomain === trustDomain) return undefined;
    const path = 'identity.trustDomain';
    const place = loaded.file.positions.get(path) ?? { line: 1, column: 1, length: 1 };
    return {
      file: this.#origin,
      ...place,
      path,
      message: `the certificates in use are of the trust domain "${trustDomain}"`,
      cure: 'Start the control plane again to change it.',
    };
  }

  #inline(nodeId: string): ReturnType<Certificates['inline']> | undefined {
    if (this.#options.certificates !== 'inline') return undefined;
    const identity = this.#identities.get(nodeId);
    return identity === undefined ? undefined : this.certificates.inline(identity);
  }

  #follow(file: string, text: string): void {
    this.#watch = new FileWatch(resolve(file), text, this.#clock, {
      onText: (next, noticedAt) => void this.update(next, noticedAt),
      onProblem: (error) => this.#options.onProblem?.(error),
    });
  }
}

function readText(file: string | undefined): string {
  if (file === undefined) throw new MeshError('ERR_MESH_OPTION', 'ControlPlane.start needs a file or a text');
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new MeshError('ERR_MESH_CONFIG', `cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
