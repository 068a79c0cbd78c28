/** Chance as an argument. Tests use `testing/seeded-random.ts`. */

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

export const realRandom: Random = { next: () => Math.random() };
