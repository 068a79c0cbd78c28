/** What a control plane can be told to do wrong, as data: steps with when, on what and how. Read from YAML by `parse.ts`, done by `conduct.ts`. */
import type { ResourceKind } from '../../config/resource.ts';
import { TYPE_URLS } from '../../config/resource.ts';
import { MeshError } from '../../core/errors.ts';
import type { GrpcStatus } from '../../core/status.ts';

export interface DeedSpec {
  /** `twist`: changes responses that are due. `act`: happens by itself, when its time has come. */
  readonly kind: 'twist' | 'act';
  readonly doc: string;
  /** Keys of a step that only some deeds know. */
  readonly keys: readonly StepKey[];
}

type StepKey = 'for' | 'by' | 'repair' | 'code' | 'message' | 'bytes' | 'copies';

/** Every deed there is. The reference page has a row for each. */
export const DEEDS = {
  'stale-nonce': { kind: 'twist', doc: 'The response carries the nonce of the one before it.', keys: [] },
  duplicate: { kind: 'twist', doc: 'The first resource stands in the response twice.', keys: ['repair'] },
  junk: { kind: 'twist', doc: 'Every second resource, beginning with the first, is bytes that nobody can decode.', keys: ['repair'] },
  'wrong-type': { kind: 'twist', doc: 'The first resource says that it is of another type than the response.', keys: ['repair'] },
  'unknown-type': { kind: 'twist', doc: 'A response of a type that does not exist comes first.', keys: [] },
  unasked: { kind: 'twist', doc: 'Resources that were not asked for come along.', keys: [] },
  errors: {
    kind: 'twist',
    doc: 'Instead of the resources, an error for each (xRFC TP3), with `code` (default `PERMISSION_DENIED`) and `message`.',
    keys: ['code', 'message', 'repair'],
  },
  repeat: {
    kind: 'twist',
    doc: 'The response is sent again at once, `copies` times (default 1), each with a nonce of its own.',
    keys: ['copies'],
  },
  slow: { kind: 'twist', doc: 'The response comes later, by `by` (default 1s).', keys: ['by'] },
  huge: { kind: 'twist', doc: 'The response is larger by `bytes` (default 8388608).', keys: ['bytes'] },
  silence: { kind: 'act', doc: 'Requests are read, nothing is answered.', keys: ['for'] },
  empty: {
    kind: 'act',
    doc: 'As if nothing were configured: complete lists become empty, over delta everything is removed.',
    keys: ['for'],
  },
  'older-version': { kind: 'act', doc: 'What was served before the last change is served again, with its version.', keys: ['for'] },
  'repeat-on-nack': {
    kind: 'act',
    doc: 'What a client refuses is sent again at once, as by go-control-plane; see `junk` for something to refuse.',
    keys: ['for'],
  },
  reset: { kind: 'act', doc: 'The stream ends with `code` (default `UNAVAILABLE`) and `message`.', keys: ['code', 'message'] },
  hang: { kind: 'act', doc: 'The connection stays open, and nothing is read from it or written to it.', keys: ['for'] },
  disconnect: { kind: 'act', doc: 'The connection is cut without a word.', keys: [] },
} as const satisfies Readonly<Record<string, DeedSpec>>;

export type Deed = keyof typeof DEEDS;

export interface Step {
  readonly do: Deed;
  /** A kind of resource or a type URL; default: any. */
  readonly on?: ResourceKind | (string & {});
  /** Node id, in which `*` stands for any text; default: any. */
  readonly node?: string;
  /** So many responses (of that type) come first on the stream; default 0. */
  readonly after?: number;
  /** Instead: so many milliseconds since the stream began. */
  readonly afterMs?: number;
  /** How often altogether, on all streams; default 1. */
  readonly times?: number;
  /** Acts: milliseconds until all is well again; default: never. */
  readonly forMs?: number;
  /** `slow`: milliseconds; default 1000. */
  readonly byMs?: number;
  /** Twists: milliseconds until the right response follows; default: never. */
  readonly repairMs?: number;
  /** Name of a gRPC status. */
  readonly code?: keyof typeof GrpcStatus;
  readonly message?: string;
  readonly bytes?: number;
  readonly copies?: number;
}

/** Type URL of a step's `on`; undefined: any. Throws `ERR_MESH_OPTION` for what is neither a kind nor a type URL. */
export function typeOf({ on }: Step): string | undefined {
  if (on === undefined) return undefined;
  const url = typeUrlOfName(on);
  if (url === undefined) throw new MeshError('ERR_MESH_OPTION', `misbehave: "${on}" is neither a kind of resource nor a type URL`);
  return url;
}

export function typeUrlOfName(name: string): string | undefined {
  if (Object.hasOwn(TYPE_URLS, name)) return TYPE_URLS[name as ResourceKind];
  return name.includes('/') ? name : undefined;
}
