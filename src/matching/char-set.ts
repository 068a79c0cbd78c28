/** Sets of code points as sorted, disjoint, closed ranges: what the linearity proof of `simple-regex.ts` calculates with. */

export const MAX_CODE_POINT = 0x10_ffff;

/** Flat pairs `lo, hi, lo, hi, ...`. */
export type CharSet = readonly number[];

export const NO_CHARS: CharSet = [];

export function charSet(...ranges: readonly (readonly [lo: number, hi: number])[]): CharSet {
  const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
  const merged: number[] = [];
  for (const [lo, hi] of sorted) {
    const last = merged.length - 1;
    if (last >= 0 && lo <= (merged[last] ?? 0) + 1) merged[last] = Math.max(merged[last] ?? 0, hi);
    else merged.push(lo, hi);
  }
  return merged;
}

export function rangesOf(set: CharSet): [number, number][] {
  const ranges: [number, number][] = [];
  for (let i = 0; i + 1 < set.length; i += 2) ranges.push([set[i] ?? 0, set[i + 1] ?? 0]);
  return ranges;
}

export function union(a: CharSet, b: CharSet): CharSet {
  if (a.length === 0) return b;
  return b.length === 0 ? a : charSet(...rangesOf(a), ...rangesOf(b));
}

export function complement(set: CharSet): CharSet {
  const result: number[] = [];
  let next = 0;
  for (const [lo, hi] of rangesOf(set)) {
    if (lo > next) result.push(next, lo - 1);
    next = hi + 1;
  }
  if (next <= MAX_CODE_POINT) result.push(next, MAX_CODE_POINT);
  return result;
}

export function intersects(a: CharSet, b: CharSet): boolean {
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if ((a[i + 1] ?? 0) < (b[j] ?? 0)) i += 2;
    else if ((b[j + 1] ?? 0) < (a[i] ?? 0)) j += 2;
    else return true;
  }
  return false;
}
