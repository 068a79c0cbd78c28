/** Observers are told when calls and attempts start and end; they change nothing, and one that throws harms nobody. */
import type { Attempt, Call } from './call.ts';

export interface Observer {
  onCallStart?(call: Call): void;
  onCallEnd?(call: Call): void;
  onAttemptStart?(attempt: Attempt): void;
  onAttemptEnd?(attempt: Attempt): void;
}

/** Observers of one target, sorted by event once, so that an event nobody wants costs a length check. */
export class ObserverSet {
  static readonly none = new ObserverSet([]);
  /** Where exceptions of observers go; set once by `mesh.ts`. */
  static report: (error: unknown) => void = () => undefined;

  readonly #callStart: readonly Observer[];
  readonly #callEnd: readonly Observer[];
  readonly #attemptStart: readonly Observer[];
  readonly #attemptEnd: readonly Observer[];

  constructor(observers: readonly Observer[]) {
    this.#callStart = observers.filter((o) => o.onCallStart !== undefined);
    this.#callEnd = observers.filter((o) => o.onCallEnd !== undefined);
    this.#attemptStart = observers.filter((o) => o.onAttemptStart !== undefined);
    this.#attemptEnd = observers.filter((o) => o.onAttemptEnd !== undefined);
  }

  callStart(call: Call): void {
    for (let i = 0; i < this.#callStart.length; i++) {
      try {
        this.#callStart[i]?.onCallStart?.(call);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
  }

  callEnd(call: Call): void {
    for (let i = 0; i < this.#callEnd.length; i++) {
      try {
        this.#callEnd[i]?.onCallEnd?.(call);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
  }

  attemptStart(attempt: Attempt): void {
    for (let i = 0; i < this.#attemptStart.length; i++) {
      try {
        this.#attemptStart[i]?.onAttemptStart?.(attempt);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
  }

  attemptEnd(attempt: Attempt): void {
    for (let i = 0; i < this.#attemptEnd.length; i++) {
      try {
        this.#attemptEnd[i]?.onAttemptEnd?.(attempt);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
  }
}
