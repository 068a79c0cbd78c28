/**
 * One file, text or set of resources that some nodes are served: the last good content of it, its catalogues by node, and the watch that
 * follows the file. Who is served which view is the control plane's business.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ResourceKey } from '../config/resource.ts';
import type { Clock } from '../core/clock.ts';
import { MeshError } from '../core/errors.ts';
import { FileWatch } from '../sources/file-watch.ts';
import type { FileProblem } from '../sources/mesh-yaml/problem.ts';
import { printProblem } from '../sources/mesh-yaml/problem.ts';
import type { ResourceJson } from '../sources/xds-snapshot.ts';
import type { Catalogue, Content } from './catalogue.ts';
import { ContentCatalogue } from './catalogue.ts';
import type { Loaded } from './content.ts';
import { contentOfJson, differences, loadContent } from './content.ts';
import type { Encoder } from './encode/resource.ts';

/** Exactly one of the three. */
export interface ViewOptions {
  /** Path of a `mesh.yaml` or of a snapshot file. */
  readonly file?: string;
  /** Text of either. */
  readonly text?: string;
  /** Resources of any type, in proto JSON with `@type`, perhaps in the wrapper `Resource`. */
  readonly resources?: readonly ResourceJson[];
}

export type Update =
  | {
      readonly ok: true;
      readonly changed: readonly ResourceKey[];
      /** From the first sign of the save to the last byte pushed. */ readonly ms: number;
      /** Resources of types that inmesh itself does not read; default 0. */
      readonly others?: number;
      /** Name of the file. */
      readonly origin?: string;
    }
  | { readonly ok: false; readonly errors: readonly FileProblem[]; readonly text: string; readonly origin?: string };

export interface ViewEvents {
  /** The content has been replaced. */
  onChange(): void;
  onUpdate(update: Update): void;
  onProblem(error: Error): void;
  /** Why a content that is valid by itself cannot be served. */
  refuse(loaded: Loaded, origin: string): FileProblem | undefined;
}

interface Shelf {
  current: ContentCatalogue;
  previous: ContentCatalogue | undefined;
}

export class View {
  readonly origin: string;
  readonly #clock: Clock;
  readonly #encoder: Encoder;
  readonly #events: ViewEvents;
  readonly #nodes = new Map<string, Shelf>();
  readonly #file: string | undefined;
  readonly #text: string;
  #common: Shelf;
  #loaded: Loaded;
  #watch: FileWatch | undefined;

  private constructor(options: ViewOptions, text: string, loaded: Loaded, clock: Clock, encoder: Encoder, events: ViewEvents) {
    this.origin = options.file ?? 'mesh.yaml';
    this.#file = options.text === undefined && options.resources === undefined ? options.file : undefined;
    this.#text = text;
    this.#clock = clock;
    this.#encoder = encoder;
    this.#events = events;
    this.#loaded = loaded;
    this.#common = { current: ContentCatalogue.of(loaded.common, encoder), previous: undefined };
    this.#shelve(loaded);
  }

  /** Throws `ERR_MESH_CONFIG` with every problem of the file. */
  static open(options: ViewOptions, clock: Clock, encoder: Encoder, events: ViewEvents): View {
    const given = (['file', 'text', 'resources'] as const).filter((key) => options[key] !== undefined);
    if (given.length === 0) throw new MeshError('ERR_MESH_OPTION', 'a control plane needs a file, a text or resources');
    if (options.resources !== undefined) {
      const loaded = { common: contentOfJson(options.resources), nodes: new Map<string, Content>(), mesh: undefined };
      return new View(options, '', loaded, clock, encoder, events);
    }
    const origin = options.file ?? 'mesh.yaml';
    const text = options.text ?? readText(origin);
    const loaded = loadContent(text, origin, undefined);
    if (loaded.ok) return new View(options, text, loaded, clock, encoder, events);
    const count = loaded.errors.length === 1 ? 'one error' : `${loaded.errors.length} errors`;
    throw new MeshError(
      'ERR_MESH_CONFIG',
      `${origin} has ${count}:\n${loaded.errors.map((problem) => printProblem(text, problem)).join('\n')}`,
    );
  }

  get loaded(): Loaded {
    return this.#loaded;
  }

  catalogue(nodeId: string): Catalogue {
    return (this.#nodes.get(nodeId) ?? this.#common).current;
  }

  /** What the node was served before the last change; undefined: there was none. */
  previous(nodeId: string): Catalogue | undefined {
    return (this.#nodes.get(nodeId) ?? this.#common).previous;
  }

  /** The shortest time to live; undefined: everything is for ever. */
  get shortestTtlMs(): number | undefined {
    const contents = [this.#loaded.common, ...this.#loaded.nodes.values()];
    const ttls = contents.flatMap(({ raw }) => raw.flatMap(({ ttlMs }) => (ttlMs === undefined ? [] : [ttlMs])));
    return ttls.length === 0 ? undefined : Math.min(...ttls);
  }

  /** Follows the file, where there is one. */
  watch(): void {
    if (this.#file === undefined) return;
    this.#watch = new FileWatch(resolve(this.#file), this.#text, this.#clock, {
      onText: (next, noticedAt) => void this.update(next, noticedAt),
      onProblem: (error) => this.#events.onProblem(error),
    });
  }

  /** Serves another text, or keeps what is there when it is invalid. */
  update(text: string, noticedAt = this.#clock.now()): Update {
    const loaded = loadContent(text, this.origin, this.#loaded);
    if (!loaded.ok) return this.#report({ ok: false, errors: loaded.errors, text, origin: this.origin });
    const problem = this.#events.refuse(loaded, this.origin);
    if (problem !== undefined) return this.#report({ ok: false, errors: [problem], text, origin: this.origin });
    return this.#adopt(loaded, noticedAt);
  }

  /** Serves these resources; throws `ERR_MESH_CONFIG` for one that cannot be read. */
  replace(resources: readonly ResourceJson[], version: string | undefined): Update {
    return this.#adopt({ common: contentOfJson(resources, version), nodes: new Map(), mesh: undefined }, this.#clock.now());
  }

  close(): void {
    this.#watch?.close();
  }

  #adopt(loaded: Loaded, noticedAt: number): Update {
    const { changed, others } = differences(this.#loaded, loaded);
    this.#loaded = loaded;
    this.#shelve(loaded);
    this.#events.onChange();
    return this.#report({ ok: true, changed, others, ms: this.#clock.now() - noticedAt, origin: this.origin });
  }

  #report(update: Update): Update {
    this.#events.onUpdate(update);
    return update;
  }

  #shelve({ common, nodes }: Loaded): void {
    this.#put(this.#common, common);
    for (const id of this.#nodes.keys()) if (!nodes.has(id)) this.#nodes.delete(id);
    for (const [id, content] of nodes) {
      const shelf = this.#nodes.get(id);
      if (shelf !== undefined) this.#put(shelf, content);
      else this.#nodes.set(id, { current: ContentCatalogue.of(content, this.#encoder), previous: undefined });
    }
  }

  #put(shelf: Shelf, content: Content): void {
    const next = ContentCatalogue.of(content, this.#encoder, shelf.current);
    if (next === shelf.current) return;
    shelf.previous = shelf.current;
    shelf.current = next;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new MeshError('ERR_MESH_CONFIG', `cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
