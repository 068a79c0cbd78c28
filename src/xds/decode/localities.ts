/** What must hold for the localities of an assignment as a whole (gRPC rule 37; Envoy L-3). */
import type { LocalityConfig } from '../../config/endpoints.ts';
import { ConfigProblem } from '../../config/resource.ts';

const MAX_UINT32 = 0xffff_ffff;

/** Rule 37: sums of weights, and no gap between priorities; in their order. */
export function checkedLocalities(localities: LocalityConfig[]): LocalityConfig[] {
  // Weights are 32 bits: one alone cannot be too much.
  if (localities.length === 1 && localities[0]?.priority === 0) return localities;
  const sums = new Map<number, number>();
  for (const { priority, weight } of localities) {
    const sum = (sums.get(priority) ?? 0) + (weight ?? 0);
    if (sum > MAX_UINT32)
      throw new ConfigProblem('endpoints', `the weights of the localities of priority ${priority} add up to more than 4294967295`);
    sums.set(priority, sum);
  }
  for (let priority = 0; priority < sums.size; priority++) {
    if (!sums.has(priority)) throw new ConfigProblem('endpoints', `there is no locality of priority ${priority}, but of higher ones`);
  }
  return localities.toSorted((a, b) => a.priority - b.priority);
}

/** Localities are few, and every assignment names them. */
const names = new Map<string, string>();
const MAX_NAMES = 1000;

/** An equal text that is kept once. */
export function sharedName(locality: string): string {
  const known = names.get(locality);
  if (known !== undefined) return known;
  if (names.size >= MAX_NAMES) names.clear();
  names.set(locality, locality);
  return locality;
}
