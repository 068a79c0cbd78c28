/** Ownership: a tree of things that close. Closing a scope closes its children in reverse order of arrival. */

export interface Closable {
  close(): void | Promise<void>;
}

export class Scope implements Closable {
  readonly #children: Closable[] = [];
  #closed = false;

  get closed(): boolean {
    return this.#closed;
  }

  /** Takes ownership of `child` and returns it. A closed scope closes it at once. */
  own<T extends Closable>(child: T): T {
    if (this.#closed) void child.close();
    else this.#children.push(child);
    return child;
  }

  /** Gives ownership back, for a child that was closed early. */
  release(child: Closable): void {
    const index = this.#children.indexOf(child);
    if (index >= 0) this.#children.splice(index, 1);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const errors: unknown[] = [];
    for (let child = this.#children.pop(); child !== undefined; child = this.#children.pop()) {
      try {
        await child.close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'several things failed to close');
  }
}
