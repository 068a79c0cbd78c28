/**
 * Tells of new contents of one file. Watches its directory, since editors and Kubernetes replace files instead of writing them; where the
 * system cannot watch, looks every second. Does not keep the process alive.
 */
import type { FSWatcher } from 'node:fs';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Alarm, Clock, Timer } from '../core/clock.ts';

/** A save is several events (truncate, write, rename): the file is read when it has been quiet for so long. */
const QUIET_MS = 4;
const POLL_MS = 1000;

export interface FileWatchEvents {
  /** New contents; `readAt` is monotonic time of the first event of the save. */
  onText(text: string, noticedAt: number): void;
  /** The file cannot be read, e.g. because it is gone; once until it can be read again. */
  onProblem(error: Error): void;
}

export class FileWatch implements Alarm {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #events: FileWatchEvents;
  #watcher: FSWatcher | undefined;
  #timer: Timer | undefined;
  #text: string;
  #noticedAt = 0;
  #reading = false;
  #again = false;
  #broken = false;
  #closed = false;

  /** `text` is what the owner has read already. */
  constructor(path: string, text: string, clock: Clock, events: FileWatchEvents) {
    this.#path = path;
    this.#text = text;
    this.#clock = clock;
    this.#events = events;
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, () => this.#notice(QUIET_MS));
      this.#watcher.on('error', () => this.#poll());
      // What was written between the owner's read and the watch.
      this.#notice(QUIET_MS);
    } catch {
      this.#poll();
    }
  }

  onAlarm(): void {
    this.#timer = undefined;
    void this.#read();
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    if (this.#timer !== undefined) this.#clock.clear(this.#timer);
    this.#timer = undefined;
  }

  #notice(delayMs: number): void {
    if (this.#closed) return;
    if (this.#timer === undefined) this.#noticedAt = this.#clock.now();
    else this.#clock.clear(this.#timer);
    this.#timer = this.#clock.set(this, delayMs, true);
  }

  #poll(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#notice(POLL_MS);
  }

  async #read(): Promise<void> {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    const noticedAt = this.#noticedAt;
    try {
      const text = await readFile(this.#path, 'utf8');
      this.#broken = false;
      if (!this.#closed && text !== this.#text) {
        this.#text = text;
        this.#events.onText(text, noticedAt);
      }
    } catch (error) {
      if (!this.#broken && !this.#closed) this.#events.onProblem(error instanceof Error ? error : new Error(String(error)));
      this.#broken = true;
    } finally {
      this.#reading = false;
    }
    if (this.#closed) return;
    if (this.#again) {
      this.#again = false;
      this.#notice(QUIET_MS);
    } else if (this.#watcher === undefined) {
      this.#notice(POLL_MS);
    }
  }
}
