/**
 * Tells when something moved under any of some files: watches their directories, and the parents of symbolic links on the way to them
 * (Kubernetes swaps the link `..data`, others a whole directory). Only a hint to read again; polling is its owner's affair.
 */
import { lstatSync, statSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import type { Closable } from '../core/scope.ts';

/** `rename`: something came, went or was moved; `change`: something was written. */
export type WatchEvent = 'rename' | 'change';

interface Watched {
  readonly inode: string;
  readonly watcher: FSWatcher;
}

export class DirectoryWatch implements Closable {
  readonly #paths: readonly string[];
  readonly #extra: readonly string[];
  readonly #onHint: (event: WatchEvent) => void;
  readonly #watched = new Map<string, Watched>();
  readonly #names = new Set<string>();
  #closed = false;

  /** `directories`: more of them to watch (`watched_directory`); there every event counts. */
  constructor(paths: readonly string[], directories: readonly string[], onHint: (event: WatchEvent) => void) {
    this.#paths = paths.map((path) => resolve(path));
    this.#extra = directories.map((path) => resolve(path));
    this.#onHint = onHint;
    this.refresh();
  }

  /** Starts watching directories that have come, or come anew, since the last time. Never throws. */
  refresh(): void {
    if (this.#closed) return;
    const wanted = new Set(this.#extra);
    for (const path of this.#paths) this.#collect(path, wanted);
    for (const [directory, watched] of this.#watched) {
      if (wanted.has(directory) && inodeOf(directory) === watched.inode) continue;
      watched.watcher.close();
      this.#watched.delete(directory);
    }
    for (const directory of wanted) if (!this.#watched.has(directory)) this.#watch(directory);
  }

  close(): void {
    this.#closed = true;
    for (const { watcher } of this.#watched.values()) watcher.close();
    this.#watched.clear();
  }

  #collect(file: string, into: Set<string>): void {
    into.add(dirname(file));
    this.#names.add(basename(file));
    for (let path = dirname(file); path !== dirname(path); path = dirname(path)) {
      if (!isLink(path)) continue;
      into.add(dirname(path));
      this.#names.add(basename(path));
    }
  }

  #watch(directory: string): void {
    const inode = inodeOf(directory);
    if (inode === '') return;
    const everything = this.#extra.includes(directory);
    try {
      const watcher = watch(directory, { persistent: false }, (event, name) => {
        // Hidden names beginning with two dots are how Kubernetes swaps a volume.
        if (everything || name === null || name.startsWith('..') || this.#names.has(name)) this.#onHint(event);
      });
      watcher.on('error', () => this.#forget(directory));
      this.#watched.set(directory, { inode, watcher });
    } catch {
      // No inotify watch left, or the directory went: polling still finds the change.
    }
  }

  #forget(directory: string): void {
    this.#watched.get(directory)?.watcher.close();
    this.#watched.delete(directory);
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

/** Empty when there is no such directory. */
function inodeOf(directory: string): string {
  try {
    const { dev, ino } = statSync(directory);
    return `${dev}:${ino}`;
  } catch {
    return '';
  }
}
