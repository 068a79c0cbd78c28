/**
 * Finds the first matching route without asking every one (design §3.16, rule 6): exact paths in a map, prefixes and literal beginnings
 * of regexes in a radix tree, and routes that share a place by the value of a header they want. Order of first match is kept, since
 * every place lists its routes in order and the lowest index wins; a property test shows it equal to a linear search.
 */
import type { RequestHead } from '../core/call.ts';
import { headerReader } from '../matching/header.ts';
import type { CompiledRoute, Probe } from './compiled-route.ts';

/** Fewer routes than this in one place are asked one by one. */
const MIN_FOR_HEADERS = 8;

export const NONE = Number.POSITIVE_INFINITY;

/** Index of the first route of an ordered list that accepts, if it is below `best`; else `best`. */
function firstOf(routes: readonly CompiledRoute[], probe: Probe, best: number): number {
  for (let i = 0; i < routes.length; i++) {
    const route = routes[i];
    if (route === undefined || route.index >= best) return best;
    if (route.accepts(probe)) return route.index;
  }
  return best;
}

/** The header that a route wants to have exactly one value, as an index key. */
function exactHeaders(route: CompiledRoute): readonly { readonly name: string; readonly value: string }[] {
  return route.config.match.headers.flatMap(({ name, match, invert, treatMissingAsEmpty }) =>
    match.kind === 'string' && match.matcher.kind === 'exact' && !match.matcher.ignoreCase && !invert && !treatMissingAsEmpty
      ? [{ name, value: match.matcher.value }]
      : [],
  );
}

class HeaderIndex {
  readonly #read: (head: RequestHead) => string | undefined;
  readonly #byValue: ReadonlyMap<string, readonly CompiledRoute[]>;

  constructor(name: string, byValue: ReadonlyMap<string, readonly CompiledRoute[]>) {
    this.#read = headerReader(name);
    this.#byValue = byValue;
  }

  first(probe: Probe, best: number): number {
    const value = this.#read(probe.head);
    const routes = value === undefined ? undefined : this.#byValue.get(value);
    return routes === undefined ? best : firstOf(routes, probe, best);
  }
}

/** Routes that the same path, or the same beginning of one, leads to. */
class Place {
  readonly #routes: CompiledRoute[] = [];
  #plain: readonly CompiledRoute[] = [];
  #byHeader: readonly HeaderIndex[] = [];

  add(route: CompiledRoute): void {
    // Nothing gets past a route that takes everything here.
    if (this.#routes.at(-1)?.unconditional !== true) this.#routes.push(route);
  }

  seal(): void {
    const routes = this.#routes;
    if (routes.length < MIN_FOR_HEADERS) {
      this.#plain = routes;
      return;
    }
    const values = new Map<string, Set<string>>();
    for (const route of routes) {
      for (const { name, value } of exactHeaders(route)) {
        const seen = values.get(name) ?? new Set<string>();
        values.set(name, seen.add(value));
      }
    }
    const plain: CompiledRoute[] = [];
    const byName = new Map<string, Map<string, CompiledRoute[]>>();
    for (const route of routes) {
      // The header with most values tells most routes apart.
      const [best] = exactHeaders(route).toSorted((a, b) => (values.get(b.name)?.size ?? 0) - (values.get(a.name)?.size ?? 0));
      if (best === undefined || (values.get(best.name)?.size ?? 0) < 2) {
        plain.push(route);
        continue;
      }
      const byValue = byName.get(best.name) ?? new Map<string, CompiledRoute[]>();
      byName.set(best.name, byValue);
      const same = byValue.get(best.value);
      if (same === undefined) byValue.set(best.value, [route]);
      else same.push(route);
    }
    this.#plain = plain;
    this.#byHeader = Array.from(byName, ([name, byValue]) => new HeaderIndex(name, byValue));
  }

  first(probe: Probe, best: number): number {
    let lowest = firstOf(this.#plain, probe, best);
    for (let i = 0; i < this.#byHeader.length; i++) lowest = this.#byHeader[i]?.first(probe, lowest) ?? lowest;
    return lowest;
  }
}

/** A node of the radix tree; `label` is the text between its parent and it. */
class Node {
  label: string;
  place: Place | undefined = undefined;
  children: Map<number, Node> | undefined = undefined;
  /** Lowest index at or below this node. */
  lowest = NONE;

  constructor(label: string) {
    this.label = label;
  }

  /** The node for `text` below this one, made if need be. */
  reach(text: string, index: number): Node {
    this.lowest = Math.min(this.lowest, index);
    if (text === '') return this;
    this.children ??= new Map();
    const code = text.charCodeAt(0);
    const child = this.children.get(code);
    if (child === undefined) {
      const made = new Node(text);
      made.lowest = index;
      this.children.set(code, made);
      return made;
    }
    let shared = 1;
    while (shared < child.label.length && shared < text.length && child.label.charCodeAt(shared) === text.charCodeAt(shared)) shared++;
    if (shared === child.label.length) return child.reach(text.slice(shared), index);
    const middle = new Node(text.slice(0, shared));
    middle.children = new Map([[child.label.charCodeAt(shared), child]]);
    middle.lowest = child.lowest;
    child.label = child.label.slice(shared);
    this.children.set(code, middle);
    return middle.reach(text.slice(shared), index);
  }
}

/** Places for paths of one kind of case. */
class PathIndex {
  readonly #exact = new Map<string, Place>();
  readonly #root = new Node('');
  readonly #places = new Set<Place>();

  get empty(): boolean {
    return this.#places.size === 0;
  }

  add(route: CompiledRoute): void {
    let place: Place;
    if (route.kind === 'exact') {
      place = this.#exact.get(route.key) ?? new Place();
      this.#exact.set(route.key, place);
    } else {
      const node = this.#root.reach(route.key, route.index);
      place = node.place ??= new Place();
    }
    this.#places.add(place);
    place.add(route);
  }

  seal(): void {
    for (const place of this.#places) place.seal();
  }

  first(path: string, probe: Probe, best: number): number {
    // A path is a new string each time, so that its hash costs as much as the look-up.
    const exact = this.#exact.size === 0 ? undefined : this.#exact.get(path);
    let lowest = exact === undefined ? best : exact.first(probe, best);
    let node = this.#root;
    let at = 0;
    for (;;) {
      if (node.place !== undefined) lowest = node.place.first(probe, lowest);
      if (at >= path.length || node.children === undefined) return lowest;
      const child = node.children.get(path.charCodeAt(at));
      if (child === undefined || child.lowest >= lowest || !path.startsWith(child.label, at)) return lowest;
      at += child.label.length;
      node = child;
    }
  }
}

export class RouteIndex {
  readonly #sensitive = new PathIndex();
  readonly #insensitive = new PathIndex();

  constructor(routes: readonly CompiledRoute[]) {
    for (const route of routes) (route.caseSensitive ? this.#sensitive : this.#insensitive).add(route);
    this.#sensitive.seal();
    this.#insensitive.seal();
  }

  /** Index of the first route that matches; `NONE` when none does. */
  first(probe: Probe): number {
    const lowest = this.#sensitive.first(probe.path, probe, NONE);
    return this.#insensitive.empty ? lowest : this.#insensitive.first(probe.lowerPath, probe, lowest);
  }
}
