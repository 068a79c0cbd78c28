/** A catalogue that pretends for some types: nothing is configured, or what was before the last change still is. */
import type { Catalogue, Receiver, Served } from '../catalogue.ts';

export type Pretence = 'empty' | 'older-version';

export class Overlay {
  /** By type URL; `undefined`: all. */
  readonly #types = new Map<string | undefined, Pretence>();

  set(typeUrl: string | undefined, pretence: Pretence | undefined): void {
    if (pretence === undefined) this.#types.delete(typeUrl);
    else this.#types.set(typeUrl, pretence);
  }

  /** `previous`: what was served before the last change; undefined: there was no change. */
  over(current: Catalogue, previous: Catalogue | undefined): Catalogue {
    if (this.#types.size === 0) return current;
    const pretence = (typeUrl: string): Pretence | undefined => this.#types.get(typeUrl) ?? this.#types.get(undefined);
    const older = previous ?? current;
    return {
      versioned: false,
      version(typeUrl) {
        if (pretence(typeUrl) === undefined) return current.version(typeUrl);
        // A control plane that was started anew counts anew.
        return pretence(typeUrl) === 'older-version' && previous !== undefined ? previous.version(typeUrl) : '0';
      },
      names(typeUrl) {
        if (pretence(typeUrl) === 'empty') return [];
        return (pretence(typeUrl) === undefined ? current : older).names(typeUrl);
      },
      get(typeUrl, name, receiver: Receiver): Served | undefined {
        if (pretence(typeUrl) === 'empty') return undefined;
        return (pretence(typeUrl) === undefined ? current : older).get(typeUrl, name, receiver);
      },
    };
  }
}
