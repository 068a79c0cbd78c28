/** One resource while it is being decoded: what it is, what decoders may ask of the outside, and what was noticed on the way. */
import type { AnyMessage, ParseContext } from '../../core/extension.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { ResourceKind } from '../../config/resource.ts';
import { ProtoProblem, unpack } from '../../proto/any.ts';
import type { ConfigSource } from '../../proto/gen/envoy/config/core/v3/config_source_pb.js';
import type { DecodeContext } from '../resource-type.ts';
import { configSource } from './config-source.ts';

export class Scope {
  readonly kind: ResourceKind;
  readonly context: DecodeContext;
  /** Set as soon as it is read. */
  name = '';
  /** Fields without effect that were recorded. */
  readonly noted = new Set<string>();

  constructor(kind: ResourceKind, context: DecodeContext) {
    this.kind = kind;
    this.context = context;
  }

  /** Records a field that has no effect, once per resource whatever the number of its places. */
  unsupported(path: string): void {
    this.note(withoutPlaces(path));
  }

  /** The same for a path without places. */
  note(field: string): void {
    if (this.noted.has(field)) return;
    this.noted.add(field);
    this.context.unsupported(this.kind, field, this.name);
  }

  /** Decodes a message; a `ConfigProblem` at `path` when that fails. */
  unpack<T>(packed: AnyMessage, path: string): T {
    try {
      return unpack<T>(packed);
    } catch (error) {
      if (error instanceof ProtoProblem) throw new ConfigProblem(path, error.message);
      throw error;
    }
  }

  /** Runs a factory's `parse`; its problems get the path where its configuration lies. */
  parse<C>(path: string, parse: (context: ParseContext) => C): C {
    try {
      return parse({
        path,
        unpack: <T>(packed: AnyMessage): T => this.unpack<T>(packed, path),
        configSource: (message, field) => configSource(message as ConfigSource | undefined, join(path, field), this),
        unsupported: (field) => this.unsupported(field.startsWith(path) ? field : join(path, field)),
      });
    } catch (error) {
      if (!(error instanceof ConfigProblem) || error.field.startsWith(path)) throw error;
      throw new ConfigProblem(join(path, error.field), error.reason);
    }
  }
}

/** What stands in brackets left out. Names of the resource are part of it, so no expression that looks for a bracket's end from each begin. */
function withoutPlaces(path: string): string {
  let kept = '';
  let from = 0;
  for (;;) {
    const begin = path.indexOf('[', from);
    const end = begin < 0 ? -1 : path.indexOf(']', begin);
    if (end < 0) return kept + path.slice(from);
    kept += `${path.slice(from, begin)}[]`;
    from = end + 1;
  }
}

/** `a` and `b` as `a.b`; an empty part leaves no dot. */
export function join(path: string, field: string): string {
  if (path === '') return field;
  return field === '' ? path : `${path}.${field}`;
}
