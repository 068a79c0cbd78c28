/**
 * Scoped routes: a key is built of headers of the request, and the scope of that key has the route table (Envoy X-91). Managers without
 * scopes have their table directly and pay nothing.
 */
import type { ScopeFragmentConfig } from '../config/scoped-routes.ts';
import type { RequestHead } from '../core/call.ts';
import type { Random } from '../core/random.ts';
import { firstHeaderValue, headerReader } from '../matching/header.ts';
import type { Matchable, RouteMatcher } from './route-table.ts';

/** What one fragment takes of a request; undefined: there is nothing to take, and so no scope. */
export type FragmentReader = (head: RequestHead) => string | undefined;

function elementAt(value: string, separator: string, index: number): string | undefined {
  let start = 0;
  for (let skipped = 0; skipped < index; skipped++) {
    const at = value.indexOf(separator, start);
    if (at < 0) return undefined;
    start = at + separator.length;
  }
  const end = value.indexOf(separator, start);
  return end < 0 ? value.slice(start) : value.slice(start, end);
}

/** The value of the first element that is `key`, or begins with `key` and `between`. A key alone has the empty value. */
function valueOfKey(value: string, separator: string, between: string, key: string): string | undefined {
  for (let start = 0; ;) {
    const found = separator === '' ? -1 : value.indexOf(separator, start);
    const end = found < 0 ? value.length : found;
    const split = value.indexOf(between, start);
    const keyEnd = split < 0 || split + between.length > end ? end : split;
    if (keyEnd - start === key.length && value.startsWith(key, start))
      return keyEnd === end ? '' : value.slice(keyEnd + between.length, end);
    if (found < 0) return undefined;
    start = found + separator.length;
  }
}

export function fragmentReader({ header, separator, take }: ScopeFragmentConfig): FragmentReader {
  const whole: FragmentReader =
    header.startsWith(':') || header === 'host' ? headerReader(header) : (head) => firstHeaderValue(head, header);
  if (take.kind === 'key') {
    return (head) => {
      const value = whole(head);
      return value === undefined ? undefined : valueOfKey(value, separator, take.separator, take.key);
    };
  }
  if (separator === '') return take.index === 0 ? whole : () => undefined;
  return (head) => {
    const value = whole(head);
    return value === undefined ? undefined : elementAt(value, separator, take.index);
  };
}

class Node<L> {
  readonly next = new Map<string, Node<L>>();
  leaf: L | undefined = undefined;
}

/** What a scope leads to: its routes, or the target of every call while they are not there. */
export type ScopeContent<T> = { readonly table: RouteMatcher<T> } | { readonly target: T };

export interface ScopeEntry<T> {
  readonly key: readonly string[];
  readonly content: ScopeContent<T>;
}

export class ScopedTable<T> implements RouteMatcher<T> {
  readonly #readers: readonly FragmentReader[];
  readonly #root = new Node<ScopeContent<T>>();
  readonly #tables = new Set<RouteMatcher<T>>();

  /** A key of another length than the builder's matches nothing; of two scopes with one key the first counts. */
  constructor(builder: readonly ScopeFragmentConfig[], scopes: readonly ScopeEntry<T>[]) {
    this.#readers = builder.map(fragmentReader);
    for (const { key, content } of scopes) {
      if ('table' in content) this.#tables.add(content.table);
      if (key.length !== this.#readers.length) continue;
      let node = this.#root;
      for (const part of key) {
        let next = node.next.get(part);
        if (next === undefined) node.next.set(part, (next = new Node<ScopeContent<T>>()));
        node = next;
      }
      node.leaf ??= content;
    }
  }

  match(call: Matchable, random: Random): T | undefined {
    const content = this.#scope(call.head);
    if (content === undefined) return undefined;
    return 'target' in content ? content.target : content.table.match(call, random);
  }

  forget(clusters?: ReadonlySet<string>): void {
    for (const table of this.#tables) table.forget(clusters);
  }

  #scope(head: RequestHead): ScopeContent<T> | undefined {
    const readers = this.#readers;
    let node = this.#root;
    for (let i = 0; i < readers.length; i++) {
      const part = (readers[i] as FragmentReader)(head);
      const next = part === undefined ? undefined : node.next.get(part);
      if (next === undefined) return undefined;
      node = next;
    }
    return node.leaf;
  }
}
