/**
 * The development control plane: serves a `mesh.yaml` or a snapshot of xDS resources on loopback, with certificates from a test CA, and
 * again on every save. An invalid file keeps the last good one. Not for production.
 */
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import { MeshError } from '../core/errors.ts';
import { RealClock } from '../core/real-clock.ts';
import type { LoadedMeshYaml } from '../sources/mesh-yaml/load.ts';
import type { FileProblem } from '../sources/mesh-yaml/problem.ts';
import { describeProblem } from '../sources/mesh-yaml/problem.ts';
import type { ResourceJson } from '../sources/xds-snapshot.ts';
import { bootstrapOf } from './bootstrap.ts';
import type { Receiver } from './catalogue.ts';
import { Certificates } from './certificates.ts';
import type { Loaded } from './content.ts';
import { Encoder } from './encode/resource.ts';
import type { TlsMaterial } from './encode/tls.ts';
import { PROVIDER, SDS } from './encode/tls.ts';
import type { AdsRequest, DeltaRequest, RequestNode } from './messages.ts';
import { Secrets } from './secrets.ts';
import { AdsServer } from './server.ts';
import type { Audience, Nack } from './stream.ts';
import type { Update, ViewOptions } from './view.ts';
import { View } from './view.ts';

export { PROVIDER_INSTANCE } from './content.ts';
export { SERVER_LISTENER_TEMPLATE } from './bootstrap.ts';
export type { Update } from './view.ts';

/** Exactly one of `file`, `text` and `resources` says what is served. */
export interface ControlPlaneOptions extends ViewOptions {
  /**
   * Other content for some nodes: by node id, in which `*` stands for any text, or by `cluster:NAME` (`node.cluster`, `*` as well). The first
   * that fits counts; who fits none is served the content above.
   */
  readonly views?: Readonly<Record<string, ViewOptions>>;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Default 0: any. */
  readonly port?: number;
  /** Default true; only for files. */
  readonly watch?: boolean;
  /**
   * Where clients find their certificates: as files named by their bootstrap (default), in the resources themselves, for clients that know no
   * certificate providers, or as secrets over SDS. With the last two, the node id says whose they are (see `bootstrap`).
   */
  readonly certificates?: 'provider' | 'inline' | 'sds';
  /** Default true: what has a time to live is refreshed after half of it. */
  readonly heartbeats?: boolean;
  readonly clock?: Clock;
  /** After each save, also one that is invalid. */
  readonly onUpdate?: (update: Update) => void;
  readonly onNack?: (nack: Nack) => void;
  readonly onRequest?: (request: AdsRequest | DeltaRequest, nodeId: string) => void;
  /** A file cannot be read. */
  readonly onProblem?: (error: Error, file: string) => void;
}

export class ControlPlane implements Alarm {
  readonly certificates: Certificates;
  /** Every refused response so far, the newest last; at most 1000. */
  readonly nacks: Nack[] = [];
  readonly #options: ControlPlaneOptions;
  readonly #clock: Clock;
  readonly #encoder = new Encoder();
  readonly #view: View;
  readonly #views: readonly (readonly [pattern: RegExp, view: View])[];
  readonly #secrets: Secrets;
  readonly #server: AdsServer;
  readonly #identities = new Map<string, string>();
  readonly #host: string;
  #port = 0;
  #beat: Timer | undefined;

  private constructor(options: ControlPlaneOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#host = options.host ?? '127.0.0.1';
    this.#view = this.#open(options);
    this.#views = Object.entries(options.views ?? {}).map(([pattern, view]) => [patternOf(pattern), this.#open(view)]);
    this.certificates = new Certificates(this.#view.loaded.mesh?.file.identity.trustDomain ?? 'dev', clock);
    for (const view of this.#all()) this.#checkTrust(view);
    this.#secrets = new Secrets(this.certificates);
    this.#server = new AdsServer({
      onNack: (nack) => {
        if (this.nacks.length >= 1000) this.nacks.shift();
        this.nacks.push(nack);
        options.onNack?.(nack);
      },
      onRequest: (request, nodeId) => options.onRequest?.(request, nodeId),
      audience: (node) => this.#audience(node),
      admit: () => undefined,
    });
  }

  /** Throws `ERR_MESH_CONFIG` with every problem of a file, or why the port cannot be had. */
  static async start(options: ControlPlaneOptions): Promise<ControlPlane> {
    const plane = new ControlPlane(options, options.clock ?? new RealClock());
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
    if (options.watch ?? true) for (const view of plane.#all()) view.watch();
    plane.#schedule();
    return plane;
  }

  /** `host:port`, a gRPC target. */
  get address(): string {
    return `${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** The `mesh.yaml` as it is served; undefined: it is something else that is served. */
  get current(): LoadedMeshYaml | undefined {
    return this.#view.loaded.mesh;
  }

  /** What is served to nodes without a view of their own, whatever form it was given in. */
  get loaded(): Loaded {
    return this.#view.loaded;
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
    return bootstrapOf({
      nodeId,
      address: this.address,
      certificates: identity === undefined ? undefined : this.certificates.files(identity),
      rootsFile: this.certificates.rootsFile(),
      tls: 'none',
      provider: this.#options.certificates !== 'sds',
    });
  }

  /** Writes such a bootstrap into the temporary folder; its path, for `GRPC_XDS_BOOTSTRAP`. */
  bootstrapFile(nodeId: string, identity?: string): string {
    return this.certificates.write(
      `bootstrap-${nodeId.replace(/[^A-Za-z0-9.-]+/g, '_')}.json`,
      `${JSON.stringify(this.bootstrap(nodeId, identity), undefined, 2)}\n`,
    );
  }

  /** Serves another text to nodes without a view of their own, or keeps what is there when it is invalid. Everything is pushed when it returns. */
  update(text: string, noticedAt?: number): Update {
    return this.#view.update(text, noticedAt);
  }

  /** The same for resources in code; throws `ERR_MESH_CONFIG` for one that cannot be read. `version`: of every type; default: counted. */
  replace(resources: readonly ResourceJson[], version?: string): Update {
    return this.#view.replace(resources, version);
  }

  /** Issues a new certificate for an identity: into its files, and to whom has it over SDS or in resources. */
  rotate(identity: string): void {
    this.certificates.rotate(identity);
    this.#server.push();
  }

  /** For tests: refreshes now what has a time to live. */
  heartbeat(): void {
    this.#server.heartbeat();
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
    if (this.#beat !== undefined) this.#clock.clear(this.#beat);
    this.#beat = undefined;
    for (const view of this.#all()) view.close();
    await this.#server.close();
    this.certificates.close();
  }

  onAlarm(): void {
    this.#beat = undefined;
    this.#server.heartbeat();
    this.#schedule();
  }

  /** Sets the time of the next heartbeat, where anything needs one. */
  #schedule(): void {
    if (this.#beat !== undefined || this.#options.heartbeats === false) return;
    const ttls = this.#all().flatMap((view) => view.shortestTtlMs ?? []);
    if (ttls.length > 0) this.#beat = this.#clock.set(this, Math.max(1, Math.min(...ttls) / 2), true);
  }

  #open(options: ViewOptions): View {
    return View.open(options, this.#clock, this.#encoder, {
      onChange: () => {
        this.#server.push();
        this.#schedule();
      },
      onUpdate: (update) => this.#options.onUpdate?.(update),
      onProblem: (error) => this.#options.onProblem?.(error, options.file ?? ''),
      refuse: (loaded, origin) => this.#trustProblem(loaded.mesh, origin),
    });
  }

  #all(): readonly View[] {
    return [this.#view, ...this.#views.map(([, view]) => view)];
  }

  #audience(node: RequestNode | undefined): Audience {
    const id = node?.id ?? '';
    const names = [id, `cluster:${node?.cluster ?? ''}`];
    const view = this.#views.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1] ?? this.#view;
    const receiver = (): Receiver => {
      const identity = this.#identities.get(id);
      return this.#secrets.receiver(this.#material(identity), identity);
    };
    return {
      get receiver() {
        return receiver();
      },
      catalogue: () => view.catalogue(id),
    };
  }

  #material(identity: string | undefined): TlsMaterial {
    const { certificates } = this.#options;
    if (certificates === 'sds') return SDS;
    if (certificates !== 'inline' || identity === undefined) return PROVIDER;
    return { kind: 'inline', certificates: this.certificates.inline(identity) };
  }

  #checkTrust(view: View): void {
    const problem = this.#trustProblem(view.loaded.mesh, view.origin);
    if (problem !== undefined) throw new MeshError('ERR_MESH_CONFIG', describeProblem({ ...problem, cure: 'All views need the same.' }));
  }

  /** Certificates that are out there cannot follow. */
  #trustProblem(loaded: LoadedMeshYaml | undefined, origin: string): FileProblem | undefined {
    const { trustDomain } = this.certificates;
    if (loaded === undefined || loaded.file.identity.trustDomain === trustDomain) return undefined;
    const path = 'identity.trustDomain';
    const place = loaded.file.positions.get(path) ?? { line: 1, column: 1, length: 1 };
    return {
      file: origin,
      ...place,
      path,
      message: `the certificates in use are of the trust domain "${trustDomain}"`,
      cure: 'Start the control plane again to change it.',
    };
  }
}

/** `*` stands for any text, and a pattern without it for itself. */
function patternOf(pattern: string): RegExp {
  return new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
      .join('.*')}$`,
    's',
  );
}
