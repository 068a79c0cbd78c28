/** Observers are told when calls and attempts start and end; they change nothing, and one that throws harms nobody. */
import type { Attempt, Call } from './call.ts';

export interface Observer {
  onCallStart?(call: Call): void;
  onCallEnd?(call: Call): void;
  onAttemptStart?(attempt: Attempt): void;
  onAttemptEnd?(attempt: Attempt): void;
}

type Of<E extends keyof Observer> = Required<Pick<Observer, E>>;

/** Those of `observers` that want an event. */
function those<E extends keyof Observer>(observers: readonly Observer[], event: E): readonly Of<E>[] {
  return observers.filter((observer) => observer[event] !== undefined) as Of<E>[];
}

/** Calls between start and end, of all targets that share it. */
export class InFlight {
  count = 0;
  readonly #onNone: () => void;

  /** `onNone`: called when the last one has ended. */
  constructor(onNone: () => void) {
    this.#onNone = onNone;
  }

  ended(): void {
    if (--this.count === 0) this.#onNone();
  }
}

/** Observers of one target, sorted by event once, so that an event nobody wants costs a length check. */
export class ObserverSet {
  static readonly none = new ObserverSet([]);
  /** Where exceptions of observers go; set once by `mesh.ts`. */
  static report: (error: unknown) => void = () => undefined;

  readonly #inFlight: InFlight;
  readonly #callStart: readonly Of<'onCallStart'>[];
  readonly #callEnd: readonly Of<'onCallEnd'>[];
  readonly #attemptStart: readonly Of<'onAttemptStart'>[];
  readonly #attemptEnd: readonly Of<'onAttemptEnd'>[];

  constructor(observers: readonly Observer[], inFlight = new InFlight(() => undefined)) {
    this.#inFlight = inFlight;
    this.#callStart = those(observers, 'onCallStart');
    this.#callEnd = those(observers, 'onCallEnd');
    this.#attemptStart = those(observers, 'onAttemptStart');
    this.#attemptEnd = those(observers, 'onAttemptEnd');
  }

  callStart(call: Call): void {
    this.#inFlight.count++;
    const observers = this.#callStart;
    for (let i = 0; i < observers.length; i++) {
      try {
        (observers[i] as Of<'onCallStart'>).onCallStart(call);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
  }

  callEnd(call: Call): void {
    const observers = this.#callEnd;
    for (let i = 0; i < observers.length; i++) {
      try {
        (observers[i] as Of<'onCallEnd'>).onCallEnd(call);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
    this.#inFlight.ended();
  }

  attemptStart(attempt: Attempt): void {
    const observers = this.#attemptStart;
    for (let i = 0; i < observers.length; i++) {
      try {
        (observers[i] as Of<'onAttemptStart'>).onAttemptStart(attempt);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
  }

  attemptEnd(attempt: Attempt): void {
    const observers = this.#attemptEnd;
    for (let i = 0; i < observers.length; i++) {
      try {
        (observers[i] as Of<'onAttemptEnd'>).onAttemptEnd(attempt);
      } catch (error) {
        ObserverSet.report(error);
      }
    }
  }
}
