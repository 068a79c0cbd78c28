/** Runs tasks in order and never re-entrantly: a task queued by a running task runs after it, in the same turn. */

export class Lane {
  readonly #queue: (() => void)[] = [];
  #running = false;

  run(task: () => void): void {
    this.#queue.push(task);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next();
    } finally {
      this.#running = false;
    }
  }
}
