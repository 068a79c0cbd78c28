/** When the last-good file is served from and when it is written: read at start, used while the control plane does not answer, kept up to date after. */
import type { Bootstrap } from '../config/bootstrap.ts';
import type { Alarm, Timer } from '../core/clock.ts';
import type { LastGoodDescription, ResourceKey, ResourceKind } from '../config/resource.ts';
import type { ResourceOwner, SavedResource } from './cache.ts';
import { LastGoodFile } from './last-good.ts';
import type { LastGoodOptions } from './last-good.ts';
import { EVERYTHING } from './names.ts';
import type { Space } from './space.ts';

/** A control plane that says nothing for so long is served without. One that refuses is not waited for at all. */
const SILENCE_MS = 500;

export interface LastGoodUse {
  readonly file: Omit<LastGoodOptions, 'current'>;
  readonly main: Space;
  readonly owner: (name: string) => ResourceOwner | undefined;
  readonly wildcard: ReadonlySet<ResourceKind>;
  readonly restored: (keys: readonly ResourceKey[]) => void;
}

export class LastGood implements Alarm {
  readonly #options: LastGoodUse;
  readonly #file: LastGoodFile;
  #timer: Timer | undefined;
  #phase: 'idle' | 'waiting' | 'in-use' | 'answered' = 'idle';

  constructor(options: LastGoodUse) {
    this.#options = options;
    const { cache } = options.main;
    this.#file = new LastGoodFile({ ...options.file, current: () => cache.present() });
  }

  /** Something was asked of the control plane. */
  asked(): void {
    if (this.#phase !== 'idle' || this.#file.size === 0) return;
    this.#phase = 'waiting';
    this.#timer = this.#options.file.clock.set(this, SILENCE_MS, true);
  }

  onAlarm(): void {
    this.#timer = undefined;
    if (this.#phase === 'waiting') this.#use(`no answer within ${SILENCE_MS} ms`);
  }

  /** A stream could not be opened, or ended without a response. */
  unreachable(space: Space): void {
    if (space !== this.#options.main || this.#file.size === 0) return;
    if (this.#phase === 'idle' || this.#phase === 'waiting') this.#use('the control plane is not reachable');
  }

  /** The control plane has answered: what it says counts, name by name. */
  answered(): void {
    if (this.#phase === 'answered') return;
    if (this.#phase === 'in-use')
      this.#options.file.log.info('the control plane answers; its configuration replaces the saved one', { path: this.#file.path });
    else this.#options.main.cache.useSaved(() => undefined);
    this.#phase = 'answered';
    this.#stop();
  }

  changed(): void {
    if (this.#phase === 'answered') this.#file.changed();
  }

  describe(): LastGoodDescription {
    const { path, savedAt } = this.#file;
    return { path, savedAt, inUse: this.#phase === 'in-use' };
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#file.close();
  }

  #use(reason: string): void {
    this.#phase = 'in-use';
    this.#stop();
    const { main, owner, wildcard, file, restored } = this.#options;
    file.log.warn('serving from the last-good file until the control plane answers', {
      path: this.#file.path,
      reason,
      savedAt: this.#file.savedAt,
      resources: this.#file.size,
    });
    const keys = [...main.cache.useSaved((kind, name) => this.#saved(kind, name))];
    for (const kind of new Set<ResourceKind>([...wildcard, 'scoped-routes'])) {
      for (const name of this.#file.names(kind)) {
        const of = owner(name);
        const key = of === undefined ? undefined : main.cache.addSaved(kind, name, of);
        if (key !== undefined) keys.push(key);
      }
    }
    if (keys.length > 0) restored(keys);
  }

  /** Where all of a type is asked for by one name, that is there when any of them is. */
  #saved(kind: ResourceKind, name: string): SavedResource | undefined {
    if (name !== EVERYTHING) return this.#file.get(kind, name);
    return this.#file.names(kind).length === 0 ? undefined : { raw: undefined, value: undefined, version: '' };
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#options.file.clock.clear(this.#timer);
    this.#timer = undefined;
  }
}

/** Whose configuration a file holds: that of a node, by these servers. */
export function identityOf(bootstrap: Bootstrap): string {
  return JSON.stringify([bootstrap.node.id, bootstrap.node.cluster, bootstrap.servers.map(({ uri }) => uri)]);
}
