/**
 * A `mesh.yaml` as a `ConfigSource`: everything is there from the start, and again after each save. An invalid file keeps the last good
 * one and says what is wrong. Structural sharing (`share.ts`) lets the mesh recompile only what changed.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { CertificateProviderConfig } from '../config/bootstrap.ts';
import type {
  Changes,
  ConfigSource,
  ResourceDescription,
  ResourceKey,
  ResourceKind,
  ResourceState,
  ResourceTypes,
  SourceDescription,
} from '../config/resource.ts';
import { TYPE_URLS } from '../config/resource.ts';
import type { Clock } from '../core/clock.ts';
import { MeshError } from '../core/errors.ts';
import { Lane } from '../core/lane.ts';
import type { Logger } from '../core/log.ts';
import { splitAuthority } from '../matching/host-patterns.ts';
import { FileWatch } from './file-watch.ts';
import type { LoadedMeshYaml } from './mesh-yaml/load.ts';
import { changedResources, KINDS, loadMeshYaml, summarizeChanges } from './mesh-yaml/load.ts';
import type { CertificateStrategy } from './mesh-yaml/compile-tls.ts';
import { inboundName } from './mesh-yaml/names.ts';
import type { FileProblem } from './mesh-yaml/problem.ts';
import { describeProblem, printProblem } from './mesh-yaml/problem.ts';

export interface MeshYamlOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Read the file again when it changes; default true. */
  readonly watch?: boolean;
  /** Default: the files of the key `identity`. */
  readonly certificates?: CertificateStrategy;
}

export type ReloadResult =
  /** What changed; empty when the file says the same as before. */
  { readonly ok: true; readonly changed: readonly ResourceKey[] } | { readonly ok: false; readonly errors: readonly FileProblem[] };

interface Entry {
  readonly value: unknown;
  readonly state: ResourceState<unknown>;
  readonly updatedAt: number;
}

export class MeshYamlSource implements ConfigSource {
  readonly name: string;
  readonly origin: string;
  /** Raw resources may not name certificate providers: there is no bootstrap. */
  readonly certificateProviders: Readonly<Record<string, CertificateProviderConfig>> = Object.freeze({});
  /** Everything is read when the constructor returns. */
  readonly complete = true;
  readonly loaded: Promise<void> = Promise.resolve();
  readonly #options: MeshYamlOptions;
  readonly #lane = new Lane();
  readonly #entries = new Map<ResourceKind, Map<string, Entry>>(KINDS.map((kind) => [kind, new Map<string, Entry>()]));
  #current: LoadedMeshYaml;
  #watch: FileWatch | undefined;
  #generation = 0;
  #listener: ((changes?: Changes) => void) | undefined;
  #problem: string | undefined;
  #closed = false;

  private constructor(loaded: LoadedMeshYaml, origin: string, options: MeshYamlOptions) {
    this.name = `file ${origin}`;
    this.origin = origin;
    this.#options = options;
    this.#current = loaded;
    this.#adopt(loaded);
  }

  /** Reads a file. Throws `ERR_MESH_CONFIG` with every problem and its position. */
  static open(path: string, options: MeshYamlOptions): MeshYamlSource {
    const absolute = resolve(path);
    let text: string;
    try {
      text = readFileSync(absolute, 'utf8');
    } catch (error) {
      throw new MeshError('ERR_MESH_CONFIG', `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    const source = MeshYamlSource.fromText(text, path, options);
    if (options.watch ?? true) source.#follow(absolute, text);
    return source;
  }

  /** The same from text, without watching; `origin` names it in messages. */
  static fromText(text: string, origin: string, options: MeshYamlOptions): MeshYamlSource {
    const loaded = loadMeshYaml(text, origin, loadOptions(options, undefined));
    if (loaded.ok) return new MeshYamlSource(loaded, origin, options);
    const count = loaded.errors.length === 1 ? 'one error' : `${loaded.errors.length} errors`;
    throw new MeshError(
      'ERR_MESH_CONFIG',
      `${origin} has ${count}:\n${loaded.errors.map((problem) => printProblem(text, problem)).join('\n')}`,
    );
  }

  /** Patterns of the key `include`; undefined: the hosts of the services. */
  get include(): readonly string[] | undefined {
    return this.#current.file.include;
  }

  /** Milliseconds, of the key `startTimeout`. */
  get startTimeout(): number | undefined {
    return this.#current.file.startTimeout;
  }

  /** Takes a new text, or keeps what is there when it is invalid. Synchronous up to the listener's return. */
  reload(text: string): ReloadResult {
    const loaded = loadMeshYaml(text, this.origin, loadOptions(this.#options, this.#current));
    if (!loaded.ok) {
      const [first] = loaded.errors;
      this.#problem = first === undefined ? 'the file is invalid' : describeProblem(first);
      return loaded;
    }
    const changed = changedResources(this.#current.resources, loaded.resources);
    this.#problem = undefined;
    this.#current = loaded;
    if (changed.length > 0) {
      this.#adopt(loaded);
      const listener = this.#listener;
      if (listener !== undefined && !this.#closed) this.#lane.run(() => listener(changed));
    }
    return { ok: true, changed };
  }

  get<K extends ResourceKind>(kind: K, name: string): ResourceState<ResourceTypes[K]> {
    const found = this.#entries.get(kind)?.get(name)?.state;
    return (found ?? { status: 'failed', reason: `${this.origin} has no ${kind} "${name}"` }) as ResourceState<ResourceTypes[K]>;
  }

  /** All of the file: there is one source, whatever the name. */
  scopes(): ResourceState<readonly ResourceTypes['scoped-routes'][]> {
    const { resources } = this.#current;
    return { status: 'present', value: [...resources['scoped-routes'].values()], version: String(this.#generation) };
  }

  /** Everything is there anyway. */
  want(_keys: readonly ResourceKey[]): void {}

  onChange(listener: (changes?: Changes) => void): void {
    this.#listener = listener;
  }

  listeners(): readonly string[] {
    return [...this.#current.resources.listener.keys()];
  }

  /** A host with a port serves only that port, one without serves all. */
  candidates(authority: string): readonly string[] {
    const { listener } = this.#current.resources;
    const { host } = splitAuthority(authority);
    const names = host === authority ? [host] : [authority, host];
    return names.filter((name) => listener.get(name)?.api !== undefined);
  }

  inboundListener(host: string, port: number): string | undefined {
    const { listener } = this.#current.resources;
    return [inboundName(host, port), inboundName(undefined, port)].find((name) => listener.has(name));
  }

  describe(): SourceDescription {
    const resources: ResourceDescription[] = [];
    for (const kind of KINDS) {
      for (const [name, { state, updatedAt }] of this.#entries.get(kind) ?? []) {
        const version = state.status === 'present' ? state.version : '';
        resources.push({ typeUrl: TYPE_URLS[kind], name, version, status: 'ACKED', error: undefined, updatedAt });
      }
    }
    return { name: this.name, connected: !this.#closed, problem: this.#problem, resources, unsupported: this.#current.unsupported };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#watch?.close();
    this.#listener = undefined;
    return Promise.resolve();
  }

  /** States keep their identity as long as their value does. */
  #adopt(loaded: LoadedMeshYaml): void {
    this.#generation++;
    const version = String(this.#generation);
    const updatedAt = this.#options.clock.wallTime();
    for (const kind of KINDS) {
      const entries = this.#entries.get(kind) ?? new Map<string, Entry>();
      const values: ReadonlyMap<string, unknown> = loaded.resources[kind];
      for (const name of entries.keys()) if (!values.has(name)) entries.delete(name);
      for (const [name, value] of values) {
        if (entries.get(name)?.value === value) continue;
        entries.set(name, { value, state: Object.freeze({ status: 'present', value, version }), updatedAt });
      }
    }
  }

  #follow(path: string, text: string): void {
    const { clock, log } = this.#options;
    this.#watch = new FileWatch(path, text, clock, {
      onText: (next, noticedAt) => {
        const result = this.reload(next);
        const ms = Math.round((clock.now() - noticedAt) * 10) / 10;
        if (result.ok) log.info(`reloaded ${this.origin} in ${ms} ms, changed: ${summarizeChanges(result.changed)}`);
        else
          log.warn(
            `${this.origin} is invalid, the last good configuration stays:\n${result.errors.map((problem) => printProblem(next, problem)).join('\n')}`,
          );
      },
      onProblem: (error) => log.warn(`${this.origin} cannot be read, the last good configuration stays: ${error.message}`),
    });
  }
}

function loadOptions(
  options: MeshYamlOptions,
  previous: LoadedMeshYaml | undefined,
): { certificates?: CertificateStrategy; previous: LoadedMeshYaml | undefined } {
  return options.certificates === undefined ? { previous } : { certificates: options.certificates, previous };
}
