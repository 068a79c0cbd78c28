/**
 * The development control plane: serves a `mesh.yaml` or a snapshot of xDS resources on loopback, with certificates from a test CA, and
 * again on every save. An invalid file keeps the last good one. Not for production.
 */
import type { ServerCredentials } from '@grpc/grpc-js';
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import { MeshError } from '../core/errors.ts';
import { RealClock } from '../core/real-clock.ts';
import { GrpcStatus } from '../core/status.ts';
import type { LoadedMeshYaml } from '../sources/mesh-yaml/load.ts';
import type { FileProblem } from '../sources/mesh-yaml/problem.ts';
import { describeProblem } from '../sources/mesh-yaml/problem.ts';
import type { ResourceJson } from '../sources/xds-snapshot.ts';
import { serverCredentials, tokenCheck } from './admission.ts';
import { bootstrapOf } from './bootstrap.ts';
import type { Receiver } from './catalogue.ts';
import { Certificates } from './certificates.ts';
import type { Loaded } from './content.ts';
import { Encoder } from './encode/resource.ts';
import type { TlsMaterial } from './encode/tls.ts';
import { PROVIDER, SDS } from './encode/tls.ts';
import { grpcBootstrap, nodeIdOf, sidecarBootstrap } from './istio/bootstrap.ts';
import { IstioDialect } from './istio/dialect.ts';
import type { LoadReport, LoadReportingOptions } from './load-reports.ts';
import { LoadReports } from './load-reports.ts';
import type { RequestNode } from './messages.ts';
import { Misbehaviour } from './misbehave/misbehaviour.ts';
import type { Step } from './misbehave/script.ts';
import type { ControlPlaneOptions } from './options.ts';
import { patternOf } from './pattern.ts';
import { Relay } from './relay.ts';
import { Secrets } from './secrets.ts';
import { endWith } from './refusal.ts';
import { AdsServer } from './server.ts';
import { LOAD_STATS_PATH } from './services.ts';
import type { Audience, Nack } from './stream.ts';
import type { Update, ViewOptions } from './view.ts';
import { View } from './view.ts';

export { PROVIDER_INSTANCE } from './content.ts';
export { SERVER_LISTENER_TEMPLATE } from './bootstrap.ts';
export type { ControlPlaneOptions } from './options.ts';
export type { Update } from './view.ts';

/** The agent's bootstraps in istiod's dialect; otherwise there is only `grpc`. */
export type BootstrapFormat = 'grpc' | 'sidecar';

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
  readonly #loads: LoadReports;
  /** Serves as istiod does; undefined: in inmesh's own way. */
  readonly #istio: IstioDialect | undefined;
  readonly #misbehaviour: Misbehaviour | undefined;
  readonly #identities = new Map<string, string>();
  readonly #host: string;
  #port = 0;
  /** Before the server, where connections may have to go dead. */
  #relay: Relay | undefined;
  #beat: Timer | undefined;

  private constructor(options: ControlPlaneOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#istio = options.dialect === 'istio' ? new IstioDialect(options.istio ?? {}, clock) : undefined;
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
      check: (request, nodeId) => {
        if (nodeId === '') this.#istio?.check(request.node);
      },
      single: options.istio?.agent === true,
      audience: (node, peer) => this.#audience(node, peer),
      admit: tokenCheck(options),
      conduct: (port) => this.#misbehaviour?.open(port),
      connections: {
        hang: (peer) => this.#relay?.hang(peer),
        revive: (peer) => this.#relay?.revive(peer),
        cut: (peer) => this.#relay?.cut(peer),
      },
    });
    this.#misbehaviour = options.misbehave === undefined ? undefined : new Misbehaviour(clock, options.misbehave);
    this.#loads = new LoadReports(options.loadReporting ?? {}, clock, (report) => options.onLoadReport?.(report));
    this.#server.serve(LOAD_STATS_PATH, (call) =>
      this.#loads.accept(call, (details) => endWith(call, { code: GrpcStatus.INVALID_ARGUMENT, details })),
    );
  }

  /** Throws `ERR_MESH_CONFIG` with every problem of a file, or why the port cannot be had. */
  static async start(options: ControlPlaneOptions): Promise<ControlPlane> {
    const plane = new ControlPlane(options, options.clock ?? new RealClock());
    try {
      await plane.#listen(plane.#host, options.port ?? 0);
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
   * The bootstrap for a process, in the gRPC format. `name` is its node id. `identity` (`web`, or a whole SPIFFE id) issues its certificate;
   * without one the process has none and can only use what is not under `mtls: strict`. In istiod's dialect the name becomes an istiod node id,
   * and `format` says which of the agent's bootstraps it is: for proxyless gRPC, or for a sidecar's Envoy.
   */
  bootstrap(name: string, identity?: string, format: BootstrapFormat = 'grpc'): Readonly<Record<string, unknown>> {
    const nodeId = this.#istio === undefined ? name : nodeIdOf(name, { namespace: 'default', address: '127.0.0.1' });
    if (identity !== undefined) this.#identities.set(nodeId, identity);
    const parts = {
      nodeId,
      address: this.address,
      certificates: identity === undefined ? undefined : this.certificates.files(identity),
      rootsFile: this.certificates.rootsFile(),
      tls: this.#options.tls,
      provider: this.#options.certificates !== 'sds',
    };
    if (this.#istio === undefined) return bootstrapOf(parts);
    return format === 'sidecar' ? sidecarBootstrap(parts) : grpcBootstrap(parts);
  }

  /** Writes such a bootstrap into the temporary folder; its path, for `GRPC_XDS_BOOTSTRAP`. */
  bootstrapFile(name: string, identity?: string, format: BootstrapFormat = 'grpc'): string {
    return this.certificates.write(
      `bootstrap-${name.replace(/[^A-Za-z0-9.-]+/g, '_')}${format === 'sidecar' ? '-sidecar' : ''}.json`,
      `${JSON.stringify(this.bootstrap(name, identity, format), undefined, 2)}\n`,
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

  /** What clients have reported over LRS, the newest last; at most 1000. */
  get loadReports(): readonly LoadReport[] {
    return this.#loads.all;
  }

  /** Asks clients for other reports than before. */
  askForLoads(options: LoadReportingOptions): void {
    this.#loads.ask(options);
  }

  /** For tests: refreshes now what has a time to live. */
  heartbeat(): void {
    this.#server.heartbeat();
  }

  /** Does this wrong from now on, instead of what the option `misbehave` said; needs that option. Throws `ERR_MESH_OPTION`. */
  misbehave(steps: readonly Step[]): void {
    if (this.#misbehaviour === undefined) {
      throw new MeshError('ERR_MESH_OPTION', 'start the control plane with misbehave: [] to let it misbehave later');
    }
    this.#misbehaviour.replace(steps);
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
    this.#misbehaviour?.close();
    await this.#relay?.close();
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

  async #listen(host: string, port: number): Promise<void> {
    if (this.#misbehaviour === undefined) {
      this.#port = await this.#server.listen(host, port, this.#credentials());
      return;
    }
    this.#relay = new Relay(await this.#server.listen('127.0.0.1', 0, this.#credentials()));
    this.#port = await this.#relay.listen(host, port);
  }

  #credentials(): ServerCredentials {
    const hosts = [...new Set([this.#host, 'localhost', '127.0.0.1', '::1'])];
    return serverCredentials(
      this.#options.tls,
      () => this.certificates.server(hosts),
      () => this.certificates.rootsPem,
    );
  }

  /** A node is who its bootstrap was written for, else who its client certificate says. */
  #audience(node: RequestNode | undefined, peer: string | undefined): Audience {
    const id = node?.id ?? '';
    const names = [id, `cluster:${node?.cluster ?? ''}`];
    const view = this.#views.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1] ?? this.#view;
    const receiver = (): Receiver => {
      const identity = this.#identities.get(id) ?? peer ?? this.#istioIdentity(node);
      return this.#secrets.receiver(this.#material(identity), identity);
    };
    const catalogues = { current: () => view.catalogue(id), previous: () => view.previous(id) };
    const { current, previous } = this.#istio === undefined ? catalogues : this.#istio.serve(node, view, catalogues);
    return {
      get receiver() {
        return receiver();
      },
      catalogue: current,
      previous,
    };
  }

  #istioIdentity(node: RequestNode | undefined): string | undefined {
    return node === undefined ? undefined : this.#istio?.identityOf(node, this.certificates.trustDomain);
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
