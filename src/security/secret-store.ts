/**
 * Cells that hold the current certificate or trust anchors, whatever fills them (a file watcher, a resource, SDS later).
 * A cell keeps its last good value: a failed refresh only notes the problem.
 */
import type { Parsed } from './material.ts';

export class Secret<T> {
  #value: T | undefined = undefined;
  #problem: string;
  #generation = 0;
  readonly #listeners = new Set<() => void>();

  /** `problem`: why there is no value yet. */
  constructor(problem: string) {
    this.#problem = problem;
  }

  static of<T>(parsed: Parsed<T>): Secret<T> {
    const secret = new Secret<T>('');
    secret.offer(parsed);
    return secret;
  }

  get value(): T | undefined {
    return this.#value;
  }

  /** Grows with every new value. */
  get generation(): number {
    return this.#generation;
  }

  /** The last refresh's trouble, even while an older value is kept; empty when all is well. */
  get problem(): string {
    return this.#problem;
  }

  /** Takes a new value, or notes why there is none. Listeners hear of new values only. */
  offer(parsed: Parsed<T>): void {
    if (!parsed.ok) {
      this.#problem = parsed.problem;
      return;
    }
    this.#problem = '';
    this.#value = parsed.value;
    this.#generation++;
    // A copy: a listener may subscribe again.
    const listeners = Array.from(this.#listeners);
    for (const listener of listeners) listener();
  }

  /** There is no value any more, and `problem` says why: what uses it must stop (fail_on_data_errors, gRFC A88). */
  clear(problem: string): void {
    this.#problem = problem;
    if (this.#value === undefined) return;
    this.#value = undefined;
    this.#generation++;
    for (const listener of Array.from(this.#listeners)) listener();
  }

  /** An unchanged value was read again after trouble. */
  confirm(): void {
    this.#problem = '';
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
